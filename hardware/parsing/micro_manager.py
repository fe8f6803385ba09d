"""Micro-Manager's image stack files: the index at their beginning says which plane each page is.

Layout: "Micro-Manager File Formats", micro-manager.org. It is read where there is no OME-XML.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.ome_xml import Pages
from hardware.parsing.planes import CHANNEL, POSITION, SLICE, TIME, Planes
from noise_model.errors import InputError

_INDEX, _NDTIFF, _MAP = 54773648, 483729, 3453623

#: Bytes of an entry of the index: channel, slice, frame, position, and where the page is.
_ENTRY = 20


def planes_of(path: Path, pages: Pages) -> Planes | None:
    """The planes of a recording, which may be split over files with _1, _2, ... after its name; None without an index.

    Raises:
        InputError: the file belongs to a data set of the newer format, NDTiff, or to the second part of a split one.
    """
    tables, stored = [], []
    for name in _parts(path):
        index = _index(path if not name else path.with_name(name))
        numbers = pages(name)
        if index is None or numbers is None or len(index) != len(numbers):
            return None
        tables.append(index)
        stored.append(numbers)
    return Planes((CHANNEL, SLICE, TIME, POSITION), np.concatenate(tables), np.concatenate(stored))


def _parts(path: Path) -> Iterator[str]:
    """The names of the files of a recording, "" for `path` itself."""
    ending = re.search(r"(_MMStack.*?)(?:_(\d+))?((?:\.ome)?\.tiff?)$", path.name, re.IGNORECASE)
    if ending is None:
        yield ""
        return
    before = path.name[: ending.start()] + ending[1]
    if ending[2] and path.with_name(before + ending[3]).is_file():
        raise InputError(f"{path}: part of a recording; give its first file, {before}{ending[3]}")
    yield ""
    number = 1
    while path.with_name(name := f"{before}_{number}{ending[3]}").is_file():
        yield name
        number += 1


def _index(path: Path) -> NDArray[np.int64] | None:
    """Channel, slice, frame and position of every page (pages, 4), in the order of the pages."""
    with path.open("rb") as file:
        order = {b"II": "<", b"MM": ">"}[file.read(2)]
        file.seek(8)
        kind, place = struct.unpack(f"{order}II", file.read(8))
        if kind == _NDTIFF:
            raise InputError(f"{path}: part of an NDTiff data set; save it in Micro-Manager as an image stack file")
        if kind != _INDEX:
            return None
        file.seek(place)
        kind, entries = struct.unpack(f"{order}II", file.read(8))
        if kind != _MAP or entries * _ENTRY > path.stat().st_size or not entries:
            return None
        table = np.frombuffer(file.read(entries * _ENTRY), f"{order}u4").reshape(-1, 5).astype(np.int64)
    return table[table[:, 4].argsort(kind="stable"), :4]
