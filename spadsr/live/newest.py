"""The newest sum of images of a running camera, added up by an onlooker that waits for nobody."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block
from hardware.settings import Settings


@dataclass(frozen=True)
class Sum:
    """Consecutive images added up.

    Attributes:
        counts: (H, W) uint32.
        last: number of the last image in it.
        host_time: s since 1970, when that image arrived.
        settings: of the sum.
        images: how many images are in it.
        live: whether they are the camera's, not those of a recording.
    """

    counts: NDArray[np.uint32]
    last: int
    host_time: float
    settings: Settings
    images: int
    live: bool = True


class Newest:
    """Adds up consecutive images, again and again; an `Onlooker`.

    A gap in the images starts a sum anew, so that a sum never spans lost images.

    Args:
        show: called in the camera's thread with every whole sum; it must be quick.
    """

    def __init__(self, show: Callable[[Sum], None]) -> None:
        self._show = show
        self._images = 1
        self._settings: Settings | None = None
        self._total: NDArray[np.uint32] | None = None
        self._added = 0
        self._lock = threading.Lock()  # between `sum_of`, in the server's thread, and `see`

    def begin(self, applied: Settings) -> None:
        """Starts anew, with images taken with these settings."""
        with self._lock:
            self._settings, self._total, self._added = applied, None, 0
            self._images = min(self._images, most_images(applied))

    def sum_of(self, images: int) -> None:
        """From now on, adds up that many images."""
        with self._lock:
            self._images, self._total, self._added = images, None, 0

    def see(self, block: Block) -> None:
        """Adds a block; hands on the newest whole sum in it."""
        with self._lock:
            whole = self._add(block)
        if whole is not None:
            self._show(whole)

    def _add(self, block: Block) -> Sum | None:
        if self._settings is None:
            return None
        if block.lost or not block.lost_known:
            self._total, self._added = None, 0
        counts, stop = block.counts, block.stop
        # Of many whole sums in one block only the last is shown: what comes before the last two is left out.
        skipped = max(0, (self._added + len(counts)) // self._images - 1) * self._images - self._added
        if skipped > 0:
            counts, self._total, self._added = counts[skipped:], None, 0
        newest = None
        while len(counts):
            part = counts[: self._images - self._added]
            added = part.sum(axis=0, dtype=np.uint32)
            self._total = added if self._total is None else self._total + added
            self._added += len(part)
            counts = counts[len(part) :]
            if self._added == self._images:
                age = (time.monotonic() - block.host_time) + len(counts) * block.period
                settings = self._settings.summed(self._images)
                newest = Sum(self._total, stop - len(counts) - 1, time.time() - age, settings, self._images)
                self._total, self._added = None, 0
        return newest


def most_images(settings: Settings) -> int:
    """How many images can be added up at most, so that their sums fit into 32 bits."""
    return int((2**32 - 1) // settings.saturation_value)
