"""Results of long recordings in parts: each restored by itself, in any order; a virtual dataset joins them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hardware.hdf5.nexus_tree import inside
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.hdf5_files import SafeFile, read_hdf5
from spadsr.restoration.result_writer import PROCESS

#: Field of a result that is joined: the first image of each of its parts, and the number of all.
EDGES = f"{PROCESS}/part_edges"

_MOST = 100_000

#: Place that no part has: an array of a joined result reads as missing where a part that was made otherwise lies.
_NOWHERE = "/made_otherwise"
#: What parts may say differently, though they were made of the same in the same way.
_OWN = ("command", "warnings", "versions")


@dataclass(frozen=True)
class Part:
    """The k-th of n parts of a recording's images, from 1 on.

    Raises:
        InputError: there is no such part.
    """

    number: int = 1
    parts: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.parts <= _MOST:
            wrong = f"part {self.number}/{self.parts}: expected k/n, such as 3/16 for the third of sixteen"
            raise InputError(wrong, "part")

    def path(self, result: Path) -> Path:
        """The file of the part of a result: `cell.sr.3-of-16.h5` of `cell.sr.h5`."""
        return result.with_suffix(f".{self.number}-of-{self.parts}{result.suffix}")


def edges_of(images: int, parts: int, block: int) -> list[int]:
    """The first image of each part, and the number of all images.

    Long parts begin where a block of images does that is restored at once: then they are the same to the last bit.

    Raises:
        InputError: there are fewer images than parts.
    """
    if images < parts:
        raise InputError(f"{parts} parts of {images} images: expected no more parts than images", "part")
    step = block if images >= 2 * block * parts else 1
    return [images * number // parts // step * step for number in range(parts)] + [images]


def join(result: Path, edges: Sequence[int], made: Part) -> list[str]:
    """Makes the file of a result whose arrays are those of its parts, beside it, one after the other.

    Others may follow: their images read as NaN, or 0, until then. So do those of parts that were made otherwise than
    the part `made`, with other options or of another recording; a line for each of these is returned.

    Raises:
        InputError: it cannot be written, or something else is there under its name.
    """
    paths = [Part(number, len(edges) - 1).path(result) for number in range(1, len(edges))]
    with (
        read_hdf5(made.path(result)) as template,
        whole_file(result) as partial,
        SafeFile(partial, "w") as file,
    ):
        same = _made_of(template)
        others = frozenset(i for i, path in enumerate(paths) if path.is_file() and not _is_made_of(path, same))
        _copy(template, file, [(path.name, index not in others) for index, path in enumerate(paths)], edges)
        file[EDGES] = np.asarray(edges, np.int64)
    joined = Joined(tuple(paths), tuple(edges), others)
    return [f"{result.name}: without {joined.words(index)}: restore it as the others" for index in sorted(others)]


def _made_of(part: h5py.File) -> dict[str, Any]:
    """All that a part says of itself and not of single images: settings, weights, options; and its arrays."""
    found: dict[str, Any] = {}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and name.rpartition("/")[2] not in _OWN:
            found[name] = item[()] if item.shape == () else (item.shape or ())[1:]

    part.visititems(add)
    return found


def _is_made_of(path: Path, same: Mapping[str, Any]) -> bool:
    """Whether a part says so, too; not if it cannot be read."""
    try:
        with read_hdf5(path) as part:
            return _made_of(part) == same
    except OSError:
        return False


def _copy(template: h5py.Group, group: h5py.Group, parts: Sequence[tuple[str, bool]], edges: Sequence[int]) -> None:
    """Copies a group; what parts have for each image becomes a view of all of them, or of nothing for those not taken.

    Args:
        parts: their names, and whether they are taken.
    """
    for name, value in template.attrs.items():
        group.attrs[name] = value
    for name in template:
        link = template.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            group[name] = h5py.SoftLink(link.path)
            continue
        item = template[name]
        if isinstance(item, h5py.Group):
            _copy(item, group.create_group(name), parts, edges)
        elif item.ndim and item.maxshape[0] is None:
            shape = (edges[-1], *item.shape[1:])
            layout = h5py.VirtualLayout(shape, item.dtype)
            for (source, taken), start, stop in zip(parts, edges[:-1], edges[1:], strict=True):
                place = item.name if taken else _NOWHERE
                layout[start:stop] = h5py.VirtualSource(source, place, (stop - start, *item.shape[1:]))
            missing = np.nan if item.dtype.kind == "f" else 0
            data = group.create_virtual_dataset(name, layout, fillvalue=missing)
            for key, value in item.attrs.items():
                data.attrs[key] = value
        else:
            template.copy(item, group, name)


@dataclass(frozen=True)
class Joined:
    """The parts that a result is joined of: their files, beside it, their edges, and which were made otherwise."""

    paths: tuple[Path, ...]
    edges: tuple[int, ...]
    others: frozenset[int]

    def has(self, index: int) -> bool:
        """Whether a part is there, and was made as the others."""
        return index not in self.others and self.paths[index].is_file()

    @property
    def missing(self) -> list[str]:
        """What is to be said of each part that is not there."""
        return [self.words(index) for index in range(len(self.paths)) if not self.has(index)]

    def words(self, index: int) -> str:
        """A part and its images, in words."""
        first, last = self.edges[index], self.edges[index + 1] - 1
        other = ", made with other options or of another recording" if index in self.others else ""
        return f"part {index + 1} of {len(self.paths)}, images {first} to {last} ({self.paths[index].name}{other})"


def joined_parts(path: Path, file: h5py.File, data: str) -> Joined | None:
    """The parts that a result is joined of; None where it is a file by itself.

    Args:
        data: place of an array that all parts have.

    Raises:
        ValueError: what it says of them cannot be.
    """
    field, rates = inside(path, file, EDGES), inside(path, file, data)
    if field is None or not isinstance(rates, h5py.Dataset) or not rates.is_virtual:
        return None
    if not isinstance(field, h5py.Dataset) or field.dtype.kind not in "iu" or field.ndim != 1 or field.size > _MOST:
        raise ValueError("edges of parts that are none")
    edges = tuple(int(edge) for edge in field[()])
    sources = rates.virtual_sources()
    names = [source.file_name for source in sources]
    growing = all(start < stop for start, stop in pairwise(edges))
    if len(edges) != len(names) + 1 or len(names) < 1 or edges[0] != 0 or not growing:
        raise ValueError("edges of parts that do not follow each other")
    if any(Path(name).name != name or name == path.name for name in names):
        raise ValueError("parts that are not beside it")
    others = frozenset(index for index, source in enumerate(sources) if source.dset_name == _NOWHERE)
    return Joined(tuple(path.with_name(name) for name in names), edges, others)
