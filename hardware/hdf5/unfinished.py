"""Recordings that are not finished, under way or cut short: how many images are whole, and reading them."""

from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import told
from hardware.hdf5.nexus_tree import UNFINISHED
from noise_model.errors import InputError
from noise_model.files import is_running

#: Sequence numbers that are read at once where they are not chunked, and the most reads before a file counts as empty.
_SLICE, _MOST_SLICES = 4096, 64

#: The most tries to read rows while somebody appends others.
_MOST_LOOKS = 10


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


class Unfinished:
    """A recording that is under way or was cut short; rows of its datasets are read safely while others are appended.

    HDF5 remembers parts of the index of a dataset; as it grows others move, and rows that no remembered part holds
    would be zeros. So while it grows, the index is read anew for every block.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        writer = told(path, file, UNFINISHED)
        self._path, self._file = path, file
        growing = isinstance(writer, str) and is_running(writer)
        self._handle = path.open("rb") if growing else None  # the file gets another name in the end

    def close(self) -> None:
        """Releases the file."""
        self._file.close()
        if self._handle is not None:
            self._handle.close()

    def remark(self, images: int) -> str:
        """What the user should know of the recording, of which so many images are whole."""
        if self._handle is None:
            return f"recording was cut short; its first {images} images are whole"
        return f"recording is under way, or was cut short on another machine; its first {images} images are read"

    def rows(self, data: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
        """Rows `start` to `stop` of a dataset that somebody may be appending to."""
        for _ in range(_MOST_LOOKS):
            found = data[start:stop] if self._handle is None else _whole_rows(self._handle, data.name, start, stop)
            if found is not None:
                return np.asarray(found)
        raise InputError(f"{self._path}: images {start} to {stop - 1} are not all there; wait for the recording to end")


def _whole_rows(handle: BinaryIO, place: str, start: int, stop: int) -> NDArray[Any] | None:
    """Rows of a dataset; None where the index changed while it was read."""
    with h5py.File(handle, "r") as file:
        data = file[place]
        chunk, rest = data.chunks[0], (0,) * (data.ndim - 1)
        starts = range(start // chunk * chunk, stop, chunk)
        if any(data.id.get_chunk_info_by_coord((row, *rest)).byte_offset is None for row in starts):
            return None
        return np.asarray(data[start:stop])


def _readable(numbers: h5py.Dataset, start: int, stop: int) -> Any:
    try:
        return numbers[start:stop]
    except OSError:
        return np.empty(0, np.uint64)
