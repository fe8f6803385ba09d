"""Sources: what a file format hands over, which is where the counts are and what the file says about them."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hardware.settings import NOTHING_KNOWN, PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError

#: Pixels of the largest image that is read. The largest SPAD array built has 3.2 million.
LARGEST_IMAGE = 1 << 24

#: Characters of what a library says of a damaged file, at most: it may repeat the file.
LONGEST_REASON = 200

#: The note that says how large native pixels are, m, in the object (on the array without optics); the most it can say.
PIXEL_SIZE, LARGEST_PIXEL = "pixel_size", 1.0

#: The NXdetector bit of pixels that a file marks without saying why: "user defined mask".
MARKED = 1 << 8


@dataclass(frozen=True)
class Choice:
    """The user's choice of what to read of a file, and how, where there is more than one way.

    Attributes:
        array: name or number of the array in a file that holds several.
        layout: order of the numbers in the array, one of the format's `LAYOUTS`.
        channel, position, slice: name or number (from 1) on an axis of the file, of those among the format's `AXES`.
    """

    array: str | None = None
    layout: str | None = None
    channel: str | None = None
    position: str | None = None
    slice: str | None = None


#: A layout of formats without a header: rows, columns and bits of a pixel, as in 512x512x8.
SIZE = "ROWSxCOLUMNSxBITS"


def size_of(layout: str | None) -> tuple[int, int, int] | None:
    """Rows, columns and bits of a layout such as 512x512x8; None for others."""
    parts = (layout or "").lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 7 for part in parts):
        return None
    rows, columns, bits = map(int, parts)
    return rows, columns, bits


@dataclass(frozen=True)
class Source:
    """An opened file: how to read its counts, and what it says about them.

    Attributes:
        shape: (T, H, W): images, rows, columns.
        dtype: type of the counts in the file: integers, bool, or floating-point numbers, which have to be whole.
        read: read(start, stop) gives the images of that range, (stop - start, H, W), unchecked.
        close: releases the file.
        settings: what the file says of how the images were taken.
        usual: the settings of most such files, for what neither the file nor the user says.
        pixel_mask: (H, W), NXdetector bits.
        image_key: (T,): 0 scene, 1 flat, 2 dark, 3 invalid.
        notes: further facts of the acquisition, by name.
        remarks: sentences for the user about how the file was understood.
        cycles: cycles(start, stop) gives the hardware frames of each pixel of the images of that range, as `read` does
            counts, unchecked; None where one number is that of all.
        parts: parts(index, most) gives an image that is a sum in up to `most` consecutive parts, and of how many images
            each is the sum; None where images are no sums.
        places: places within a pixel along each side, whose counts are kept apart (a moving array); 1 for none.
        sequence: sequence(start, stop) gives the indices as acquired of the images of that range, (stop - start,).
        peak_normalised: each image was stretched to its own largest count: how bright they were is lost.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], Counts]
    close: Callable[[], None]
    settings: PartialSettings = NOTHING_KNOWN
    usual: PartialSettings = NOTHING_KNOWN
    pixel_mask: NDArray[np.uint32] | None = None
    image_key: NDArray[np.uint8] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    sequence: Callable[[int, int], NDArray[np.uint64]] | None = None
    peak_normalised: bool = False
    cycles: Callable[[int, int], Counts] | None = None
    parts: Callable[[int, int], tuple[Counts, NDArray[np.int64]]] | None = None
    places: int = 1


def masking(source: Source, pixels: NDArray[np.bool_], bit: int) -> Source:
    """A source with further masked pixels, (H, W)."""
    before = np.uint32(0) if source.pixel_mask is None else source.pixel_mask
    return replace(source, pixel_mask=before | (pixels * np.uint32(bit)))


@contextmanager
def blaming(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a parser raises over a damaged file into an InputError that names `path`.

    File libraries raise nearly every exception there is over mutated bytes, so all of them are caught here.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:LONGEST_REASON]
        raise InputError(
            f"{path}: damaged or not a readable {what} ({reason}); check or copy the file again"
        ) from error


def regular_file(path: Path) -> Path:
    """Checks that `path` is a file, and returns it.

    Raises:
        InputError: it is not a file.
    """
    if path.is_dir():
        raise InputError(f"{path}: a directory without PNG or TIFF images; give one capture file")
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if not path.is_file():
        raise InputError(f"{path}: not a regular file; give one capture file")
    return path


def stack_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(T, H, W) of an array of `shape` (H, W) or (T, H, W).

    Raises:
        InputError: another rank, nothing in it, or an image too large to be real.
    """
    if len(shape) not in (2, 3):
        raise InputError(f"{path}: counts of shape {shape}; expected (images, rows, columns) or (rows, columns)")
    images, rows, columns = (1, *shape) if len(shape) == 2 else shape
    if images < 1:
        raise InputError(f"{path}: holds 0 images; expected at least one")
    if rows < 1 or columns < 1 or rows * columns > LARGEST_IMAGE:
        raise InputError(f"{path}: images of {rows} x {columns} pixels; expected 1 to {LARGEST_IMAGE} pixels")
    return images, rows, columns


def counts_dtype(path: Path, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Checks that numbers of type `dtype` can be counts, and returns it.

    Raises:
        InputError: it is neither an integer nor a floating-point type, whose numbers are to be whole.
    """
    if dtype.kind not in "iubf":
        raise InputError(f"{path}: values are of type {dtype}; expected integer counts")
    return dtype


class RawStack:
    """Images that follow one another in a file from `offset` on, row by row, read as they are asked for.

    Reading instead of memory mapping keeps the resident memory flat and survives a file that shrinks meanwhile.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self.path, self.shape, self.dtype, self.offset = path, shape, dtype, offset
        self.image_bytes = math.prod(shape[1:]) * dtype.itemsize
        self.file: BinaryIO = path.open("rb")
        promised, present = shape[0] * self.image_bytes, os.fstat(self.file.fileno()).st_size - offset
        if present < promised:
            self.close()
            raise InputError(
                f"{path}: truncated: {promised} bytes of counts promised, {max(present, 0)} there; copy it again"
            )

    def read(self, start: int, stop: int) -> Counts:
        """Images `start` to `stop`, (stop - start, H, W), or with further axes as stored."""
        self.file.seek(self.offset + start * self.image_bytes)
        flat = np.fromfile(self.file, self.dtype, (stop - start) * math.prod(self.shape[1:]))
        return flat.reshape(-1, *self.shape[1:])

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
