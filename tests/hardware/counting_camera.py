"""A camera whose image number i is filled with i mod 251, and which fails when told to."""

import time
from collections.abc import Iterator
from threading import Event
from types import TracebackType
from typing import Any, Self

import numpy as np

from hardware.camera import Block, CameraError, Offer
from hardware.settings import Settings

SHAPE = (64, 32)


def numbered(first: int, images: int) -> np.ndarray[Any, Any]:
    """Images `first` and following."""
    filled = (np.arange(first, first + images) % 251).astype(np.uint8)
    return np.broadcast_to(filled[:, None, None], (images, *SHAPE)).copy()


class CountingCamera:
    """Hands over `blocks` blocks of `images` images; block number `fails` of a run is a failure instead."""

    name, shape, pixel_mask = "counting", SHAPE, None

    def __init__(self, blocks: int, images: int = 300, period: float = 1e-5, fails: tuple[int, ...] = ()) -> None:
        self.waits, self.entered, self.changes = False, 0, False
        self._blocks, self._images, self._period, self._fails = blocks, images, period, list(fails)
        self._stopped = Event()

    def __enter__(self) -> Self:
        self.entered += 1
        if self.entered == 2:
            raise CameraError("counting: still unplugged")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def configure(self, settings: Settings) -> Settings:
        again = self.changes and self.entered > 1
        return Settings(2e-6 if again else 1e-6, 1, 8, 0.0, self._period)

    def blocks(self) -> Iterator[Block]:
        self._stopped.clear()
        fails = self._fails.pop(0) if self._fails else None
        start = time.monotonic()
        for number in range(self._blocks):
            if self._stopped.wait(max(0.0, start + (number + 1) * self._images * self._period - time.monotonic())):
                return
            if number == fails:
                raise CameraError("counting: unplugged")
            first = number * self._images
            yield Block(numbered(first, self._images), first, self._period, time.monotonic(), 0, True, 0.0)

    def stop(self) -> None:
        self._stopped.set()

    def choices(self) -> dict[str, Offer]:
        return {}

    def identity(self) -> dict[str, str]:
        return {"serial_number": "C7"}
