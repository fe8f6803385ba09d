"""Arrays of numbers as sources, whatever the order of their axes: images first or last, channels, packed bits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.packed_bits import ALONG_ROWS, LAYOUTS_OF_BITS, PACKED, looks_packed, unpacked
from hardware.parsing.source import Choice, Source, counts_dtype, stack_shape
from hardware.settings import PartialSettings
from noise_model.errors import InputError

COUNTS, LAST, FIRST = "counts", "images-last", "images-first"

#: The layouts of an array whose file does not tell them.
LAYOUTS = (COUNTS, LAST, PACKED, ALONG_ROWS)

#: The most channels of an image.
CHANNELS = 4

#: Images that are looked at for signs of packed bits.
SAMPLE = 16

#: take(axis, start, stop) is the part of an array between two indices of an axis, with the others whole.
Take = Callable[[int, int, int], NDArray[Any]]


def source_of_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], take: Take, close: Callable[[], None], choice: Choice
) -> Source:
    """The source of an array (T, H, W), (H, W), or (T, H, W, C), of which one channel is chosen, in the chosen layout.

    Raises:
        InputError: an array of another shape or type, or a channel that is not there.
    """
    counts_dtype(path, dtype)
    shape, take = _without_channels(path, shape, take, choice)
    if choice.layout == LAST and len(shape) == 3:
        stack = stack_shape(path, (shape[2], *shape[:2]))
        return Source(stack, dtype, lambda start, stop: np.moveaxis(take(2, start, stop), 2, 0), close)
    stack = stack_shape(path, shape)
    flat = len(shape) == 2
    source = Source(
        stack, dtype, lambda start, stop: take(0, 0, shape[0])[None] if flat else take(0, start, stop), close
    )
    return _unpacked_if_packed(path, source, choice)


def _without_channels(path: Path, shape: tuple[int, ...], take: Take, choice: Choice) -> tuple[tuple[int, ...], Take]:
    """An array without its axis of channels, which is the last or the second; one without such an axis as it is."""
    axis = next((each for each in (3, 1) if len(shape) == 4 and 1 <= shape[each] <= CHANNELS), None)
    if axis is None:
        if choice.array is not None:
            raise InputError(f"{path}: array {choice.array}: images without channels; choose none", "array")
        return shape, take
    channel = _channel(path, shape[axis], choice)
    rest = shape[:axis] + shape[axis + 1 :]
    return rest, lambda _axis, start, stop: np.take(take(0, start, stop), channel, axis)


def _channel(path: Path, channels: int, choice: Choice) -> int:
    known = [str(number) for number in range(1, channels + 1)]
    wanted = choice.array or ("1" if channels == 1 else "")
    if wanted not in known:
        raise InputError(f"{path}: images of {channels} channels; choose {' or '.join(known)}", "array")
    return int(wanted) - 1


def _unpacked_if_packed(path: Path, source: Source, choice: Choice) -> Source:
    """The source as counts or as packed bits: as the user chose, else by what the values look like."""
    if choice.layout in LAYOUTS_OF_BITS:
        return _binary_frames(path, source, choice.layout)
    if choice.layout is not None or source.dtype != np.uint8:
        return source
    layout = looks_packed(source.shape, source.read(0, min(SAMPLE, source.shape[0])))
    if layout is None:
        return source
    frames = _binary_frames(path, source, layout)
    size = f"{frames.shape[1]} x {frames.shape[2]}"
    remark = f"taken for binary frames of {size}, packed eight pixels to a byte ({layout}); the other layout is counts"
    return replace(frames, remarks=(remark,))


def _binary_frames(path: Path, source: Source, layout: str) -> Source:
    """The binary frames packed in the bytes of `source`, unpacked as they are asked for."""
    if source.dtype != np.uint8:
        raise InputError(f"{path}: layout {layout}: values are {source.dtype}; packed frames are uint8", "layout")
    images, rows, columns = source.shape
    shape = (images, 8 * rows, columns) if layout == ALONG_ROWS else (images, rows, 8 * columns)
    return replace(
        source,
        shape=stack_shape(path, shape),
        read=lambda start, stop: unpacked(source.read(start, stop), layout),
        settings=PartialSettings(counter_bits=1, cycles=1),
    )


def parts_of(array: NDArray[Any]) -> Take:
    """The parts of an array in memory."""
    return lambda axis, start, stop: array[(slice(None),) * axis + (slice(start, stop),)]


class RawArray:
    """An array in a file from `offset` on, in C or Fortran order, of which parts are read as they are asked for.

    Parts along the axis that lies closest together are spread over the whole file, so a window of `WINDOW` bytes is
    kept of them. Reading instead of memory mapping keeps the resident memory flat and survives a file that shrinks.
    """

    WINDOW = 1 << 26

    def __init__(self, path: Path, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any], offset: int) -> None:
        self.path, self.dtype, self.offset, self.fortran = path, dtype, offset, fortran
        self.stored = shape[::-1] if fortran else shape
        self.file: BinaryIO = path.open("rb")
        promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
        present = path.stat().st_size - offset
        self._window: tuple[int, NDArray[Any]] = (0, np.empty((*self.stored[:-1], 0), dtype))
        if present < promised:
            self.close()
            raise InputError(
                f"{path}: truncated: {promised} bytes of counts promised, {max(present, 0)} there; copy it again"
            )

    def take(self, axis: int, start: int, stop: int) -> NDArray[Any]:
        """The part of the array between two indices of its first or last axis."""
        place = len(self.stored) - 1 - axis if self.fortran else axis
        part = self._slowest(start, stop) if place == 0 else self._fastest(start, stop)
        return part.T if self.fortran else part

    def _slowest(self, start: int, stop: int) -> NDArray[Any]:
        each = int(np.prod(self.stored[1:], dtype=object))
        self.file.seek(self.offset + start * each * self.dtype.itemsize)
        return np.fromfile(self.file, self.dtype, (stop - start) * each).reshape(-1, *self.stored[1:])

    def _fastest(self, start: int, stop: int) -> NDArray[Any]:
        first, window = self._window
        if not first <= start <= stop <= first + window.shape[-1]:
            pixels = int(np.prod(self.stored[:-1], dtype=object))
            images = max(stop - start, self.WINDOW // max(1, pixels * self.dtype.itemsize))
            first, last = start, min(start + images, self.stored[-1])
            lines = (self._slowest(line, line + 1)[..., first:last] for line in range(self.stored[0]))
            window = np.concatenate([line.copy() for line in lines])
            self._window = first, window
        return window[..., start - first : stop - first]

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
