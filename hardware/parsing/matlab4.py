"""The matrices of a MATLAB 4 file (`save -v4`, LabVIEW). Layout: "MAT-File Format", The MathWorks."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hardware.parsing.matlab5 import Variable

HEADER = 20
LONGEST_NAME = 256

#: NumPy's names of the types of numbers, by their code.
NUMBER_TYPES = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}


def looks_right(head: bytes) -> bool:
    """Whether a file that begins with `head` may be one: its first header makes sense."""
    return len(head) > HEADER and _parsed(head[:HEADER]) is not None


def variables(path: Path) -> Iterator[Variable]:
    """The real full matrices of a file, in order.

    Raises:
        ValueError: it is damaged.
    """
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            parsed = _parsed(file.read(HEADER))
            if parsed is None:
                raise ValueError(f"no header of a matrix at byte {place}")
            dtype, kind, shape, imaginary, name_length = parsed
            name = file.read(name_length).rstrip(b"\0").decode("ascii", "replace")
            numbers, length = place + HEADER + name_length, shape[0] * shape[1] * dtype.itemsize
            place = numbers + length * (1 + imaginary)
            if place > size:
                raise ValueError(f"{name} ends after the file")
            if kind == 0 and not imaginary:
                yield Variable(name, shape, dtype, numbers, length, compressed=False, numbers=0)


def _parsed(header: bytes) -> tuple[np.dtype[np.generic], int, tuple[int, int], bool, int] | None:
    """Type, kind (0 is a full matrix), shape, whether it is complex, and length of the name; None for no header."""
    if len(header) < HEADER:
        return None
    for order in "<>":
        code, rows, columns, imaginary, name = struct.unpack(f"{order}5i", header)
        machine, rest = divmod(code, 1000)
        number, kind = rest // 10 % 10, rest % 10
        right = machine == "<>".index(order) and rest < 100 and number in NUMBER_TYPES and kind in (0, 1, 2)
        if right and min(rows, columns) >= 0 and imaginary in (0, 1) and 1 < name <= LONGEST_NAME:
            return np.dtype(order + NUMBER_TYPES[number]), kind, (rows, columns), bool(imaginary), name
    return None
