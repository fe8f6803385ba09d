"""Speed of the live view: images that a page in a real browser draws in a second, and how late they are."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hardware.cameras.registry import open_camera
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.progress import Report, silent
from spadsr.live.live_session import NO_NETWORK, LiveOptions, LiveSession
from spadsr.live.message import Kind
from spadsr.live.running import LiveServer, Serving
from spadsr.live.server import address_of, listen, new_token

#: s from image to image: 10,000 images/s; and how many are added up before they are shown.
PERIOD, IMAGES = 1e-4, 100
#: Images of a kind that are drawn before measuring begins; s that the browser and a network may take for these.
FIRST, PATIENCE = 5, 120.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
#: What the browser is told: no window, and no question to the user.
_HEADLESS = ("headless=new", "no-sandbox", "no-first-run", "window-size=1280,720")


@dataclass(frozen=True)
class LiveSpeed:
    """What a page drew in one run.

    Attributes:
        name: what was shown, with how many images on their way.
        recorded, restored: images drawn in a second.
        median, late: ms from the arrival of a block at the host to its pixels, recorded images; half of them, and 95 %
            of them, were faster.
        written, lost: images that the recording of the same run has, and has not; None where there was none.
    """

    name: str
    recorded: float
    restored: float
    median: float
    late: float
    written: int | None
    lost: int | None


def bench_live(
    weights: Path | None = None, seconds: float = 10.0, browser: Path | None = None, report: Report = silent
) -> list[LiveSpeed]:
    """Draws the recorded images alone; with those restored, while recording; and the same with one image on its way.

    Args:
        weights: a weight file or the name of shipped weights; None takes the usual ones.
        seconds: of each run.
        browser: the program of Chromium or one like it; None takes that on the PATH.

    Raises:
        InputError: no browser, or weights that cannot be used.
    """
    if not seconds >= 1:
        raise InputError(f"seconds {seconds:g}: expected 1 or more", "seconds")
    program = str(browser) if browser else next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None or not shutil.which(program):
        raise InputError(f"{browser or 'no Chromium'}: no browser to draw in; install Chromium, or name one", "browser")
    runs = [
        ("recorded alone", Path(NO_NETWORK), False, 4),
        ("both, recording", weights, True, 4),
        ("both, one on the way", weights, True, 1),
    ]
    measured = []
    for number, (name, network, recording, on_way) in enumerate(runs, 1):
        with TemporaryDirectory() as folder:
            options = LiveOptions(Path(folder), IMAGES, 4, network)
            measured.append(_run(name, options, Serving(port=0, most_on_way=on_way), recording, seconds, program))
        report(number, len(runs))
    return measured


def _run(name: str, options: LiveOptions, serving: Serving, record: bool, seconds: float, browser: str) -> LiveSpeed:
    drawn: list[tuple[Kind, float]] = []
    server = LiveServer(serving, lambda kind, age: drawn.append((kind, age)))
    settings = Settings(PERIOD / 2, counter_bits=8, frame_time=PERIOD)
    with listen(serving.address, 0) as listening, open_camera("simulated:spc3,flux=2e4") as camera:
        session, token = LiveSession(camera, settings, options, server.publish, server.forget), new_token()
        try:
            session.start()
            server.start(session, listening, token)
            with _page(browser, address_of(listening, token), options.folder):
                wanted = {Kind.RECORDED} if session.weights == NO_NETWORK else set(Kind)
                _wait(drawn, wanted, browser)
                if record:
                    session.record("run")
                drawn.clear()
                began = time.monotonic()
                time.sleep(seconds)
                taken, seen = time.monotonic() - began, list(drawn)
                session.end_recording()
        finally:
            server.stop()
            session.close()
    ages = np.array([age for kind, age in seen if kind is Kind.RECORDED])
    middle, late = np.percentile(1e3 * ages, [50, 95]) if len(ages) else (np.nan, np.nan)
    progress = session.recording.progress() if session.recording else None
    return LiveSpeed(
        name,
        len(ages) / taken,
        (len(seen) - len(ages)) / taken,
        float(middle),
        float(late),
        progress.images if progress else None,
        progress.lost if progress else None,
    )


def _wait(drawn: list[tuple[Kind, float]], wanted: set[Kind], browser: str) -> None:
    end = time.monotonic() + PATIENCE
    while any(sum(kind is each for kind, _ in list(drawn)) < FIRST for each in wanted):
        if time.monotonic() > end:
            raise InputError(
                f"{browser}: drew too little within {PATIENCE:g} s; name another browser",
                "browser",
            )
        time.sleep(0.1)


@contextmanager
def _page(browser: str, url: str, folder: Path) -> Iterator[None]:
    told = (*_HEADLESS, f"user-data-dir={folder / 'browser'}")
    command = [browser, *(f"--{each}" for each in told), url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
