"""PNG images of counts: one, or a folder of numbered ones as a stack."""

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import cv2
import numpy as np

from hardware.parsing.grey import grey
from hardware.parsing.image_names import Ordered, holds_images, ordered_images, own_file
from hardware.parsing.planes import Planes, images_of
from hardware.parsing.png_texts import Said, settings_of, text_of
from hardware.parsing.source import Choice, Source, blaming, regular_file, stack_shape
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.image_files import decoded

NAME = "PNG images"
SUFFIXES = (".png",)
ARRAYS = False
AXES = ("channel", "position", "slice")
LAYOUTS = ()

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Kinds of pixels, by their codes: all but palettes, whose numbers are no counts.
GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6
END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Header:
    """The header of an image: its size in pixels, the bits of a pixel, and whether there is more than grey."""

    BYTES: ClassVar = 26

    columns: int
    rows: int
    bits: int
    colour: int

    @classmethod
    def parse(cls, path: Path, head: bytes) -> Self:
        """Reads a header from the beginning of a file."""
        name, columns, rows, bits, colour = struct.unpack_from(">12x4sIIBB", head)
        if not head.startswith(SIGNATURE) or name != b"IHDR":
            raise InputError(f"{path}: not a PNG image in spite of its name; copy it again")
        if colour not in (GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA):
            raise InputError(f"{path}: in colour; expected grey images of counts")
        stack_shape(path, (rows, columns))
        return cls(columns, rows, bits, colour)


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its first bytes, and a folder by a PNG file in it."""
    return holds_images(path, SUFFIXES) if path.is_dir() else head.startswith(SIGNATURE)


def open_source(path: Path, choice: Choice) -> Source:
    """Opens an image, or those of a folder in the order of their numbers, which are read as they are asked for."""
    images = ordered_images(path, choice) if path.is_dir() else Ordered([path], (), choice)
    images_of(path, Planes.in_order((), ()), images.rest)  # an image has no channels to choose from
    return _stack(images.paths, images.remarks, partial(own_file, path) if path.is_dir() else regular_file)


def _stack(paths: Sequence[Path], remarks: tuple[str, ...], checked: Callable[[Path], Path]) -> Source:
    with blaming(paths[0], "PNG image"):
        first = _File.read(checked(paths[0]))

    def read(start: int, stop: int) -> Counts:
        return np.stack([_image(checked(path), first) for path in paths[start:stop]])

    header, said = first.header, first.said
    return Source(
        shape=(len(paths), header.rows, header.columns),
        dtype=np.dtype(np.uint16 if header.bits > 8 else np.uint8),
        read=read,
        close=lambda: None,
        settings=said.settings,
        notes=said.notes,
        remarks=remarks + said.remarks,
    )


@dataclass(frozen=True)
class _File:
    """An image that is not unpacked.

    Attributes:
        packed: the file without the chunks that are not pixels.
        said: what its texts say.
    """

    header: Header
    packed: bytes
    said: Said

    @classmethod
    def read(cls, path: Path) -> Self:
        whole = path.read_bytes()
        header, chunks = Header.parse(path, whole[: Header.BYTES]), [*_chunks(path, whole)]
        pixels = [chunk for chunk in chunks if chunk[4:8] in (b"IHDR", b"IDAT", b"IEND")]
        texts = dict(filter(None, (text_of(chunk[4:8], chunk[8:-4]) for chunk in chunks)))
        return cls(header, b"".join([SIGNATURE, *pixels]), settings_of(path, texts))


def _image(path: Path, first: _File) -> Counts:
    with blaming(path, "PNG image"):
        file, header = _File.read(path), first.header
        if file.header != header:
            raise InputError(f"{path}: differs in size or bit depth from the first image; expected one stack")
        if file.said.taken != first.said.taken:
            how = ", ".join(file.said.taken) or "its texts say nothing"
            raise InputError(f"{path}: not taken as the first image ({how}); expected one stack")
        image = decoded(file.packed, cv2.IMREAD_UNCHANGED)
        if image is None or image.shape[:2] != (header.rows, header.columns):
            raise InputError(f"{path}: damaged: its pixels cannot be unpacked; copy it again")
        counts = grey(path, image) if image.ndim == 3 else image
        # Fewer than eight bits are stretched to eight when decoded.
        return counts if header.bits >= 8 else counts // np.uint8(255 // ((1 << header.bits) - 1))


def _chunks(path: Path, whole: bytes) -> Iterator[bytes]:
    """The chunks of a file. Every checksum is checked: a decoder may overlook damage."""
    place, chunk = len(SIGNATURE), b""
    while not chunk.endswith(END):
        (length,) = struct.unpack_from(">I", whole, place)
        chunk = whole[place : place + 12 + length]
        if len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise InputError(f"{path}: damaged or truncated at byte {place}; copy it again")
        yield chunk
        place += len(chunk)
