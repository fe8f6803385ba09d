"""Exact sums of products of counts over a stretch of images: the inner loops of `streams`, compiled by numba.

The counts of one pixel are neighbours in memory, so that a vector unit computes four or more products at once.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from noise_model.arrays import Counts

Integers = NDArray[np.int64]


@njit(nogil=True)
def lay_out(images: Counts, counts: Counts, start: int) -> None:
    """Copies images (n, P) to `counts` (P, room) from column `start` on.

    It copies sixteen pixels at a time, because a cache fetches them together.
    """
    n, pixels = images.shape
    for first in range(0, pixels, 16):
        for t in range(n):
            for i in range(first, min(first + 16, pixels)):
                counts[i, start + t] = images[t, i]


@njit(nogil=True)
def add_up(
    counts: Counts,
    start: int,
    stop: int,
    full: int,
    lags: Integers,
    total: Integers,
    square: Integers,
    saturated: Integers,
    lagged: Integers,
) -> None:
    """Adds images `start` to `stop` of `counts` (P, room) to the sums of a recording.

    Args:
        full: the largest count a pixel can have.
        total, square, saturated: (P,) sums of counts, of their squares, and of the images whose count is `full`.
        lagged: (L, P) sums of products with the images `lags` (L,) before, also before `start`.
    """
    for i in range(counts.shape[0]):
        now = counts[i, start:stop]
        for t in range(now.size):
            total[i] += np.int64(now[t])
            saturated[i] += now[t] == full
        square[i] += _dot(now, now)
        for m in range(lags.size):
            first = max(start, lags[m])
            lagged[m, i] += _dot(counts[i, first:stop], counts[i, first - lags[m] : stop - lags[m]])


@njit(nogil=True)
def add_beside(counts: Counts, start: int, stop: int, width: int, offsets: Integers, beside: Integers) -> None:
    """Adds the products of each pixel's counts with those of its neighbours to `beside` (K, P).

    The neighbours are at `offsets` (K, 2; rows, columns); the images are `start` to `stop`.
    """
    for i in range(counts.shape[0]):
        row, column = divmod(i, width)
        for k in range(offsets.shape[0]):
            other = (row + offsets[k, 0]) * width + column + offsets[k, 1]
            if 0 <= column + offsets[k, 1] < width and 0 <= other < counts.shape[0]:
                beside[k, i] += _dot(counts[i, start:stop], counts[other, start:stop])


@njit(nogil=True)
def _dot(a: Counts, b: Counts) -> int:
    total = np.uint64(0)
    for t in range(a.size):
        total += np.uint64(a[t]) * np.uint64(b[t])
    return np.int64(total)  # type: ignore[return-value]
