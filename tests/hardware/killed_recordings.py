"""Records again and again in children that are killed at random moments, and checks what they left.

    python killed_recordings.py FOLDER KILLS COMPRESSION

Prints how many recordings were read, and how many images they held.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from counting_camera import CountingCamera, numbered

from hardware.captures.capture import open_capture
from hardware.recording import recorder
from hardware.recording.order import Order, Progress
from hardware.settings import Settings


def recording(path: Path, compression: str, flushed: int) -> None:
    """Records without end, and writes into the pipe `flushed` how many images were flushed."""

    def look(progress: Progress) -> None:
        os.write(flushed, progress.images.to_bytes(8, "little"))

    recorder.GLANCE = 0.001
    camera = CountingCamera(1 << 40, 512, 2e-5)
    camera.waits = True
    with camera:
        recorder.record(camera, Order(path, Settings(1e-6), image_key=2, compression=compression), look)


def killed(path: Path, compression: str, seconds: float) -> int:
    """Images that were surely flushed when the recorder was killed, `seconds` after its first image."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        recording(path, compression, writing)
        os._exit(1)
    os.close(writing)
    while os.read(reading, 8) == bytes(8):
        pass
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    said = b""
    while piece := os.read(reading, 1 << 16):
        said = piece
    os.close(reading)
    return int.from_bytes(said[-8:], "little")


def checked(path: Path, flushed: int) -> int:
    """Images in what a killed recorder left."""
    with open_capture(path) as capture:
        images = capture.shape[0]
        assert images >= flushed, f"{images} of {flushed} flushed images"
        np.testing.assert_array_equal(capture.sequence_number(0, images), np.arange(images))
        np.testing.assert_array_equal(capture.image_key, np.full(images, 2))
        assert any("cut short" in remark for remark in capture.assumptions)
        start = 0
        for block in capture.blocks(4096):
            assert (block == numbered(start, len(block))).all()
            start += len(block)
    return images


def main(folder: Path, kills: int, compression: str) -> None:
    """All of it."""
    moments, held = random.Random(0), []
    for number in range(kills):
        path = folder / f"{number}.h5"
        flushed = killed(path, compression, moments.uniform(0, 0.08))
        left = folder / f"{number}.part.h5"
        held.append(checked(left, flushed))
        left.unlink()
    print(len(held), sum(held))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
