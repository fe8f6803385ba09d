"""NumPy arrays of counts, (T, H, W) or (H, W)."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hardware.source import RawStack, Source, counts_dtype, stack_shape
from noise_model.errors import InputError

NAME = "NumPy array"
SUFFIXES = (".npy",)

LONGEST_HEADER = 1 << 16


def recognises(path: Path, head: bytes) -> bool:
    """By its first bytes."""
    return head.startswith(b"\x93NUMPY")


def open_source(path: Path) -> Source:
    """Reads the header only; images are read as they are asked for. No pickles."""
    with path.open("rb") as file:
        beginning = BytesIO(file.read(LONGEST_HEADER))
    shape, fortran, dtype = _header(beginning)
    counts_dtype(path, dtype)
    stack = stack_shape(path, shape)
    if fortran and len(shape) > 1:
        raise InputError(f"{path}: stored column by column; save numpy.ascontiguousarray(array) instead")
    raw = RawStack(path, stack, dtype, beginning.tell())
    return Source(stack, dtype, raw.read, raw.close)


def _header(file: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
