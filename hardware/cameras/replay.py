"""A camera that plays a recording."""

import math
import time
from collections.abc import Iterator
from threading import Event
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block, CameraError, Offer, saturated_share
from hardware.captures.capture import Capture, open_capture
from hardware.settings import Settings
from noise_model.errors import InputError

ADDRESS = "replay:CAPTURE,speed=1,loop=0"
OPTIONS = {"speed": 1.0, "loop": 0.0}

#: s: the time that a block spans, about.
BLOCK_TIME = 0.01
#: The most bytes and images in a block, and the fewest images where it is played as fast as it can be read.
BLOCK_BYTES, MOST_IMAGES, FEWEST_IMAGES = 1 << 24, 1024, 256


def availability() -> tuple[bool, str]:
    """Says that the camera is always usable."""
    return True, "needs a recording of any format that is read; speed=inf plays it as fast as it can be read"


def connect(what: str, *, speed: float = 1.0, loop: float = 0.0) -> "ReplayCamera":
    """A camera that plays the recording `what`, `speed` times as fast as recorded, again and again if `loop` is 1.

    Raises:
        CameraError: no recording, or an option is out of range.
    """
    if not what:
        raise CameraError(f"replay: no recording is named; expected {ADDRESS}")
    if not (speed > 0 and loop in (0, 1)):
        raise CameraError(f"replay: speed={speed:g}, loop={loop:g}; expected a speed above 0 (or inf), and loop 0 or 1")
    return ReplayCamera(what, speed, bool(loop))


class ReplayCamera:
    """A camera that plays a recording.

    Its settings are those of the recording, whatever is asked for; gaps in the sequence numbers are lost images.
    """

    name = "replay"
    waits = True

    def __init__(self, path: str, speed: float, loop: bool) -> None:
        self.shape: tuple[int, int] = (0, 0)
        self.pixel_mask: NDArray[np.uint32] | None = None
        self._path, self._speed, self._loop = path, speed, loop
        self._capture: Capture | None = None
        self._stopped = Event()

    def __enter__(self) -> Self:
        """Opens the recording. Raises InputError if it cannot be read or played."""
        self._capture = open_capture(self._path)
        try:
            self._capture.require_plain()
        except InputError:
            self.__exit__()
            raise
        self.shape, self.pixel_mask = self._capture.shape[1:], self._capture.pixel_mask
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.close()

    def configure(self, settings: Settings) -> Settings:
        """The settings of the recording, as it says or as is assumed, whatever is asked for."""
        return self._opened().settings

    def blocks(self) -> Iterator[Block]:
        """Hands over the images of the recording, once or again and again."""
        capture = self._opened()
        self._stopped.clear()
        return self._run(capture)

    def stop(self) -> None:
        """Ends `blocks`."""
        self._stopped.set()

    def choices(self) -> dict[str, Offer]:
        """Nothing: the settings are those of the recording."""
        return {}

    def identity(self) -> dict[str, str]:
        """The identity of the recorded camera, as far as the recording says, and what is played."""
        capture = self._opened()
        names = ("description", "serial_number")
        known = {name: str(capture.notes[name]) for name in names if name in capture.notes}
        return {**known, "replayed": capture.path.name, "assumed": "; ".join(capture.assumptions)}

    def _opened(self) -> Capture:
        if self._capture is None:
            raise CameraError("replay: not opened; enter the camera first (with camera: ...)")
        return self._capture

    def _run(self, capture: Capture) -> Iterator[Block]:
        period = capture.settings.frame_time or capture.exposure.count_time * capture.exposure.most_cycles
        start, expected = time.monotonic(), 0
        while True:
            for first, counts in _pieces(capture, _block_images(capture, period, self._speed), expected):
                if self._stopped.wait(
                    max(0.0, start + (first + len(counts)) * period / self._speed - time.monotonic())
                ):
                    return
                saturated = saturated_share(counts, capture.settings.saturation_value)
                block = Block(counts, first, period, time.monotonic(), first - expected, True, saturated)
                expected = block.stop
                yield block
            if not self._loop:
                return


def _block_images(capture: Capture, period: float, speed: float) -> int:
    most = BLOCK_BYTES // (math.prod(capture.shape[1:]) * capture.dtype.itemsize)
    wanted = FEWEST_IMAGES if math.isinf(speed) else round(BLOCK_TIME * speed / period)
    return max(1, min(wanted, MOST_IMAGES, most))


def _pieces(capture: Capture, images: int, offset: int) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
    """Blocks of images with the index as acquired of their first, from `offset` on; split where images were lost."""
    origin: int | None = None
    for start in range(0, capture.shape[0], images):
        stop = min(start + images, capture.shape[0])
        recorded = capture.sequence_number(start, stop)
        numbers = np.arange(start, stop) if recorded is None else recorded.astype(np.int64)
        origin = int(numbers[0]) if origin is None else origin
        counts, cuts = capture.read(start, stop), np.flatnonzero(np.diff(numbers) != 1) + 1
        for part, index in zip(np.split(counts, cuts), np.split(numbers, cuts), strict=True):
            yield offset + int(index[0]) - origin, part.copy()
