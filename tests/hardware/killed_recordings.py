"""Records again and again in children that are killed at random moments, and checks what they left.

    python killed_recordings.py FOLDER KILLS COMPRESSION CAMERA

CAMERA is counting, replay or simulated. Every fourth child is killed before its first image is known to be flushed, and
every other is first asked to stop, so that some are killed while closing their file. Prints the number of files left,
of those that cannot be read, of images that were flushed and are lost, and of images found.
"""

import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from counting_camera import SHAPE, CountingCamera, numbered

from hardware.camera import Camera
from hardware.cameras.registry import open_camera
from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.recording import recorder
from hardware.recording.order import Order, Progress
from hardware.settings import Settings

ASKED = Settings(1e-5, counter_bits=8, frame_time=1e-4)
#: Images of the recording that is replayed, a multiple of the period of their counts.
REPLAYED = 251 * 40


@dataclass
class Tally:
    """The count of files left, of unreadable ones, of flushed images that are lost, and of images found."""

    files: int = 0
    unreadable: int = 0
    lost: int = 0
    images: int = 0


def camera_of(name: str, folder: Path) -> Any:
    """A camera that never ends, waiting or not."""
    if name == "counting":
        counting = CountingCamera(1 << 40, 512, 2e-5)
        counting.waits = True
        return counting
    if name == "replay":
        return open_camera(f"replay:{folder / 'replayed.h5'},speed=inf,loop=1")
    return open_camera("simulated:spc3,loss=0.1,seed=1")


def recording(path: Path, compression: str, camera: Camera, flushed: int) -> None:
    """Records without end, and writes into the pipe `flushed` how many images were flushed."""

    def look(progress: Progress) -> None:
        os.write(flushed, progress.images.to_bytes(8, "little"))

    recorder.LOOK_PERIOD = 0.001
    with camera:
        recorder.record(camera, Order(path, ASKED, image_key=2, compression=compression), look)


def killed(path: Path, compression: str, camera: Camera, early: bool, asked: bool) -> int:
    """Images that were surely flushed when the recorder was killed, after the first of them or `early`."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with suppress(KeyboardInterrupt):  # asked to stop before it began to record
            recording(path, compression, camera, writing)
        os._exit(0)
    os.close(writing)
    while os.read(reading, 8) == bytes(8) and not early:
        pass
    time.sleep(random.uniform(0, 0.2))
    if asked:
        os.kill(child, random.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
        time.sleep(random.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = b""
    while piece := os.read(reading, 1 << 16):
        said = (said + piece)[-16:]
    os.close(reading)
    return int.from_bytes(said[len(said) % 8 :][-8:], "little")


def check(path: Path, camera: str, flushed: int, tally: Tally) -> None:
    """Adds what a killed recorder left in `path`."""
    tally.files += 1
    try:
        with h5py.File(path) as file:
            file["/entry/instrument/detector/data"].shape  # noqa: B018
        with open_capture(path) as capture:
            tally.images += capture.shape[0]
            tally.lost += max(0, flushed - capture.shape[0])
            # One that was killed just before its last step, to be named, is whole and says so.
            assert path.stem.endswith(".part") or not any("cut short" in each for each in capture.assumptions)
            assert capture.image_key is not None
            assert (capture.image_key == 2).all()
            numbers = capture.sequence_number(0, capture.shape[0])
            assert numbers is not None
            if camera != "simulated":
                np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
            start = 0
            for block in capture.blocks(4096):
                expected = block.any(axis=(1, 2)) if camera == "simulated" else block == numbered(start, len(block))
                tally.lost += int(np.count_nonzero(~expected.reshape(len(block), -1).all(axis=1)))
                start += len(block)
    except Exception as error:
        print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
        tally.unreadable += 1


def main(folder: Path, kills: int, compression: str, camera: str) -> None:
    """All of it."""
    random.seed(0)
    tally = Tally()
    with CaptureWriter(folder / "replayed.h5", SHAPE, np.uint8, ASKED) as writer:
        writer.append(numbered(0, REPLAYED))
    with camera_of(camera, folder) as known:  # what it needs is loaded and compiled once, here
        known.configure(ASKED)
        next(known.blocks())
    for number in range(kills):
        path = folder / f"{number}.h5"
        flushed = killed(path, compression, camera_of(camera, folder), number % 4 == 0, number % 2 == 1)
        left = [each for each in (path, path.with_suffix(".part.h5")) if each.exists()]
        tally.lost += flushed * (not left)
        for each in left:
            check(each, camera, flushed, tally)
            each.unlink()
    hidden = [each for each in folder.iterdir() if each.name != "replayed.h5"]
    assert len(hidden) <= 1, hidden  # those of earlier children are removed by the next
    print(tally.files, tally.unreadable, tally.lost, tally.images)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
