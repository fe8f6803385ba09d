"""Planes of a file with axes: the images of one channel, position and slice, in order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Choice
from noise_model.errors import InputError, Note

CHANNEL, POSITION, SLICE, TIME = "channel", "position", "slice", "time"

#: Channels that are believed to be such where they have no names and there is no other axis.
MOST_CHANNELS = 4

#: Entries of an axis that a message lists one by one, at most.
_LISTED = 20


@dataclass(frozen=True)
class Planes:
    """The planes of a file, and where each lies on the axes.

    Attributes:
        axes: names of the axes: channel, position, slice, time, or any other.
        coordinates: (planes, axes) place of each plane on each axis, from 0.
        stored: (planes,) number of each plane in the order of the file; -1 in a file that is not there.
        names: what the file calls the entries of an axis, by the name of the axis.
        at: the position that is taken where none is chosen, from 0; None if one has to be chosen.
        absent: name of a file that is not there.
    """

    axes: tuple[str, ...]
    coordinates: NDArray[np.int64]
    stored: NDArray[np.int64]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    at: int | None = None
    absent: str = ""

    @classmethod
    def in_order(cls, axes: Sequence[str], sizes: Sequence[int]) -> "Planes":
        """Planes that are stored in the order of their axes, of which the last changes fastest."""
        coordinates = np.indices(tuple(sizes)).reshape(len(sizes), math.prod(sizes)).T
        return cls(tuple(axes), coordinates, np.arange(len(coordinates)))

    @classmethod
    def appended(cls, path: Path, parts: Sequence["Planes"]) -> "Planes":
        """Parts that follow one another in time, and in the file; each is stored in the order of its axes.

        Raises:
            InputError: the parts have different axes, or none along which they can follow one another.
        """
        axes = parts[0].axes or ("time",)
        along = next((place for place, axis in enumerate(axes) if axis not in (CHANNEL, POSITION)), None)
        if along is None or any(part.axes != parts[0].axes for part in parts):
            raise InputError(f"{path}: stacks with different axes, one after the other; save each by itself")
        tables, start = [], 0
        for part in parts:
            table = part.coordinates.reshape(len(part.stored), -1) if part.axes else np.zeros((1, 1), np.int64)
            tables.append(table + start * (np.arange(len(axes)) == along))
            start += int(table[:, along].max()) + 1
        coordinates = np.concatenate(tables)
        return cls(axes, coordinates, np.arange(len(coordinates)))


@dataclass(frozen=True)
class Images:
    """The planes that make up a recording.

    Attributes:
        stored: (T,) number of each image in the order of the file.
        remarks: sentences for the user about what was chosen.
    """

    stored: NDArray[np.int64]
    remarks: tuple[str, ...]


def images_of(path: Path, planes: Planes, choice: Choice) -> Images:
    """The images of the channel, position and slice that are chosen; what is the only one need not be.

    Channels, positions and slices are never taken for images that follow one another. But the only axis of a stack may
    be of any name, as programs call it slices, or channels where they are not told what it is.

    Raises:
        InputError: there are several to choose from, no such one, images that follow along two axes, or gaps.
    """
    rest = _Chosen(path, planes)
    rest.take(POSITION, choice.position)
    if choice.channel is not None or not rest.called_channels():
        rest.take(CHANNEL, choice.channel)
    if choice.slice is not None or len(rest.left()) > 1:
        rest.take(SLICE, choice.slice)
    return rest.images()


class _Chosen:
    """The planes that are left, while entries of the axes are chosen."""

    def __init__(self, path: Path, planes: Planes) -> None:
        self.path, self.planes, self.kept = path, planes, np.arange(len(planes.stored))
        self.remarks: list[str] = []

    def take(self, axis: str, wanted: str | None) -> None:
        """Keeps the planes of one entry of an axis."""
        places = self._places(axis)
        if wanted is None and np.unique(places).size <= 1:
            return
        entries = int(places.max(initial=0)) + 1
        index = self._index(axis, wanted, entries)
        if entries > 1:
            self.kept = self.kept[places == index]
            self.remarks.append(f"{axis} {self._name(axis, index)} of {entries}")

    def left(self) -> list[str]:
        """The axes on which the planes that are left lie in more places than one."""
        return [axis for axis in self.planes.axes if np.unique(self._places(axis)).size > 1]

    def called_channels(self) -> bool:
        """Whether the only axis are channels without names, and more of them than images have."""
        entries = np.unique(self._places(CHANNEL)).size
        if self.left() != [CHANNEL] or entries <= MOST_CHANNELS or any(self.planes.names.get(CHANNEL, ())):
            return False
        called = f"its {entries} images are called channels, and are read as images that follow one another"
        self.remarks.append(Note(called, "channel"))
        return True

    def images(self) -> Images:
        """The planes that are left, along the only axis that is left."""
        axes = self.left()
        if len(axes) > 1:
            along = " and ".join(axes)
            raise InputError(f"{self.path}: images along {along}; expected one stack, save each part by itself")
        places = self._places(axes[0]) if axes else np.zeros(len(self.kept), np.int64)
        order = np.argsort(places, kind="stable")
        stored = self.planes.stored[self.kept[order]]
        if self.planes.absent and (stored < 0).any():
            raise InputError(
                f"{self.path}: {self.planes.absent} belongs to this recording; copy it into the same folder"
            )
        if not stored.size or (stored < 0).any() or (np.diff(places[order]) != 1).any():
            raise InputError(f"{self.path}: planes are missing, or there twice; save or copy it again")
        return Images(stored, tuple(self.remarks))

    def _places(self, axis: str) -> NDArray[np.int64]:
        """Places on an axis of the planes that are left; without that axis all lie in one."""
        if axis not in self.planes.axes:
            return np.zeros(len(self.kept), np.int64)
        places: NDArray[np.int64] = self.planes.coordinates[self.kept, self.planes.axes.index(axis)]
        return places

    def _index(self, axis: str, wanted: str | None, entries: int) -> int:
        if wanted is None and axis == POSITION and self.planes.at is not None:
            return self.planes.at
        numbers = [str(number) for number in range(1, entries + 1)]
        for among in (numbers, list(self.planes.names.get(axis, ()))[:entries]):
            if wanted is not None and among.count(wanted) == 1:
                return among.index(wanted)
        found = f"{entries} {axis}s" if wanted is None else f"no {axis} {wanted}"
        raise InputError(f"{self.path}: {found}; choose {self._listed(axis, entries)}", axis)

    def _listed(self, axis: str, entries: int) -> str:
        if entries > _LISTED:
            return f"one of 1 to {entries}"
        return " or ".join(self._name(axis, index) for index in range(entries))

    def _name(self, axis: str, index: int) -> str:
        names = self.planes.names.get(axis, ())
        return f"{index + 1} ({names[index]})" if index < len(names) and names[index] else str(index + 1)
