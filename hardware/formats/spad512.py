"""Files of numbers without a header (`.bin`): binary frames of a Pi Imaging SPAD512 unless a size is given."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.headless import check_bits, doubt
from hardware.parsing.packed_bits import unpacked
from hardware.parsing.source import SIZE, Choice, RawStack, Source, size_of, stack_shape
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError, Note

NAME = "SPAD512 raw file"
SUFFIXES = (".bin",)
ARRAYS = False
AXES = ()

#: The layout that its size suggests, said, so that nothing is doubted; or rows x columns x bits.
SAID = "spad512"
LAYOUTS = (SAID, SIZE)

ROWS, BYTES_PER_ROW = 512, 64
IMAGE_BYTES = ROWS * BYTES_PER_ROW

#: Sent after the pixels; a dump of the socket keeps it.
END = b"DONE"

#: Types of pixels by their bits; single bits are packed.
TYPES = {1: "u1", 8: "u1", 16: "<u2", 32: "<u4"}

#: Frames that are looked at for signs of another array or depth.
SAMPLE = 64


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its name: it has no header."""
    return path.suffix.lower() in SUFFIXES


def upright(frames: Counts) -> NDArray[np.uint8]:
    """Frames (n, 512, 512) of 0 and 1, from (n, 512, 64) bytes as sent: bits, turned 90 degrees counterclockwise."""
    return np.rot90(unpacked(frames), axes=(1, 2))


def open_source(path: Path, choice: Choice) -> Source:
    """Opens a file, whose size says how many frames it has."""
    size = size_of(choice.layout)
    return _spad512(path, choice) if size is None else _of_size(path, *size)


def _spad512(path: Path, choice: Choice) -> Source:
    raw = _images(path, ROWS, BYTES_PER_ROW, np.dtype(np.uint8), f"{ROWS} x {8 * BYTES_PER_ROW}, 1 bit")
    try:
        remarks = () if choice.layout else tuple(_remarks(path, raw))
    except BaseException:
        raw.close()
        raise
    return Source(
        shape=(raw.shape[0], ROWS, 8 * BYTES_PER_ROW),
        dtype=raw.dtype,
        read=lambda start, stop: upright(raw.read(start, stop)),
        close=raw.close,
        settings=PartialSettings(counter_bits=1, cycles=1),
        remarks=remarks,
    )


def _remarks(path: Path, raw: RawStack) -> list[str]:
    """What is assumed of a file whose size is not said, and a doubt about it that its first frames raise."""
    sample = raw.read(0, min(SAMPLE, raw.shape[0]))
    check_bits(path, sample)
    found = ("read as 1-bit frames of 512 x 512: the file has no header", doubt(sample))
    return [Note(sentence, "layout") for sentence in found if sentence]


def _of_size(path: Path, rows: int, columns: int, bits: int) -> Source:
    stack_shape(path, (rows, columns))
    if bits not in TYPES or (bits == 1 and columns % 8):
        known = ", ".join(map(str, TYPES))
        raise InputError(f"{path}: {rows}x{columns}x{bits}; expected {known} bits, and rows of whole bytes", "layout")
    width = columns // 8 if bits == 1 else columns
    raw = _images(path, rows, width, np.dtype(TYPES[bits]), f"{rows} x {columns}, {bits} bit")
    if bits > 1:
        return Source((raw.shape[0], rows, columns), raw.dtype, raw.read, raw.close)
    return Source(
        shape=(raw.shape[0], rows, columns),
        dtype=raw.dtype,
        read=lambda start, stop: unpacked(raw.read(start, stop)),
        close=raw.close,
        settings=PartialSettings(counter_bits=1, cycles=1),
    )


def _images(path: Path, rows: int, width: int, dtype: np.dtype[np.generic], what: str) -> RawStack:
    """The images of a file, which has to end with a whole one."""
    size, image = path.stat().st_size, rows * width * dtype.itemsize
    images, rest = divmod(size, image)
    if images < 1 or rest not in (0, len(END)):
        raise InputError(
            f"{path}: {size} bytes; expected whole images of {image} bytes ({what}), at most with {len(END)} bytes"
            f" after them; copy it again, or give the size of another array as layout {SIZE}",
            "layout",
        )
    return RawStack(path, (images, rows, width), dtype, 0)
