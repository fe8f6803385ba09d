"""PNG images of counts: one, or a folder of numbered ones as a stack."""

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import cv2
import numpy as np

from hardware.parsing.source import Choice, Source, blaming, regular_file, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError

NAME = "PNG images"
SUFFIXES = (".png",)
ARRAYS = False
LAYOUTS = ()

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY = 0
END = b"IEND\xaeB`\x82"
LARGEST_FILE = 1 << 28


@dataclass(frozen=True)
class Header:
    """The header of an image: its size in pixels, and the bits of a pixel."""

    BYTES: ClassVar = 26

    columns: int
    rows: int
    bits: int

    @classmethod
    def parse(cls, path: Path, head: bytes) -> Self:
        """Reads a header from the beginning of a file."""
        name, columns, rows, bits, colour = struct.unpack_from(">12x4sIIBB", head)
        if not head.startswith(SIGNATURE) or name != b"IHDR":
            raise InputError(f"{path}: not a PNG image in spite of its name; copy it again")
        if colour != GREY:
            raise InputError(f"{path}: in colour; expected grey images of counts")
        stack_shape(path, (rows, columns))
        return cls(columns, rows, bits)


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes, and a folder by a PNG file in it."""
    return any(map(_named_png, path.iterdir())) if path.is_dir() else head.startswith(SIGNATURE)


def open_source(path: Path, choice: Choice) -> Source:
    """Opens an image, or those of a folder in the order of their numbers, which are read as they are asked for."""
    if not path.is_dir():
        return _stack([path], ())
    numbered = _numbered(path)
    missing = max(numbered) - min(numbered) + 1 - len(numbered)
    remarks = (f"{missing} numbers between the first and the last image are missing",) if missing else ()
    return _stack([numbered[number] for number in sorted(numbered)], remarks)


def _named_png(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _numbered(folder: Path) -> dict[int, Path]:
    """The images of a folder by the last number in their names."""
    found: dict[int, Path] = {}
    for path in filter(_named_png, folder.iterdir()):
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            raise InputError(f"{folder}: {path.name} has no number; number the images, or move it elsewhere")
        other = found.setdefault(int(digits[-1]), path)
        if other != path:
            raise InputError(f"{folder}: {other.name} and {path.name} have the same number; keep one set of images")
    return found


def _stack(paths: Sequence[Path], remarks: tuple[str, ...]) -> Source:
    first = Header.parse(paths[0], _bytes(paths[0])[: Header.BYTES])

    def read(start: int, stop: int) -> Counts:
        return np.stack([_image(path, first) for path in paths[start:stop]])

    shape = (len(paths), first.rows, first.columns)
    return Source(shape, np.dtype(np.uint16 if first.bits > 8 else np.uint8), read, lambda: None, remarks=remarks)


def _bytes(path: Path) -> bytes:
    """The bytes of a file. Links are refused: a folder that was sent could point anywhere."""
    if path.is_symlink() or regular_file(path).stat().st_size > LARGEST_FILE:
        raise InputError(f"{path}: a link, or more than {LARGEST_FILE} bytes; expected the image itself")
    return path.read_bytes()


def _image(path: Path, first: Header) -> Counts:
    with blaming(path, "PNG image"):
        whole = _bytes(path)
        if Header.parse(path, whole[: Header.BYTES]) != first:
            raise InputError(f"{path}: differs in size or bit depth from the first image; expected one stack")
        image = cv2.imdecode(np.frombuffer(_essential(path, whole), np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.shape != (first.rows, first.columns):
            raise InputError(f"{path}: damaged: its pixels cannot be unpacked; copy it again")
        # Fewer than eight bits are stretched to eight when decoded.
        return image if first.bits >= 8 else image // np.uint8(255 // ((1 << first.bits) - 1))


def _essential(path: Path, whole: bytes) -> bytes:
    """The file without the chunks that are not pixels. Every checksum is checked: a decoder may overlook damage."""
    place, kept = len(SIGNATURE), [SIGNATURE]
    while not kept[-1].endswith(END):
        (length,) = struct.unpack_from(">I", whole, place)
        chunk = whole[place : place + 12 + length]
        if len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise InputError(f"{path}: damaged or truncated at byte {place}; copy it again")
        kept += [chunk] if chunk[4:8] in (b"IHDR", b"IDAT", b"IEND") else []
        place += len(chunk)
    return b"".join(kept)
