"""`spadsr acquire --infer`: the newest images become pictures, and the recording does not notice."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.camera import Block, Camera
from hardware.cameras import simulated
from hardware.cameras.registry import open_camera
from hardware.captures.capture import open_capture
from hardware.recording.order import Order, Progress
from hardware.recording.recorder import record
from hardware.settings import Settings
from noise_model.errors import InputError
from spadsr.acquisition import live_view as live
from spadsr.acquisition.live_painter import LiveOrder, picture
from spadsr.acquisition.live_view import LiveCount, LiveView
from spadsr.cli.app import main

SETTINGS = Settings(10.4e-6, counter_bits=8, dead_time=50e-9, frame_time=1e-3)


def camera() -> Camera:
    return open_camera("simulated:spc3,seed=1")


def block(first: int, images: int) -> Block:
    """Image number i is i mod 7 everywhere."""
    counts = np.broadcast_to((np.arange(first, first + images) % 7)[:, None, None], (images, 64, 32)).astype(np.uint8)
    return Block(counts, first, 1e-5, 0.0, 0, True, 0.0)


@given(st.integers(1, 40), st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_what_is_restored_is_the_sum_of_the_newest_images(added: int, sizes: list[int]) -> None:
    view, first = LiveView(LiveOrder(Path("a.h5"), added), camera(), print), 0
    view._mailbox.ask()
    for size in sizes:
        view.see(block(first, size))
        first += size
        if taken := view._mailbox.take():
            total, last = taken
            assert first - size <= last < first
            assert last == first - 1 or added > sizes[0]
            assert (total == np.sum(np.arange(last - added + 1, last + 1) % 7)).all()
            view._mailbox.finish()
            assert view.look() == LiveCount(1, added, first - added)
            return
    assert first < added + max(sizes)
    assert view.look() == LiveCount(0, 0, first)


def test_images_are_left_alone_while_none_is_asked_for() -> None:
    view = LiveView(LiveOrder(Path("a.h5"), 2), camera(), print)
    view._mailbox.ask()
    view.see(block(0, 2))
    view.see(block(2, 2))
    taken = view._mailbox.take()
    assert taken is not None
    assert taken[1] == 1
    view._mailbox.finish()
    view._mailbox.ask()
    view.see(block(4, 9))
    taken = view._mailbox.take()
    assert taken is not None
    assert (taken[1], int(taken[0][0, 0])) == (12, 11 % 7 + 12 % 7)


def test_a_recording_is_the_same_with_live_pictures(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, watched = tmp_path / "a.h5", tmp_path / "b.h5"
    with camera() as source:
        record(source, Order(plain, SETTINGS, images=1500))
    infer = ["--infer", "--sum", "16", "--scale", "2", "--weights", str(small_weights)]
    words = ["spadsr", "acquire", "--camera", f"replay:{plain}", "-o", str(watched), *infer]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert not end.value.code, said.err
    with open_capture(plain) as first, open_capture(watched) as second:
        np.testing.assert_array_equal(first.read(0, 1500), second.read(0, 1500))
        np.testing.assert_array_equal(first.sequence_number(0, 1500), second.sequence_number(0, 1500))
        assert (first.exposure, first.settings.saturation_value) == (second.exposure, second.settings.saturation_value)
    told = next(line for line in said.out.splitlines() if "restored in" in line).replace(",", "").split()
    restored, pictures, skipped = (int(word) for word in told if word.isdigit())
    assert restored == 16 * pictures > 0
    assert restored + skipped == 1500
    shown = cv2.imread(str(tmp_path / "b.live.png"), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert shown.shape == (768 + 32, 2 * 384 + 8)
    assert len(np.unique(shown[:768])) > 32
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.h5", "b.h5", "b.live.png"]
    assert multiprocessing.active_children() == []


@pytest.fixture
def watched(
    tmp_path: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[LiveView], None]], list[str]]:
    """watched(do) records a second, and calls `do` after the first images; returns what was said."""
    monkeypatch.setattr(simulated, "MEMORY_TIME", 100.0)  # none is lost for what else runs here

    def run(do: Callable[[LiveView], None]) -> list[str]:
        said: list[str] = []
        done: list[int] = []
        with (
            camera() as source,
            LiveView(LiveOrder(tmp_path / "a.h5", 4, 2, small_weights), source, said.append) as view,
        ):

            def look(progress: Progress) -> None:
                if progress.images and not done:
                    do(view)
                    done.append(progress.images)
                view.look()

            ended = record(source, Order(tmp_path / "a.h5", SETTINGS, images=1000), look, view)
        assert ended.whole
        assert done[0] < 1000
        with open_capture(tmp_path / "a.h5") as capture:
            np.testing.assert_array_equal(capture.sequence_number(0, 1000), np.arange(1000))
            assert capture.assumptions == ()
        count = view.look()
        assert count.restored + count.skipped == 1000
        return said

    return run


def test_a_killed_process_ends_no_recording(watched: Callable[[Callable[[LiveView], None]], list[str]]) -> None:
    said = watched(lambda view: view._process.kill())
    assert said == ["restoring ended unexpectedly (exit code -9); the recording goes on"]


def test_a_picture_that_cannot_be_written_ends_no_recording(
    tmp_path: Path, watched: Callable[[Callable[[LiveView], None]], list[str]]
) -> None:
    (tmp_path / "a.live.png").mkdir()
    said = watched(lambda view: None)
    assert len(said) == 1
    assert "nothing is restored live" in said[0]
    assert "a.live.png: writing failed" in said[0]


def test_a_process_that_does_not_come_to_an_end_is_ended(
    watched: Callable[[Callable[[LiveView], None]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FAREWELL", 0.5)
    began = time.monotonic()
    stopped: list[int] = []

    def freeze(view: LiveView) -> None:
        assert view._process.pid is not None
        stopped.append(view._process.pid)
        os.kill(stopped[0], signal.SIGSTOP)

    assert watched(freeze) == []
    assert time.monotonic() - began < 60
    assert not Path(f"/proc/{stopped[0]}").exists()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (LiveOrder(Path("a.h5"), weights=Path("none.safetensors")), "no such file"),
        (LiveOrder(Path("a.h5"), scale=3), "scale 3: not available"),
        (LiveOrder(Path("a.h5"), sensor="spad512"), "a binary array, but a.h5"),
    ],
)
def test_what_cannot_be_restored_is_said_before_the_recording(tmp_path: Path, order: LiveOrder, words: str) -> None:
    with camera() as source, pytest.raises(InputError, match=words), LiveView(order, source, print) as view:
        record(source, Order(tmp_path / "a.h5", SETTINGS), onlooker=view)
    assert multiprocessing.active_children() == []
    assert list(tmp_path.iterdir()) == []


def test_sums_of_none_and_sums_that_are_too_large_are_refused() -> None:
    with pytest.raises(InputError, match="sum of 0 images"):
        LiveView(LiveOrder(Path("a.h5"), 0), camera(), print)
    view = LiveView(LiveOrder(Path("a.h5"), 1 << 20), camera(), print)
    with pytest.raises(InputError, match="32-bit"):
        view.begin(Settings(1e-5, cycles=10, counter_bits=9))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_recorder(tmp_path: Path, small_weights: Path, sent: signal.Signals) -> None:
    script = "from spadsr.cli import main; main()"
    words = ["--camera", "simulated:spc3,seed=1", "--frame-time", "1e-3", "--infer", "--weights", str(small_weights)]
    command = [sys.executable, "-c", script, "acquire", "-o", str(tmp_path / "a.h5"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        until(lambda: (tmp_path / "a.live.png").exists())
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert children
        os.kill(running.pid, sent)
        _, said = running.communicate(timeout=300)
    assert running.returncode == (0 if sent == signal.SIGINT else -signal.SIGKILL), said
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    recorded = tmp_path / ("a.h5" if sent == signal.SIGINT else "a.part.h5")
    with open_capture(recorded) as capture:
        assert capture.shape[0] > 0


def until(holds: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_the_picture_shows_both_at_one_scale() -> None:
    recorded = np.zeros((8, 4), np.float32)
    recorded[2, 1] = 1e4
    restored = recorded.repeat(4, 0).repeat(4, 1)
    drawn = picture(recorded, restored, "here")
    assert drawn.dtype == np.uint8
    assert drawn.shape == (768 + 32, 2 * 384 + 8)
    np.testing.assert_array_equal(drawn[:768, :384], drawn[:768, -384:])
    assert (drawn[192:288, 96:192] == 255).all()
    assert int((drawn[:768, :384] == 255).sum()) == 96 * 96
    assert (drawn[768:] < 128).any()
