"""Binary frames of a Pi Imaging SPAD512: `RAW*.bin` of its program, or what its socket sent."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.packed_bits import unpacked
from hardware.parsing.source import Choice, RawStack, Source
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError

NAME = "SPAD512 raw file"
SUFFIXES = (".bin",)
ARRAYS = False
AXES = ()
LAYOUTS = ()

ROWS, BYTES_PER_ROW = 512, 64
IMAGE_BYTES = ROWS * BYTES_PER_ROW

#: Sent after the pixels; a dump of the socket keeps it.
END = b"DONE"


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its name: it has no header."""
    return path.suffix.lower() in SUFFIXES


def upright(frames: Counts) -> NDArray[np.uint8]:
    """Frames (n, 512, 512) of 0 and 1, from (n, 512, 64) bytes as sent: bits, turned 90 degrees counterclockwise."""
    return np.rot90(unpacked(frames), axes=(1, 2))


def open_source(path: Path, choice: Choice) -> Source:
    """Opens a file, whose size says how many frames it has."""
    size = path.stat().st_size
    images, rest = divmod(size, IMAGE_BYTES)
    if images < 1 or rest not in (0, len(END)):
        raise InputError(
            f"{path}: {size} bytes; expected whole images of {IMAGE_BYTES} bytes (512 x 512, 1 bit), at most with"
            f" {len(END)} bytes after them; copy it again, or save other bit depths as .npy"
        )
    raw = RawStack(path, (images, ROWS, BYTES_PER_ROW), np.dtype(np.uint8), 0)
    return Source(
        shape=(images, ROWS, 8 * BYTES_PER_ROW),
        dtype=raw.dtype,
        read=lambda start, stop: upright(raw.read(start, stop)),
        close=raw.close,
        settings=PartialSettings(counter_bits=1, cycles=1),
        remarks=("read as 1-bit frames of 512 x 512: the file has no header",),
    )
