"""NumPy arrays of counts, (T, H, W) or (H, W), and photon cubes: binary frames packed eight pixels to a byte."""

from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hardware.parsing.packed_bits import looks_packed, unpacked
from hardware.parsing.source import Choice, RawStack, Source, counts_dtype, stack_shape
from hardware.settings import PartialSettings
from noise_model.errors import InputError

NAME = "NumPy array"
SUFFIXES = (".npy",)
ARRAYS = False
AXES = ()
LAYOUTS = ("counts", "packed")

LONGEST_HEADER = 1 << 16
#: Images that are looked at for signs of packed bits.
SAMPLE = 16


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes."""
    return head.startswith(b"\x93NUMPY")


def open_source(path: Path, choice: Choice) -> Source:
    """Reads the header; images are read as they are asked for, and pickles never."""
    with path.open("rb") as file:
        beginning = BytesIO(file.read(LONGEST_HEADER))
    shape, fortran, dtype = _header(beginning)
    counts_dtype(path, dtype)
    stack = stack_shape(path, shape)
    if fortran and len(shape) > 1:
        raise InputError(f"{path}: stored column by column; save numpy.ascontiguousarray(array) instead")
    with ExitStack() as closing:
        raw = RawStack(path, stack, dtype, beginning.tell())
        closing.callback(raw.close)
        source = _as_they_lie(path, Source(stack, dtype, raw.read, raw.close), choice)
        closing.pop_all()
        return source


def _as_they_lie(path: Path, source: Source, choice: Choice) -> Source:
    """The source as counts or as packed bits: as the user chose, else by what the values look like."""
    if choice.layout == "packed":
        return _photon_cube(path, source)
    images, rows, columns = source.shape
    if choice.layout == "counts" or not looks_packed(source.shape, source.dtype, source.read(0, min(SAMPLE, images))):
        return source
    size = f"{rows} x {8 * columns}"
    remark = f"taken for binary frames of {size}, packed eight pixels to a byte; the other layout is counts"
    return replace(_photon_cube(path, source), remarks=(remark,))


def _header(file: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _photon_cube(path: Path, source: Source) -> Source:
    """The binary frames packed in the bytes of `source`, unpacked as they are asked for."""
    if source.dtype != np.uint8:
        raise InputError(f"{path}: layout packed: values are {source.dtype}; packed frames are uint8", "layout")
    images, rows, columns = source.shape
    return replace(
        source,
        shape=stack_shape(path, (images, rows, 8 * columns)),
        read=lambda start, stop: unpacked(source.read(start, stop)),
        settings=PartialSettings(counter_bits=1, cycles=1),
    )
