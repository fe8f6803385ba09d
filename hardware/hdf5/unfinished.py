"""Captures whose writer was killed: how many of their images are whole."""

from typing import Any

import h5py
import numpy as np

#: Sequence numbers that are read at once where they are not chunked, and the most reads before a file counts as empty.
_SLICE, _MOST_SLICES = 4096, 64


def whole_images(data: h5py.Dataset, numbers: h5py.Dataset) -> int:
    """The number of images up to the last with a sequence number, which is flushed after the counts it belongs to.

    After that image, counts, numbers or both may be missing: HDF5 makes zeros of them, or refuses to read them.
    """
    stop, size = min(len(data), len(numbers)), numbers.chunks[0] if numbers.chunks else _SLICE
    for _ in range(_MOST_SLICES):
        start = max(0, stop - 1) // size * size
        known = np.flatnonzero(_readable(numbers, start, stop))
        if known.size:
            return start + int(known[-1]) + 1
        stop = start
    return 0


def _readable(numbers: h5py.Dataset, start: int, stop: int) -> Any:
    try:
        return numbers[start:stop]
    except OSError:
        return np.empty(0, np.uint64)
