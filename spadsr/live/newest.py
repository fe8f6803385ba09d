"""The newest sum of images of a running camera, added up by an onlooker that waits for nobody."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block
from hardware.settings import Settings

#: Blocks that a sum is kept in as well, to see whether the scene moves within it; of fewer images, not so.
BLOCKS, FEWEST_IMAGES = 8, 8


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
        blocks: (BLOCKS, H, W) uint32, sums of images // BLOCKS images each, from the first on; None where not known.
    """

    counts: NDArray[np.uint32]
    last: int
    host_time: float
    settings: Settings
    images: int
    live: bool = True
    blocks: NDArray[np.uint32] | None = None


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
        self._parts: list[NDArray[np.uint32]] = []
        self._added = 0
        self._lock = threading.Lock()  # between `sum_of`, in the server's thread, and `see`

    def begin(self, applied: Settings) -> None:
        """Starts anew, with images taken with these settings."""
        with self._lock:
            self._settings, self._parts, self._added = applied, [], 0
            self._images = min(self._images, most_images(applied))

    def sum_of(self, images: int) -> None:
        """From now on, adds up that many images."""
        with self._lock:
            self._images, self._parts, self._added = images, [], 0

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
            self._parts, self._added = [], 0
        counts, stop = block.counts, block.stop
        # Of many whole sums in one block only the last is shown: what comes before the last two is left out.
        skipped = max(0, (self._added + len(counts)) // self._images - 1) * self._images - self._added
        if skipped > 0:
            counts, self._parts, self._added = counts[skipped:], [], 0
        newest = None
        while len(counts):
            counts = counts[self._take(counts) :]
            if self._added == self._images:
                age = (time.monotonic() - block.host_time) + len(counts) * block.period
                newest = self._whole(stop - len(counts) - 1, time.time() - age, self._settings)
        return newest

    def _take(self, counts: NDArray[np.unsignedinteger]) -> int:
        """Adds images to the part that they belong to; returns how many."""
        each = self._images // BLOCKS if self._images >= FEWEST_IMAGES else self._images
        part, inside = divmod(self._added, each)
        images = min(len(counts), self._images - self._added, each - inside)
        added = counts[:images].sum(axis=0, dtype=np.uint32)
        if inside:
            self._parts[part] += added
        else:
            self._parts.append(added)
        self._added += images
        return images

    def _whole(self, last: int, host_time: float, settings: Settings) -> Sum:
        parts, self._parts, self._added = np.stack(self._parts), [], 0
        total = parts.sum(axis=0, dtype=np.uint32)
        blocks = parts[:BLOCKS] if len(parts) >= BLOCKS else None
        return Sum(total, last, host_time, settings.summed(self._images), self._images, blocks=blocks)


def most_images(settings: Settings) -> int:
    """How many images can be added up at most, so that their sums fit into 32 bits."""
    return int((2**32 - 1) // settings.saturation_value)
