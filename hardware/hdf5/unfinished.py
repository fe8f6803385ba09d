"""Captures whose writer was killed: which of their images are whole."""

from typing import Any

import h5py
import numpy as np

#: Sequence numbers looked at in one go where they are not chunked; and goes, before the file counts as empty.
_SLICE, _MOST_SLICES = 4096, 64


def whole_images(data: h5py.Dataset, numbers: h5py.Dataset) -> int:
    """Images up to the last with a sequence number: these are flushed after the counts they belong to.

    Behind it, the counts, the numbers or both may be missing; HDF5 makes zeros of them, or says that they lie beyond
    the end of the file.
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
