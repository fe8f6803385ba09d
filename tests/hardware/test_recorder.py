"""Recordings: nothing lost, or said so; readable whatever ended them."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import h5py
import numpy as np
import pytest
from counting_camera import CountingCamera, numbered

from hardware.camera import Block
from hardware.cameras.registry import open_camera
from hardware.captures import writer
from hardware.captures.capture import Capture, open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.recording import recording as recorder_source
from hardware.recording.order import Order, Progress
from hardware.recording.recorder import record
from hardware.recording.session import Session
from hardware.settings import Settings
from noise_model.errors import InputError

ASKED = Settings(1e-5, counter_bits=8)


def everything(capture: Capture) -> np.ndarray[Any, Any]:
    return np.concatenate(list(capture.blocks()))


def numbers(capture: Capture) -> np.ndarray[Any, Any]:
    found = capture.sequence_number(0, capture.shape[0])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("compression", "filters"),
    [("none", set()), ("gzip", {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE}), ("lz4", {32008})],
)
def test_all_images_come_back(tmp_path: Path, compression: str, filters: set[int]) -> None:
    path, seen = tmp_path / "new" / "a.h5", []
    order = Order(path, ASKED, image_key=1, compression=compression, notes={"command": "spadsr acquire"})
    with CountingCamera(9, 300) as camera:
        camera.waits = True
        done = record(camera, order, seen.append)
    assert (done.images, done.lost, done.unknown, done.waiting, done.failure) == (2700, 0, 0, 0, "")
    assert done.whole
    assert done.acquired == done.images
    assert done.disk > 0
    assert [progress.images for progress in seen] == sorted(progress.images for progress in seen)
    with open_capture(path) as capture:
        np.testing.assert_array_equal(everything(capture), numbered(0, 2700))
        np.testing.assert_array_equal(numbers(capture), np.arange(2700))
        np.testing.assert_array_equal(capture.image_key, np.ones(2700))
        assert capture.settings == Settings(1e-6, counter_bits=8, frame_time=1e-5)
        assert capture.notes["serial_number"] == "C7"
        assert capture.notes["command"] == "spadsr acquire"
        assert capture.notes["ended"] == "as ordered"
        assert capture.assumptions == ()
    assert [each.name for each in path.parent.iterdir()] == ["a.h5"]
    with h5py.File(path) as file:
        properties = file[DETECTOR]["data"].id.get_create_plist()
        codes = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    assert codes == filters


def test_images_and_seconds_are_kept_to(tmp_path: Path) -> None:
    with CountingCamera(1 << 40, 300) as camera:
        assert record(camera, Order(tmp_path / "a.h5", ASKED, images=1000)).images == 1000
        done = record(camera, Order(tmp_path / "b.h5", ASKED, seconds=0.2))
    assert 0.2 <= done.seconds < 0.3
    assert done.images == pytest.approx(done.seconds / 1e-5, rel=0.5)


class Witness:
    """An onlooker that keeps every block."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def begin(self, applied: Settings) -> None: ...

    def see(self, block: Block) -> None:
        self.blocks.append(block)


def test_when_images_arrived_is_kept(tmp_path: Path) -> None:
    witness = Witness()
    with CountingCamera(60, 500, period=2e-5) as camera:
        record(camera, Order(tmp_path / "a.h5", ASKED), onlooker=witness)
    with h5py.File(tmp_path / "a.h5") as file:
        arrived = file[DETECTOR]["host_time"][()]
    numbers, times = arrived["sequence_number"].astype(int), [block.host_time for block in witness.blocks]
    assert numbers.tolist() == [*range(1023, 30000, 1024), 29999]
    np.testing.assert_allclose(arrived["host_time"], [times[number // 500] - times[0] for number in numbers], atol=1e-9)


def test_lost_images_are_gaps(tmp_path: Path) -> None:
    asked = Settings(1e-5, counter_bits=8, frame_time=1e-4)
    with open_camera("simulated:spc3,loss=0.4,seed=1") as camera:
        done = record(camera, Order(tmp_path / "a.h5", asked, images=3000), onlooker=(witness := Witness()))
    assert not done.whole
    assert done.lost == sum(block.lost for block in witness.blocks) > 0
    assert done.acquired == done.images + done.lost
    with open_capture(tmp_path / "a.h5") as capture:
        assert numbers(capture)[-1] == 3000 + done.lost - 1
        assert np.diff(numbers(capture).astype(int)).min() == 1
        assert capture.notes["images_lost"] == done.lost


def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    append = CaptureWriter.append

    def delayed(writer: CaptureWriter, *given: Any, **named: Any) -> None:
        time.sleep(0.05)
        append(writer, *given, **named)

    monkeypatch.setattr(CaptureWriter, "append", delayed)
    monkeypatch.setattr(recorder_source, "QUEUE_BYTES", 1 << 21)


def test_a_disk_that_does_not_follow_is_an_overrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    with CountingCamera(100, 512) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED))
    assert done.failure.startswith("overrun: the disk does not follow; images from number")
    assert not done.whole
    with open_capture(tmp_path / "a.h5") as capture:
        assert 0 < capture.shape[0] < 51200
        np.testing.assert_array_equal(numbers(capture), np.arange(capture.shape[0]))
        np.testing.assert_array_equal(everything(capture), numbered(0, capture.shape[0]))
        assert f"from number {capture.shape[0]} on" in capture.notes["ended"]


def test_a_camera_that_waits_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch)
    with CountingCamera(20, 512) as camera:
        camera.waits = True
        assert record(camera, Order(tmp_path / "a.h5", ASKED)).images == 20 * 512


def test_an_interrupt_closes_the_file(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.images:
            raise KeyboardInterrupt

    with CountingCamera(1 << 40) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED), interrupt)
    assert done.whole
    with open_capture(tmp_path / "a.h5") as capture:
        assert capture.shape[0] == done.images > 0
        assert capture.notes["ended"] == "stopped by the user"
        np.testing.assert_array_equal(everything(capture), numbered(0, done.images))


def test_what_a_camera_gave_before_it_failed_is_kept(tmp_path: Path) -> None:
    with CountingCamera(9, fails=(4,)) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED))
    assert (done.images, done.failure) == (1200, "counting: unplugged")
    with open_capture(tmp_path / "a.h5") as capture:
        assert capture.notes["ended"] == "counting: unplugged"
        np.testing.assert_array_equal(everything(capture), numbered(0, 1200))


def test_a_lost_camera_is_reached_again_and_the_gap_marked(tmp_path: Path) -> None:
    with CountingCamera(9, period=1e-4, fails=(2,)) as camera:  # the first try to reach it again fails
        done = record(camera, Order(tmp_path / "a.h5", ASKED, images=1500, reconnect=True))
    assert (done.images, done.unknown, done.failure) == (1500, 1, "")
    assert camera.entered == 3
    with open_capture(tmp_path / "a.h5") as capture:
        np.testing.assert_array_equal(everything(capture), np.concatenate([numbered(0, 600), numbered(0, 900)]))
        gaps = np.diff(numbers(capture).astype(int))
        assert np.flatnonzero(gaps != 1).tolist() == [599]
        # Two waits, 0.25 s and 0.5 s, at 10,000 images/s.
        assert gaps[599] - 1 == done.lost == capture.notes["images_lost"]
        assert 0.75 < done.lost * 1e-4 < 3
        assert done.acquired == done.images + done.lost
        assert capture.notes["gaps_of_unknown_length"] == 1


class Numbers:
    """An onlooker that notes the numbers of the images, and how often it began."""

    def __init__(self) -> None:
        self.seen, self.began = list[int](), 0

    def begin(self, applied: Settings) -> None:
        self.began += 1

    def see(self, block: Block) -> None:
        self.seen.extend(range(block.first, block.stop))


def test_no_image_is_lost_while_the_camera_rests() -> None:
    with CountingCamera(9, period=1e-4) as camera:
        session, onlooker = Session(camera, ASKED, reconnect=True), Numbers()
        session.attach(onlooker)
        for _ in range(3):
            session.start()
            while session.running:
                time.sleep(0.01)
            time.sleep(0.05)  # 500 images would have come
    assert onlooker.seen == list(range(8100))
    assert (session.tally.images, session.tally.lost, session.tally.unknown) == (8100, 0, 0)
    assert onlooker.began == 3, "no sum spans a rest"


def test_a_camera_that_comes_back_otherwise_ends_the_recording(tmp_path: Path) -> None:
    with CountingCamera(9, fails=(2,)) as camera:
        camera.changes = True
        done = record(camera, Order(tmp_path / "a.h5", ASKED, reconnect=True))
    assert (done.images, "other settings" in done.failure) == (600, True)


class GrowingCamera(CountingCamera):
    """A camera in whose place a larger one is found when it is opened again."""

    def __enter__(self) -> Self:
        self.shape = (64, 32 * (1 + self.entered))
        self.entered += 2
        return self


def test_a_camera_of_another_size_ends_the_recording(tmp_path: Path) -> None:
    with GrowingCamera(9, fails=(2,)) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED, reconnect=True))
    assert (done.images, "another size" in done.failure) == (600, True)


class FlappingCamera(CountingCamera):
    """A camera that can always be opened again, and fails before each image but the first few."""

    def __enter__(self) -> Self:
        self._fails = [4 if not self.entered else 0]
        self.entered += 1
        return self


@pytest.mark.parametrize(("patience", "seconds"), [(1.0, None), (300.0, 1.0)])
def test_a_camera_that_is_lost_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, seconds: float | None
) -> None:
    monkeypatch.setattr("hardware.recording.session.PATIENCE", patience)
    began = time.monotonic()
    with FlappingCamera(9) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED, seconds=seconds, reconnect=True))
    assert time.monotonic() - began < 10
    assert done.images == 1200
    assert re.fullmatch(r"counting: unplugged; no image in \d s of reconnecting", done.failure)
    assert camera.entered <= 3  # after 0.25 s and 0.5 s more, not again and again
    with open_capture(tmp_path / "a.h5") as capture:
        assert capture.notes["ended"] == done.failure


def test_nothing_recorded_leaves_nothing(tmp_path: Path) -> None:
    with CountingCamera(9, fails=(0,)) as camera, pytest.raises(InputError, match="unplugged"):
        record(camera, Order(tmp_path / "a.h5", ASKED))
    with CountingCamera(0) as camera, pytest.raises(InputError, match="no image came"):
        record(camera, Order(tmp_path / "a.h5", ASKED))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["a.h5", "a.part.h5"])
def test_recordings_replace_nothing(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("precious")
    with CountingCamera(9) as camera, pytest.raises(InputError, match="there already"):
        record(camera, Order(tmp_path / "a.h5", ASKED))
    assert (tmp_path / taken).read_text() == "precious"


FULL = """
import shutil, sys
from collections import namedtuple
from pathlib import Path
from counting_camera import CountingCamera, numbered
from hardware.captures.capture import open_capture
from hardware.recording.recorder import record
from hardware.recording.order import Order
from hardware.settings import Settings
path, surprised = Path(sys.argv[1]), sys.argv[2] == "surprised"
if surprised:  # the disk pretends to have room until it has none
    shutil.disk_usage = lambda folder: namedtuple("Usage", "free")(1 << 40)
with CountingCamera(1 << 40, 512) as camera:
    camera.waits = True
    done = record(camera, Order(path, Settings(1e-5)))
words = "No space left on device" if surprised else "the disk is full"
assert words in done.failure, done
with open_capture(path) as capture:
    assert capture.shape[0] == done.images > 1000, (capture.shape, done)
    assert words in capture.notes["ended"]
    assert bool(capture.assumptions) == surprised, capture.assumptions
    start = 0
    for block in capture.blocks(1000):
        assert (block == numbered(start, len(block))).all()
        assert (capture.sequence_number(start, start + len(block)) == range(start, start + len(block))).all()
        start += len(block)
print("full", done.images)
"""


def environment() -> dict[str, str]:
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": f"{here.parents[1]}:{here}", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("size", ["24m", "27100k"])
@pytest.mark.parametrize("way", ["foreseen", "surprised"])
def test_a_disk_that_is_full(tmp_path: Path, way: str, size: str) -> None:
    script = f'mount -t tmpfs -o size={size} tmpfs "{tmp_path}" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", FULL, str(tmp_path / "a.h5")]
    probe = subprocess.run([*command[:4], f'mount -t tmpfs tmpfs "{tmp_path}"'], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no disk may be mounted here")
    run = subprocess.run([*command, way], env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("full")


def test_what_cannot_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10**9))
    with CountingCamera(9) as camera, pytest.raises(InputError, match=r"needs 2\.0 GB, and its disk has 1\.0 GB free"):
        record(camera, Order(tmp_path / "a.h5", ASKED, images=10**6))
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_read_while_it_grows(tmp_path: Path) -> None:
    """By this process and others, with the whole of what was flushed, and to its end under another name."""
    looked: list[Capture] = []

    def look(progress: Progress) -> None:
        if progress.images and not looked:
            looked.append(open_capture(tmp_path / "a.part.h5"))
            with h5py.File(tmp_path / "a.part.h5") as file:
                assert len(file[DETECTOR]["data"]) >= progress.images
            assert looked[0].shape[0] >= progress.images
            assert looked[0].assumptions[0].startswith("recording is under way")

    with CountingCamera(100, 512) as camera:
        camera.waits = True
        done = record(camera, Order(tmp_path / "a.h5", ASKED), look)
    assert done.whole
    [capture] = looked
    with capture:
        images = capture.shape[0]
        np.testing.assert_array_equal(everything(capture), numbered(0, images))
        np.testing.assert_array_equal(numbers(capture), np.arange(images))


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_requests_to_stop_close_the_file_however_often_they_come(tmp_path: Path, how: str) -> None:
    asked: list[int] = []

    def look(progress: Progress) -> None:
        if progress.images and not asked:
            asked.extend(range(3))
            for _ in asked:
                signal.raise_signal(getattr(signal, how))

    before = signal.getsignal(getattr(signal, how))
    with CountingCamera(1 << 40) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED), look)
    assert signal.getsignal(getattr(signal, how)) is before
    assert done.whole
    with open_capture(tmp_path / "a.h5") as capture:
        assert capture.shape[0] == done.images > 0
        assert capture.notes["ended"] == "stopped by the user"


def test_an_observer_that_fails_closes_the_file(tmp_path: Path) -> None:
    """Its terminal may be gone."""

    def look(progress: Progress) -> None:
        if progress.images:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with CountingCamera(1 << 40) as camera, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        record(camera, Order(tmp_path / "a.h5", ASKED), look)
    with open_capture(tmp_path / "a.h5") as capture:
        assert not capture.assumptions
        np.testing.assert_array_equal(everything(capture), numbered(0, capture.shape[0]))


def test_a_recording_whose_folder_is_deleted_says_so(tmp_path: Path) -> None:
    def look(progress: Progress) -> None:
        if progress.images:
            shutil.rmtree(tmp_path / "folder", ignore_errors=True)

    with CountingCamera(20, 512) as camera:
        camera.waits = True
        done = record(camera, Order(tmp_path / "folder" / "a.h5", ASKED), look)
    assert "a.part.h5 cannot be named a.h5 (No such file or directory); it was deleted meanwhile" in done.failure


def test_a_name_that_is_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def look(progress: Progress) -> None:
        (tmp_path / "a.h5").write_text("precious")

    with CountingCamera(20, 512) as camera:
        camera.waits = True
        done = record(camera, Order(tmp_path / "a.h5", ASKED), look)
    assert "a.part.h5 cannot be named a.h5 (File exists); it is whole: rename it" in done.failure
    assert (tmp_path / "a.h5").read_text() == "precious"
    with open_capture(tmp_path / "a.part.h5") as capture:
        assert not capture.assumptions
        np.testing.assert_array_equal(everything(capture), numbered(0, done.images))


def test_a_quota_that_is_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No quota can be set up here: the third block is refused as one would."""
    append, blocks = writer.append, 0

    def refused(group: h5py.Group, name: str, *given: Any) -> None:
        nonlocal blocks
        blocks += name == "data"
        if blocks == 3:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        append(group, name, *given)

    monkeypatch.setattr(writer, "append", refused)
    with CountingCamera(20, 1024) as camera:
        done = record(camera, Order(tmp_path / "a.h5", ASKED))
    assert (done.images, done.failure) == (2048, f"{tmp_path / 'a.h5'}: {os.strerror(errno.EDQUOT)}")
    with open_capture(tmp_path / "a.h5") as capture:
        np.testing.assert_array_equal(everything(capture), numbered(0, 2048))
        assert os.strerror(errno.EDQUOT) in capture.notes["ended"]


@pytest.mark.parametrize(
    ("kills", "compression", "camera"),
    [
        (48, "none", "counting"),
        (16, "gzip", "counting"),
        (12, "lz4", "counting"),
        (12, "none", "replay"),
        (12, "none", "simulated"),
    ],
)
def test_what_was_flushed_outlives_a_killed_recorder(tmp_path: Path, kills: int, compression: str, camera: str) -> None:
    script = Path(__file__).with_name("killed_recordings.py")
    command = [sys.executable, str(script), str(tmp_path), str(kills), compression, camera]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    files, unreadable, lost, images = map(int, run.stdout.split())
    assert (unreadable, lost) == (0, 0), run.stderr
    assert files >= kills * 3 // 4  # the rest were killed early
    assert images > 500 * files
