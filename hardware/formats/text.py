"""One image of counts as text: a line for every row, whole numbers between white space."""

from pathlib import Path

import numpy as np

from hardware.parsing.source import Choice, Source, stack_shape
from noise_model.errors import InputError

NAME = "text image"
SUFFIXES = (".txt", ".out")
ARRAYS = False
AXES = ()
LAYOUTS = ()

LARGEST_FILE = 1 << 26
CHARACTERS = b"0123456789- \t\r\n"


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its beginning: nothing but whole numbers and white space."""
    return bool(head.strip()) and not head.strip(CHARACTERS)


def open_source(path: Path, choice: Choice) -> Source:
    """Reads the whole file."""
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path}: more than {LARGEST_FILE} bytes of text; save it as .npy")
    image = np.loadtxt(path, np.int64, comments=None, ndmin=2)
    counts = image.reshape(stack_shape(path, image.shape))
    return Source(counts.shape, counts.dtype, lambda start, stop: counts[start:stop], lambda: None)
