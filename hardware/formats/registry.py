"""The registry of file formats: which there are, and how the format of a file is found."""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

from hardware.parsing.source import Choice, Source, blaming, regular_file
from hardware.plugins import built_in, from_other_packages, loaded
from noise_model.errors import InputError

#: The entry points by which other packages bring formats; each names a module (or an object) that is a `Format`.
GROUP = "spadsr.formats"

#: The built-in formats, in the order in which a file is offered to them: the surest recognition first. Long signatures
#: come before short ones; MATLAB before HDF5, as its newer files are HDF5 files as well; photon cubes, known by the
#: names of two files, before what else their folder holds; text has no signature; a SPAD512 file has nothing but its
#: name.
BUILT_IN = {
    "spc3": "hardware.formats.spc3",
    "mat": "hardware.formats.mat",
    "cubes": "hardware.formats.cubes",
    "png": "hardware.formats.png",
    "npy": "hardware.formats.npy",
    "npz": "hardware.formats.npz",
    "tiff": "hardware.formats.tiff",
    "nexus": "hardware.formats.nexus",
    "text": "hardware.formats.text",
    "spad512": "hardware.formats.spad512",
}

#: The signature of the files that a Mac writes beside others on foreign disks.
_APPLE_DOUBLE = b"\x00\x05\x16\x07"

#: Bytes of the beginning of a file by which it is recognised.
HEAD_BYTES = 4096

_log = logging.getLogger(__name__)


class Format(Protocol):
    """A module that reads a file format.

    Attributes:
        NAME: of the format, for messages.
        SUFFIXES: of its files, in lower case and with their dots.
        ARRAYS: whether a file can hold several arrays to choose from.
        AXES: the axes of which a file can have more entries than one, to choose from: channel, position, slice.
        LAYOUTS: the orders in which the numbers of an array can lie, where the file does not tell.
    """

    NAME: str
    SUFFIXES: tuple[str, ...]
    ARRAYS: bool
    AXES: tuple[str, ...]
    LAYOUTS: tuple[str, ...]

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether `path`, which begins with `head` (`HEAD_BYTES` at most; b"" for a folder), is of this format."""

    def open_source(self, path: Path, choice: Choice) -> Source:
        """Opens `path`. Raises InputError, or whatever its library raises over a damaged file."""


@cache
def formats() -> tuple[Format, ...]:
    """All formats that can be used, in the order in which a file is offered to them.

    Those of other packages come first, by name: somebody installed them for files that a built-in format would take for
    something more general (any HDF5 file, any `.bin`). One that cannot be imported is logged in one line and left out.
    """
    return tuple(_usable())


def _usable() -> Iterator[Format]:
    for entry in (*from_other_packages(GROUP), *built_in(GROUP, BUILT_IN)):
        try:
            yield loaded(entry, ("NAME", "SUFFIXES", "ARRAYS", "AXES", "LAYOUTS", "recognises", "open_source"))
        except InputError as error:
            _log.warning("file format %s", error)


def format_of(path: Path) -> Format:
    """The first format that recognises `path`.

    Raises:
        InputError: no such file, an empty one, or none of a known format.
    """
    head = _head(path)
    for each in formats():
        if _recognises(each, path, head):
            return each
    regular_file(path)
    for each in formats():
        if path.suffix.lower() in each.SUFFIXES:
            raise InputError(f"{path}: not a {each.NAME} in spite of its name, or cut off; copy it again")
    known = ", ".join(f"{each.NAME} ({' '.join(each.SUFFIXES) or 'a folder'})" for each in formats())
    raise InputError(f"{path}: not a capture; expected one of: {known}")


def _recognises(each: Format, path: Path, head: bytes) -> bool:
    try:
        return each.recognises(path, head)
    except Exception as error:  # one format must not keep the others from a file
        _log.warning("file format %s does not recognise %s (%s: %s)", each.NAME, path, type(error).__name__, error)
        return False


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    with blaming(regular_file(path), "file"), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise InputError(f"{path}: empty (0 bytes); copy or record it again")
    if head.startswith(_APPLE_DOUBLE):
        raise InputError(f"{path}: what a Mac keeps beside a file; give the file itself, without ._ before its name")
    return head
