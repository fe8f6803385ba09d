"""One image of counts as text: a line for every row, numbers between white space, commas or semicolons."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Choice, Source, stack_shape
from noise_model.errors import InputError

NAME = "text image"
SUFFIXES = (".txt", ".out", ".csv", ".tsv", ".asc")
ARRAYS = False
AXES = ()
LAYOUTS = ()

LARGEST_FILE = 1 << 26

#: Numbers in order that are no counts.
FEWEST = 8

#: Lines that begin so are comments: numpy.savetxt and MATLAB write them.
COMMENTS = ("#", "%")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|NaN|NAN")
SEPARATORS = re.compile(r"\s*[,;\t]\s*|\s+")

#: Marks of the encoding at the beginning, as Windows' editor writes them, and the encodings.
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its name, or by its beginning: nothing but comments, numbers and what is between them."""
    if path.suffix.lower() in SUFFIXES:
        return bool(head.strip())
    words = [word for _number, line in _lines(head) for word in SEPARATORS.split(line)]
    complete = words[:-1] or words  # the last may be cut
    return bool(complete) and all(map(NUMBER.fullmatch, complete))


def open_source(path: Path, choice: Choice) -> Source:
    """Reads the whole file."""
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path}: more than {LARGEST_FILE} bytes of text; save it as .npy")
    image = _image(path)
    counts = image.reshape(stack_shape(path, image.shape))
    return Source(counts.shape, counts.dtype, lambda start, stop: counts[start:stop], lambda: None)


def _image(path: Path) -> NDArray[np.float64]:
    rows: list[NDArray[np.float64]] = []
    for number, line in _lines(path.read_bytes()):
        words = SEPARATORS.split(line)
        try:
            rows.append(np.array([float(word) for word in words]))
        except ValueError as error:
            wrong = next(word for word in words if not NUMBER.fullmatch(word))
            raise InputError(
                f"{path}: not a {NAME} in spite of its name: line {number} holds {wrong[:20]!r}; expected whole numbers"
                " only, and a line for every row"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise InputError(
                f"{path}: damaged or not a readable {NAME}: line {number} has {len(rows[-1])} numbers, others"
                f" {len(rows[0])}; copy it again"
            )
    if not rows:
        raise InputError(f"{path}: a {NAME} without numbers; expected a line for every row")
    image = np.stack(rows)
    if _counts_up(image[0]) or _counts_up(image[:, 0]):
        raise InputError(f"{path}: the first row or column is 0, 1, 2, ...: numbers of a table; save the counts alone")
    return image


def _counts_up(numbers: NDArray[np.float64]) -> bool:
    """Whether these are the numbers of rows or columns, which tables have beside their cells."""
    return len(numbers) >= FEWEST and bool((numbers == np.arange(len(numbers)) + numbers[0]).all())


def _lines(raw: bytes) -> Iterator[tuple[int, str]]:
    """The lines with numbers, without separators at their ends, and their own numbers."""
    encoding = next((name for mark, name in MARKS if raw.startswith(mark)), "utf-8")
    for number, line in enumerate(raw.decode(encoding, "replace").splitlines(), 1):
        bare = line.strip().rstrip(",;").strip()
        if bare and not bare.startswith(COMMENTS):
            yield number, bare
