"""The numeric arrays of a MATLAB 5 file, unpacked no further than their headers promise.

`scipy.io` is not used, as it allocates whatever a damaged header asks for. Layout: "MAT-File Format", The MathWorks.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.inflating import LARGEST_PIECE, inflated
from noise_model.errors import InputError

HEADER = 128
MATRIX, COMPRESSED = 14, 15
COMPLEX = 0x0800
NUMERIC_CLASSES = range(6, 16)
#: NumPy's names of the types of numbers in a file.
NUMBER_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}

_BEGINNING = 1 << 12


@dataclass(frozen=True)
class Variable:
    """An array in the file.

    Attributes:
        name: name of the variable.
        shape: shape in MATLAB.
        dtype: type of the numbers in the file, which may be narrower than in MATLAB.
        element: offset in the file of the element that holds the array, after the tag.
        length: bytes of that element.
        compressed: whether the element has to be unpacked.
        numbers: offset of the numbers in the unpacked element.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    element: int
    length: int
    compressed: bool
    numbers: int


def variables(path: Path) -> list[Variable]:
    """The real numeric arrays of a file, in order.

    Raises:
        InputError: the file breaks off.
        struct.error, zlib.error, ValueError: it is damaged.
    """
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}[file.read(HEADER)[126:]]
        size, place = path.stat().st_size, HEADER
        found: list[Variable] = []
        while place < size:
            file.seek(place)
            kind, length = struct.unpack(f"{order}II", file.read(8))
            if kind not in (MATRIX, COMPRESSED) or place + 8 + length > size:
                raise InputError(f"{path}: damaged or truncated at byte {place}; copy it again")
            beginning = file.read(min(length, _BEGINNING))
            found += _matrix(beginning, order, place + 8, length, kind == COMPRESSED)
            place += 8 + length
        return found


def _matrix(beginning: bytes, order: str, element: int, length: int, compressed: bool) -> Iterator[Variable]:
    """The array of an element, if it is a real numeric one."""
    raw, skipped = (inflated(beginning, _BEGINNING), 8) if compressed else (beginning, 0)
    _kind, flags_at, _length, place = _tag(raw, order, skipped)
    (flags,) = struct.unpack_from(f"{order}I", raw, flags_at)
    if flags & 0xFF not in NUMERIC_CLASSES or flags & COMPLEX:
        return
    _kind, extents_at, extents, place = _tag(raw, order, place)
    shape = struct.unpack_from(f"{order}{extents // 4}i", raw, extents_at)
    _kind, name_at, name, place = _tag(raw, order, place)
    kind, numbers, size, _place = _tag(raw, order, place)
    dtype = np.dtype(order + NUMBER_TYPES[kind])
    if min(shape) < 0 or size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{size} bytes of numbers for an array of {shape}")
    yield Variable(raw[name_at : name_at + name].decode(), shape, dtype, element, length, compressed, numbers)


def _tag(raw: bytes, order: str, place: int) -> tuple[int, int, int, int]:
    """The field at `place`: its type, where its data begin, their number of bytes, and where the next field begins."""
    kind, length = struct.unpack_from(f"{order}II", raw, place)
    if kind >> 16:  # up to four bytes lie in the tag itself
        return kind & 0xFFFF, place + 4, kind >> 16, place + 8
    return kind, place + 8, length, place + 8 + -(-length // 8) * 8


def load(path: Path, variable: Variable) -> NDArray[Any]:
    """The numbers of an array, of its shape in MATLAB.

    Raises:
        InputError: it is too large to be unpacked, or breaks off.
    """
    size = math.prod(variable.shape) * variable.dtype.itemsize
    if size > LARGEST_PIECE:
        raise InputError(f"{path}: {variable.name} has {size} bytes; save arrays this large with -v7.3")
    with path.open("rb") as file:
        file.seek(variable.element)
        raw = file.read(variable.length)
    if variable.compressed:
        raw = inflated(raw, variable.numbers + size)
    numbers = raw[variable.numbers : variable.numbers + size]
    if len(numbers) < size:
        raise InputError(f"{path}: truncated: {len(numbers)} of {size} bytes of {variable.name}; copy it again")
    return np.frombuffer(numbers, variable.dtype).reshape(variable.shape, order="F")
