"""The page of the live view in a real browser (Debian's chromium, driven by playwright)."""

import asyncio
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from live_view import PATIENCE, SHAPE, Running, children, counts_of, live_view, memory, numbered_recording
from scipy import stats

from hardware.cameras.registry import open_camera
from hardware.cameras.spad512.camera import DEPTHS
from hardware.captures.capture import open_capture
from hardware.settings import Settings
from noise_model.sensor import Sensor
from spadsr.live.live_session import LiveOptions, LiveSession
from spadsr.live.running import LiveServer, Serving
from spadsr.live.server import address_of, listen

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

#: Without a sandbox, as root; WebGL2 by the processor, where it is asked for.
OPTIONS = ["--no-sandbox", "--enable-unsafe-swiftshader"]
#: As on a computer without a network.
OPTIONS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
#: Minutes that memory is watched for; ten are for a release.
MINUTES = float(os.environ.get("SPADSR_MEMORY_MINUTES", "0.5"))


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_recording(tmp_path_factory.mktemp("numbered") / "numbered.h5")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Page:
    """A page in a context of its own, and what went wrong on it.

    Attributes:
        wrong: errors of the console, and requests to anywhere but the server.
    """

    def __init__(self, browser: Any, running: Running, query: str = "", **context: Any) -> None:
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, **context)
        self.page = self.context.new_page()
        self.page.on("console", self._says)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asks(request.url, running.port))
        self.page.set_default_timeout(1e3 * PATIENCE)
        self.page.goto(running.url)
        if query:
            self.page.goto(f"http://127.0.0.1:{running.port}/?{query}")
        self.until("spadsr.newest[0] && document.getElementById('side').elements.images.value")

    def _says(self, said: Any) -> None:
        if said.type in ("error", "warning") and "stall due to ReadPixels" not in said.text:  # no graphics card
            self.wrong.append(said.text)

    def _asks(self, url: str, port: int) -> None:
        if not url.startswith((f"http://127.0.0.1:{port}/", f"ws://127.0.0.1:{port}/", "blob:")):
            self.wrong.append(url)

    def until(self, expression: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds  # playwright's own waiting is what the page's policy forbids
        while not self.page.evaluate(f"Boolean({expression})"):
            said = f"{self.text('banners')} / {self.text('refused')} / {self.wrong}"
            assert time.monotonic() < end, f"not within {seconds:g} s: {expression}; {said}"
            self.page.wait_for_timeout(50)

    def text(self, element: str) -> str:
        return str(self.page.evaluate(f"document.getElementById('{element}').textContent"))

    def set(self, element: str, value: str) -> None:
        self.page.fill(f"#{element}", value)
        self.page.press(f"#{element}", "Enter")

    def value(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, numbered: Path) -> Iterator[Running]:
    with live_view(tmp_path_factory.mktemp("live"), f"replay:{numbered},loop=1", "--weights", "tiny") as view:
        yield view


#: Freezes what is drawn, and reads it: counts, the number of the image, the colour of the centre of each native pixel.
DRAWN = """(() => {
  const { panels, view, tone, newest } = spadsr, panel = panels[0], image = newest[0];
  panel.load(image.rate, image.rows, image.columns, image.rows, image.columns);
  panel.draw(view, tone);
  const copy = document.createElement("canvas");
  Object.assign(copy, { width: panel.canvas.width, height: panel.canvas.height });
  const plain = copy.getContext("2d", { willReadFrequently: true });
  plain.drawImage(panel.canvas, 0, 0);
  const [x, y, width, height] = panel.part(view);
  const colours = [];
  for (let row = 0; row < image.rows; row++)
    for (let column = 0; column < image.columns; column++) {
      const across = (((column + 0.5) / image.columns - x) / width) * copy.width;
      const down = (((row + 0.5) / image.rows - y) / height) * copy.height;
      colours.push([...plain.getImageData(Math.floor(across), Math.floor(down), 1, 1).data]);
    }
  return { last: image.last, counts: [...image.counts], rate: [...image.rate], colours };
})()"""


@pytest.mark.parametrize(
    ("query", "painter"), [("draw=webgl", "GlPainter"), ("draw=canvas", "CanvasPainter"), ("", "CanvasPainter")]
)
def test_what_is_drawn_is_what_was_recorded(browser: Any, running: Running, query: str, painter: str) -> None:
    with Page(browser, running, query) as page:
        assert page.value("spadsr.panels[0].painter.constructor.name") == painter, "without a graphics card"
        page.page.select_option("#colours", "grey")
        page.set("low", "0")
        page.set("high", "1e8")
        page.until("spadsr.tone.high === 1e8 && spadsr.tone.low === 0")
        drawn = page.value(DRAWN)
        counts = np.reshape(drawn["counts"], SHAPE)
        np.testing.assert_array_equal(counts, counts_of(drawn["last"] % 500))
        np.testing.assert_allclose(drawn["rate"], counts.ravel() / 1e-5, rtol=1e-3)
        expected = np.clip(255 * counts.ravel() / 1e-5 / 1e8, 0, 255)
        colours = np.array(drawn["colours"])
        assert np.abs(colours[:, 0] - expected).max() <= 1
        assert (colours[:, 0] == colours[:, 1]).all()
        assert (colours[:, 3] == 255).all()
        assert page.wrong == []


def test_nothing_goes_wrong_and_nothing_is_asked_elsewhere(browser: Any, running: Running) -> None:
    with Page(browser, running) as page:
        page.until("spadsr.newest[1]")
        for key in ("l", "c", "a", "+", "-", "0", "ArrowLeft", "Escape", "l"):
            page.page.keyboard.press(key)
        page.page.set_viewport_size({"width": 820, "height": 1180})
        page.page.emulate_media(color_scheme="dark")
        before = page.value("spadsr.newest[0].last")
        page.until(f"spadsr.newest[0].last > {before}")
        assert page.wrong == []
        assert "token" not in page.page.url


def test_the_cursor_reads_the_pixel_below_it(browser: Any, running: Running) -> None:
    with Page(browser, running) as page:
        page.until("spadsr.newest[1]")
        box = None
        while box != page.page.locator("#recorded").bounding_box():  # a line above the panels moves them
            box = page.page.locator("#recorded").bounding_box()
            page.page.mouse.move(box["x"] + box["width"] / 2 + 4, box["y"] + box["height"] / 2 + 4)
            page.until("document.getElementById('cursor').textContent.includes('restored')")
        said = page.text("cursor")
        assert said.startswith(f"row {SHAPE[0] // 2}, column {SHAPE[1] // 2}: ")
        assert "±" in said
        # A drawn region has its own rate.
        page.page.keyboard.down("Shift")
        page.page.mouse.down()
        page.page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 + 40)
        page.page.mouse.up()
        page.page.keyboard.up("Shift")
        page.until("spadsr.trace.points.at(-1)?.region > 0")


def test_buttons_and_two_fingers_zoom_and_draw(browser: Any, running: Running) -> None:
    with Page(browser, running, has_touch=True) as page:
        page.page.click("#closer")
        assert page.value("spadsr.view.zoom") == pytest.approx(1.25)
        page.page.click("#further")
        assert page.value("spadsr.view.zoom") == pytest.approx(1)
        box = page.page.locator("#recorded").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        tools = page.context.new_cdp_session(page.page)
        for kind, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 60), ("touchEnd", 0)):
            fingers = [{"x": x + side * apart, "y": y, "id": side} for side in (-1, 1) if apart]
            tools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
        assert page.value("spadsr.view.zoom") == pytest.approx(3, rel=0.1)
        page.page.click("#all")
        page.page.click("#draw")
        page.page.mouse.move(x - 10, y - 20)
        page.page.mouse.down()
        page.page.mouse.move(x + 10, y + 20)
        page.page.mouse.up()
        page.until("spadsr.trace.points.at(-1)?.region > 0")
        assert page.value("document.getElementById('draw').getAttribute('aria-pressed')") == "false"
        assert page.value("[spadsr.view.x, spadsr.view.y, spadsr.view.zoom]") == [0.5, 0.5, 1]
        assert page.wrong == []


#: Where on the page the centre of a native pixel is.
CENTRE = """(() => {
  const panel = spadsr.panels[0], box = panel.canvas.getBoundingClientRect();
  const [x, y, width, height] = panel.part(spadsr.view), { nativeRows, nativeColumns } = panel.picture;
  const share = [((%d + 0.5) / nativeColumns - x) / width, ((%d + 0.5) / nativeRows - y) / height];
  return [box.left + share[0] * box.width, box.top + share[1] * box.height];
})()"""


def test_the_cursor_reads_the_rate_of_even_light(browser: Any, tmp_path: Path) -> None:
    """Of 20 pixels, each with its own efficiency and dark counts; by chi squared at a significance of 1e-6."""
    sensor = tmp_path / "calibrated.yaml"
    replace(Sensor.load("spc3"), measured=True).save(sensor)
    camera, options = f"simulated:{sensor},even=1,flux=2e6", ("--sensor", str(sensor), "--frame-time", "1e-4")
    with (
        live_view(tmp_path, camera, *options, "--sum", "100", "--weights", "none") as running,
        Page(browser, running) as page,
    ):
        assert page.text("banners") == ""
        deviations = []
        for row, column in itertools.product((2, 17, 31, 46, 61), (3, 12, 21, 30)):
            said = f"row {row}, column {column}: "
            while not page.text("cursor").startswith(said):  # a line above the panels moves them
                page.page.mouse.move(*page.value(CENTRE % (column, row)))
                page.page.wait_for_timeout(50)
            found = re.fullmatch(said + r"(\S+) counts, (\S+) M counts/s", page.text("cursor"))
            assert found is not None, page.text("cursor")
            deviations.append((1e6 * float(found[2]) / 2e6 - 1) * float(found[1]) ** 0.5)
        assert np.square(deviations).sum() < stats.chi2.isf(1e-6, len(deviations)), deviations
        assert abs(np.mean(deviations)) < stats.norm.isf(5e-7) / len(deviations) ** 0.5
        assert page.wrong == []


def test_exposure_and_a_flat_field(browser: Any, tmp_path: Path) -> None:
    options = ("--sum", "100", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3,even=1,flux=2e6", *options) as running, Page(browser, running) as page:
        rate, counts = (np.array(page.value(f"[...spadsr.newest[0].{name}]")) for name in ("rate", "counts"))
        unit = page.value("spadsr.newest[0].unit")
        # Efficiency and dark counts differ between pixels, and no sensor file says how: their median is known.
        assert abs(np.median(rate) - 2e6) < 0.15 * 2e6
        page.set("count_time", "20.8 us")
        page.until("document.getElementById('applied').textContent.includes('20.8 us')")
        page.until("spadsr.newest[0].cycles === 100 && spadsr.newest[0].unit === " + str(unit / 2))
        page.until("spadsr.newest[0].counts.reduce((sum, count) => sum + count, 0) > 1.5 * " + str(counts.sum()))
        page.set("cycles", "2")
        page.until("spadsr.newest[0].cycles === 200")
        page.set("count_time", "90000 s")
        page.until("document.getElementById('refused').textContent.includes('expected')")
        page.set("count_time", "soon")
        page.until("document.getElementById('refused').textContent.includes('with a unit')")
        assert page.wrong == []


def test_the_brightest_light_is_finite(browser: Any, tmp_path: Path) -> None:
    options = ("--bits", "4", "--sum", "100", "--weights", "none")
    with live_view(tmp_path, "simulated:spc3,even=1,flux=1e11", *options) as running, Page(browser, running) as page:
        assert page.value("spadsr.newest[0].rate.every((rate) => Number.isFinite(rate) && rate > 1e6)")
        page.until("document.getElementById('banners').textContent.includes('saturated')")


def test_two_pages_share_the_camera_and_not_the_colours(browser: Any, running: Running) -> None:
    with Page(browser, running) as first, Page(browser, running) as second:
        first.until("!document.getElementById('images').disabled")
        second.until("document.getElementById('images').disabled")
        second.page.click("#take")
        second.until("!document.getElementById('images').disabled")
        first.until("document.getElementById('images').disabled")
        before = first.value("[spadsr.tone.low, spadsr.tone.high]")
        second.set("high", "4e8")
        second.until("spadsr.tone.high === 4e8")
        assert first.value("[spadsr.tone.low, spadsr.tone.high]") == before


def test_a_hidden_page_gets_no_images(browser: Any, running: Running) -> None:
    with Page(browser, running) as page, Page(browser, running) as other:
        page.value("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        page.value("document.dispatchEvent(new Event('visibilitychange'))")
        there, seen = "spadsr.newest[0].last", -1
        while page.value(there) != seen:  # until what was on its way has come
            seen = page.value(there)
            other.until(f"{there} > {other.value(there)} + 500")
        page.value("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
        page.value("document.dispatchEvent(new Event('visibilitychange'))")
        page.until(f"{there} > {seen}")


@contextmanager
def emulated(port: int) -> Iterator[str]:
    """An emulated camera; gives its address."""
    command = [sys.executable, "-m", "spadsr", "emulate", "spad512", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.kill()


def test_a_camera_that_goes_comes_back(browser: Any, tmp_path: Path) -> None:
    settings = ("--bits", "1", "--dead-time", "0", "--count-time", "1e-5", "--weights", "none")
    gone = "document.getElementById('banners').textContent.includes('the camera is gone')"
    with emulated(0) as address:
        port = int(address.rpartition("=")[2])
        view = live_view(tmp_path, f"{address},frames=20", *settings)
        running = view.__enter__()
        page = Page(browser, running)
    try:
        page.until(gone)
        lists = page.value("[...document.getElementById('cycles').options].map((each) => Number(each.value))")
        assert lists == [2**bits - 1 for bits in DEPTHS]
        last = page.value("spadsr.newest[0].last")
        with emulated(port):
            page.until(f"spadsr.newest[0].last > {last}")
            page.until(f"!{gone}")
            page.until("document.getElementById('numbers').textContent.includes('gaps')")
            assert page.wrong == []
    finally:
        page.__exit__()
        view.__exit__(None, None, None)


def test_a_computer_that_slept_is_found_again(browser: Any, tmp_path: Path, numbered: Path) -> None:
    said = "document.getElementById('banners').textContent.includes('no connection')"
    with live_view(tmp_path, f"replay:{numbered},loop=1", "--weights", "none") as running:
        with Page(browser, running) as page:
            page.page.fill("#name", "asleep")
            page.page.fill("#seconds", "half a minute")
            page.page.click("#record")
            page.until("document.getElementById('refused').textContent.includes('number of seconds')")
            page.page.fill("#seconds", "")
            page.page.click("#record")
            page.until("document.getElementById('record').textContent === 'End'")
            os.kill(running.process.pid, signal.SIGSTOP)
            page.until(said)
            os.kill(running.process.pid, signal.SIGCONT)
            last = page.value("spadsr.newest[0].last")
            page.until(f"spadsr.newest[0].last > {last} && !{said}")
            page.until("!document.getElementById('record').disabled")
            page.page.click("#record")
            page.until("document.getElementById('record').textContent === 'Record'")
        with open_capture(tmp_path / "asleep.h5") as capture:
            numbers = capture.sequence_number(0, capture.shape[0])
            assert numbers is not None
            assert (np.diff(numbers.astype(int)) == 1).all()


def test_a_recording_outlives_its_pages(browser: Any, tmp_path: Path, numbered: Path) -> None:
    """And is played back; a snapshot holds the picture and the result; a restorer that is killed is started again."""
    with live_view(tmp_path, f"replay:{numbered},loop=1", "--weights", "tiny") as running:
        with Page(browser, running) as page, Page(browser, running):
            page.page.fill("#name", "mine")
            page.page.fill("#seconds", "4")
            page.page.click("#record")
            page.until("document.getElementById('record').textContent === 'End'")
        with Page(browser, running) as page:
            page.until("[...document.getElementById('recordings').options].some((each) => each.value === 'mine.h5')")
            with open_capture(tmp_path / "mine.h5") as capture:
                numbers = capture.sequence_number(0, capture.shape[0])
                assert numbers is not None
                assert len(numbers) > 100, "however slow the machine"
                assert (np.diff(numbers.astype(int)) == 1).all()
            page.page.select_option("#recordings", "mine.h5")
            page.until("!document.getElementById('player').hidden")
            page.page.fill("#time", "7")
            page.until("spadsr.newest[0]?.last === 7 && spadsr.newest[1]?.last === 7")
            page.until("document.getElementById('by').textContent.startsWith('Restored by a network: tiny')")
            files: list[str] = []
            page.page.on("download", lambda download: files.append(download.suggested_filename))
            page.page.keyboard.press("s")
            end = time.monotonic() + PATIENCE
            while {name.partition(".")[2] for name in files} != {"png", "sr.h5"}:
                assert time.monotonic() < end, files
                page.page.wait_for_timeout(50)
            page.page.click("#resume")
            page.until("spadsr.newest[0].last > 20")
            for pid in children(running.process.pid):
                os.kill(pid, signal.SIGKILL)
            page.until("document.getElementById('banners').textContent.includes('ended unexpectedly')")
            page.until("spadsr.newest[1] === null")
            page.page.click("#banners button")
            page.page.select_option("#recordings", "")
            page.until("spadsr.newest[1]")
            assert page.wrong == []


def test_tabs_that_are_closed_leave_no_client_and_no_task(browser: Any, tmp_path: Path, numbered: Path) -> None:
    server = LiveServer(Serving())
    options = LiveOptions(tmp_path, weights=Path("none"))
    with open_camera(f"replay:{numbered},loop=1") as camera, listen("127.0.0.1", 0) as listening:
        session = LiveSession(camera, Settings(1e-5), options, server.publish, server.forget)
        session.start()
        server.start(session, listening, None)
        try:
            context = browser.new_context()
            context.set_default_timeout(1e3 * PATIENCE)
            tabs = [context.new_page() for _ in range(50)]
            tabs[0].goto(address_of(listening, None) + "live.css")
            time.sleep(1)  # the server is at rest, without a client
            (pages, first) = clients_and_tasks(server)
            assert pages == 0
            for tab in tabs:
                tab.goto(address_of(listening, None))
            until(lambda: clients_and_tasks(server)[0] == 50)
            random.Random(0).shuffle(tabs)
            for tab in tabs:
                tab.close()
            until(lambda: clients_and_tasks(server) == (0, first))
            context.close()
        finally:
            session.close()
            server.stop()


def clients_and_tasks(server: LiveServer) -> tuple[int, int]:
    assert server._viewers is not None
    return len(server._viewers.pages), len(asyncio.all_tasks(server._loop))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_memory_does_not_grow(browser: Any, running: Running) -> None:
    with Page(browser, running) as page:
        page.until("spadsr.newest[1]")
        tools = page.context.new_cdp_session(page.page)

        def used() -> tuple[float, float, float]:
            tools.send("HeapProfiler.collectGarbage")
            [restorer] = children(running.process.pid)
            heap = float(page.value("performance.memory.usedJSHeapSize")) / 1e6
            return memory(running.process.pid), memory(restorer), heap

        page.page.wait_for_timeout(5000)
        times, seen, began = list[float](), list[tuple[float, float, float]](), time.monotonic()
        while not times or times[-1] < MINUTES:
            seen.append(used())
            times.append((time.monotonic() - began) / 60)
            page.page.wait_for_timeout(6e4 * MINUTES / 20)
        slopes = np.polyfit(times, seen, 1)[0]
        print("server, process that restores, page: MB a minute", slopes, seen[0], seen[-1])
        # MB a minute; at once some more, as memory is had in pieces.
        assert (slopes < 1 + 2 / MINUTES).all(), (slopes, seen)
