"""`spadsr acquire` and `spadsr cameras`: from the command line to the file, and exit codes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Said

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.recording.order import Progress
from hardware.settings import Settings
from spadsr.acquisition.acquire import State, progress_line
from spadsr.acquisition.live_view import LiveCount

Run = Callable[..., "Said"]

FAST = ["--camera", "simulated:spc3,seed=1", "--frame-time", "1e-4"]


def test_dark_recordings_say_so_and_how_they_were_made(tmp_path: Path, spadsr: Run) -> None:
    path = tmp_path / "dark.h5"
    done = spadsr("acquire", *FAST, "-o", path, "--frames", 500, "--dark", "--bits", 9, "--sensor", "spc3")
    assert done.code == 0, done.err
    assert "500" in done.out
    with open_capture(path) as capture:
        assert capture.shape == (500, 64, 32)
        assert capture.image_key is not None
        assert set(capture.image_key) == {2}
        assert (capture.settings.counter_bits, capture.settings.frame_time, capture.lost) == (9, 1e-4, 0)
        assert capture.notes["sensor"].startswith("spc3: spc3")
        assert capture.notes["description"] == "simulated: spc3"
        assert "--frames 500 --dark" in capture.notes["command"]
        assert '"spadsr"' in capture.notes["versions"]


def test_losses_are_exit_code_3(tmp_path: Path, spadsr: Run) -> None:
    lossy = ["--camera", "simulated:spc3,loss=0.5", "--frame-time", "1e-4"]
    done = spadsr("acquire", *lossy, "-o", tmp_path / "a.h5", "--frames", 2000)
    assert done.code == 3
    assert "images were lost" in done.err


def test_a_recording_is_recorded_again(tmp_path: Path, spadsr: Run) -> None:
    assert spadsr("acquire", *FAST, "-o", tmp_path / "a.h5", "--frames", 300, "--flat").code == 0
    replayed = f"replay:{tmp_path / 'a.h5'},speed=inf"
    assert spadsr("acquire", "--camera", replayed, "-o", tmp_path / "b.h5").code == 0
    with open_capture(tmp_path / "a.h5") as first, open_capture(tmp_path / "b.h5") as second:
        assert (first.read(0, 300) == second.read(0, 300)).all()
        assert (first.exposure, first.settings.frame_time) == (second.exposure, second.settings.frame_time)


def test_a_recording_recorded_again_keeps_its_largest_count(tmp_path: Path, spadsr: Run) -> None:
    counts = np.full((300, 4, 4), 9, np.uint8)
    settings = Settings(1e-5, 2, counter_bits=8, frame_time=1e-4, largest_count=9)
    with CaptureWriter(tmp_path / "a.h5", (4, 4), np.uint8, settings) as writer:
        writer.append(counts)
    replayed = f"replay:{tmp_path / 'a.h5'},speed=inf"
    done = spadsr("acquire", "--camera", replayed, "-o", tmp_path / "b.h5")
    assert "100.000%" in done.out, done.err
    with open_capture(tmp_path / "b.h5") as capture:
        assert capture.settings.saturation_value == 9


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_requests_to_stop_close_the_file(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", "from spadsr.cli import main; main()", "acquire", *FAST, "-o", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        patience = time.monotonic() + 60
        while not (tmp_path / "a.part.h5").exists() and time.monotonic() < patience:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(how)
        _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    with open_capture(path) as capture:
        assert capture.shape[0] > 0
        assert capture.notes["ended"] == "stopped by the user"
        assert capture.assumptions == ()
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--camera", "webcam", "-o", "a.h5"], "no such camera"),
        ([*FAST, "-o", "a.tif"], "ends in .h5"),
        ([*FAST, "-o", "a.h5", "--dark", "--flat"], "one or the other"),
        ([*FAST, "-o", "a.h5", "--seconds", "-1"], "expected more than 0"),
        ([*FAST, "-o", "a.h5", "--sensor", "nothing"], "no such sensor"),
        ([*FAST, "-o", "a.h5", "--sum", "4"], "it is for --infer"),
        ([*FAST, "-o", "/proc/a/a.h5", "--frames", "9"], "/proc/a"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], words: str, spadsr: Run) -> None:
    done = spadsr("acquire", *arguments)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1


def test_cameras_are_listed(spadsr: Run) -> None:
    done = spadsr("cameras")
    assert done.code == 0
    for name in ("simulated", "replay", "spc3", "spad512"):
        assert name in done.out
    assert "libSPC3" in done.out or "SPC3_SDK" in done.out


def test_the_example_in_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "acquire.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(page.partition("```python\n")[2].partition("```")[0], "acquire.md", "exec"), {})
    with open_capture(tmp_path / "capture.h5") as capture:
        assert capture.shape == (200, 64, 32)


def test_progress_in_a_line() -> None:
    now = Progress(images=96154, lost=3, unknown=1, saturated=0.0125, seconds=2.0, waiting=7, disk=5 * 10**9)
    assert progress_line(State(now), 200000) == (
        "96,154 of 200,000 images, 48,077/s, 3 known, 1 gaps of unknown length lost, 1.25% saturated, 7 waiting,"
        " 5.0 GB left on disk"
    )
    assert "lost, 640 restored in 10 pictures, 95,514 skipped, 1.25%" in progress_line(
        State(now, LiveCount(10, 640, 95514)), None
    )
