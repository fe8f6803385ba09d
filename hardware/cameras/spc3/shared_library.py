"""Whether a shared library is whole: the system ends a process that uses what its header promises and it lacks."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

#: Of ELF files of 32 and 64 bits: the places, entry sizes and lengths of the tables of segments and sections, in the
#: header from byte 24 on; and the place and size of a segment, in its entry.
_ELF = {
    1: (struct.Struct("<4xII6xHHHH"), struct.Struct("<4xI8xI")),
    2: (struct.Struct("<8xQQ6xHHHH"), struct.Struct("<8xQ16xQ")),
}
#: Of PE files (Windows): the place of the header; the number of sections, and bytes before their table; a section's
#: size and place in its entry, and the size of an entry.
_PE_PLACE, _PE, _PE_SECTION, _PE_ENTRY = struct.Struct("<I"), struct.Struct("<6xH12xH2x"), struct.Struct("<16xII"), 40


def is_cut(path: Path) -> bool:
    """Whether a library (ELF or PE) ends before all that its header promises; False for a file that is no library.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return path.stat().st_size < max(_ends(file), default=0)
        except struct.error:  # within a table
            return True


def _ends(file: BinaryIO) -> Iterator[int]:
    """Where each part of the file ends."""
    head = file.read(6)
    if head[:4] == b"\x7fELF" and len(head) == 6 and head[4] in _ELF and head[5] == 1:
        tables, segment = _ELF[head[4]]
        segments, sections, segment_size, count, section_size, section_count = _at(file, 24, tables)
        yield sections + section_size * section_count
        for index in range(count):
            yield sum(_at(file, segments + index * segment_size, segment))
    elif head[:2] == b"MZ":
        (begin,) = _at(file, 0x3C, _PE_PLACE)
        count, optional = _at(file, begin, _PE)
        for index in range(count):
            yield sum(_at(file, begin + _PE.size + optional + index * _PE_ENTRY, _PE_SECTION))


def _at(file: BinaryIO, place: int, layout: struct.Struct) -> tuple[Any, ...]:
    file.seek(place)
    return layout.unpack(file.read(layout.size))
