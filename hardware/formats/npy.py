"""NumPy arrays of counts, (T, H, W) or (H, W), and photon cubes: binary frames packed eight pixels to a byte."""

from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hardware.parsing import arrays
from hardware.parsing.source import Choice, Source, counts_dtype

NAME = "NumPy array"
SUFFIXES = (".npy",)
ARRAYS = True
AXES = ()
LAYOUTS = arrays.LAYOUTS

LONGEST_HEADER = 1 << 16


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes."""
    return head.startswith(b"\x93NUMPY")


def open_source(path: Path, choice: Choice) -> Source:
    """Reads the header; images are read as they are asked for, and pickles never."""
    with path.open("rb") as file:
        beginning = BytesIO(file.read(LONGEST_HEADER))
    shape, fortran, dtype = header(beginning)
    counts_dtype(path, dtype)
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape}")
    raw = arrays.RawArray(path, shape, fortran, dtype, beginning.tell())
    try:
        return arrays.source_of_array(path, shape, dtype, raw.take, raw.close, choice)
    except BaseException:
        raw.close()
        raise


def header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type of an array, from the beginning of its file."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
