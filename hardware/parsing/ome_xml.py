"""OME-XML: what the description of an OME-TIFF says of its planes, which may lie in several files.

Format: "OME-TIFF specification" and the OME schema 2016-06, Open Microscopy Environment.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.planes import CHANNEL, POSITION, SLICE, TIME, Planes
from hardware.parsing.source import LARGEST_PIXEL
from noise_model.errors import InputError

#: Planes of all positions together, at most.
MOST_PLANES = 1 << 24

#: Gives the numbers of the pages of a file by its name, "" for the file itself; None where it is not there.
Pages = Callable[[str], NDArray[np.int64] | None]

_UNITS = {"m": 1.0, "mm": 1e-3, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "nm": 1e-9}

_AXES = {"Z": SLICE, "C": CHANNEL, "T": TIME}


@dataclass(frozen=True)
class _Piece:
    """Planes of a position that follow one another in a file; `count` None stands for all of them.

    Attributes:
        file: name of the file, "" for the one that is read.
        first: place of the first plane among those of the position.
        page: page of the first plane in the file.
    """

    file: str
    first: int
    page: int
    count: int | None


def parsed(path: Path, xml: str) -> Element:
    """The root of a description.

    Raises:
        InputError: it is no XML.
    """
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: its OME metadata cannot be read ({error}); save it again") from error


def metadata_file(root: Element) -> str:
    """The name of the file that describes the recording in place of this one; empty if this one does."""
    return next((each.get("MetadataFile", "") for each in root if _is(each, "BinaryOnly")), "")


def pixel_size(root: Element) -> float | None:
    """The side of a pixel, m; None where it is not said, in a unit of its own, or not that of a square."""
    pixels = next((each for each in root.iter() if _is(each, "Pixels")), Element("Pixels"))
    sides = {(pixels.get(f"PhysicalSize{axis}", ""), pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m")) for axis in "XY"}
    if len(sides) > 1:
        return None
    [(side, unit)] = sides
    try:
        size = float(side) * _UNITS[unit]
    except (ValueError, KeyError):
        return None
    return size if 0 < size <= LARGEST_PIXEL else None


def planes_of(path: Path, root: Element, own: str, pages: Pages) -> Planes:
    """The planes of all positions, each OME image being one.

    Args:
        own: UUID that the file that is read gives itself; empty if it gives none.

    Raises:
        InputError: the description contradicts itself.
    """
    images = [(image, pixels) for image in root if _is(image, "Image") for pixels in image if _is(pixels, "Pixels")]
    orders = {_order(pixels) for _image, pixels in images}
    if len(orders) != 1:
        raise InputError(
            f"{path}: its OME metadata describe {len(images)} images, in {len(orders)} orders; save it again"
        )
    table, stored, home, absent, left = [], [], set[int](), "", MOST_PLANES
    named = {uuid.get("FileName", "").lower() for uuid in root.iter() if _is(uuid, "UUID")}
    itself = {path.name.lower()} | (named if len(named) == 1 else set())
    for position, (_image, pixels) in enumerate(images):
        sizes, pieces = _sizes(path, pixels), defaultdict[str, list[_Piece]](list)
        for piece in _pieces(pixels, sizes, own, itself):
            pieces[piece.file].append(piece)
        for file, parts in pieces.items():
            numbers = pages(file)
            absent = file if numbers is None else absent
            home |= set() if file else {position}
            places, kept = _placed(path, parts, numbers, math.prod(sizes), left)
            table.append(np.column_stack([np.full(len(places), position), *np.unravel_index(places, sizes)]))
            stored.append(kept)
            left -= len(kept)
    return Planes(
        axes=(POSITION, *(_AXES[letter] for letter in orders.pop())),
        coordinates=np.concatenate(table),
        stored=np.concatenate(stored),
        names={POSITION: [image.get("Name", "") for image, _pixels in images], CHANNEL: _channels(images[0][1])},
        at=home.pop() if len(home) == 1 else None,
        absent=absent,
    )


def _is(element: Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name


def _order(pixels: Element) -> str:
    """The letters of the axes, slowest first."""
    order = pixels.get("DimensionOrder", "XYZCT")
    if sorted(order) != sorted("XYZCT") or not order.startswith("XY"):
        raise ValueError(f"dimension order {order[:9]}")
    return order[:1:-1]


def _sizes(path: Path, pixels: Element) -> list[int]:
    """Entries of each axis, slowest first. Colours of one plane are no channels."""
    samples = max((int(each.get("SamplesPerPixel", "1")) for each in pixels if _is(each, "Channel")), default=1)
    sizes = {letter: int(pixels.get(f"Size{letter}", "1")) for letter in _AXES}
    sizes["C"] //= max(samples, 1)
    if min(sizes.values()) < 1 or math.prod(sizes.values()) > MOST_PLANES:
        raise InputError(
            f"{path}: its OME metadata promise {' x '.join(map(str, sizes.values()))} planes; save it again"
        )
    return [sizes[letter] for letter in _order(pixels)]


def _channels(pixels: Element) -> list[str]:
    return [each.get("Name", "") for each in pixels if _is(each, "Channel")]


def _pieces(pixels: Element, sizes: Sequence[int], own: str, itself: set[str]) -> Iterator[_Piece]:
    """Where the planes of a position lie; without a word, in the order of the pages."""
    letters, found = _order(pixels), [each for each in pixels if _is(each, "TiffData")]
    for data in found or [Element("TiffData")]:
        first = 0
        for letter, extent in zip(letters, sizes, strict=True):
            first = first * extent + int(data.get(f"First{letter}", "0"))
        count = data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else None))
        yield _Piece(_file(data, own, itself), first, int(data.get("IFD", "0")), None if count is None else int(count))


def _file(data: Element, own: str, itself: set[str]) -> str:
    """The name of the file that the planes are in; empty for the one that is read, which may be called otherwise."""
    for uuid in data:
        if _is(uuid, "UUID"):
            name = uuid.get("FileName", "")
            return "" if name.lower() in itself or (own and (uuid.text or "").strip() == own) else name
    return ""


def _placed(
    path: Path, pieces: Sequence[_Piece], numbers: NDArray[np.int64] | None, planes: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the planes of pieces among those of their position, and their numbers; -1 in a file that is not there.

    Planes that are promised beyond the end of a file were never recorded, and are left out.
    """
    rows = []
    for each in pieces:
        there = planes if numbers is None else len(numbers) - each.page
        count = planes - each.first if each.count is None else each.count
        rows.append((each.first, each.page, max(0, min(count, there))))
    if (
        any(first < 0 or page < 0 or first + count > planes for first, page, count in rows)
        or sum(count for _first, _page, count in rows) > most
    ):
        raise InputError(f"{path}: its OME metadata name planes that it cannot have; save it again")
    first, page, count = np.array(rows).T
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    places, at = np.repeat(first, count) + within, np.repeat(page, count) + within
    return places, np.full(len(at), -1) if numbers is None else numbers[at]
