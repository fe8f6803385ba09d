"""HDF5 files with a layout of their own: which datasets may be images, and stacks of datasets of one image each."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import bomb_check, check_present
from hardware.hdf5.nexus_tree import inside
from hardware.parsing.choosing import PIXEL_MASK
from noise_model.errors import InputError

#: The most objects of a file that are looked at, and the most that a message names.
MOST_OBJECTS, MOST_NAMED = 10_000, 12

#: Sizes, in pixels, below which an array is a list of numbers rather than images.
LEAST_ROWS = 2


class Images:
    """The images in a dataset, or in a group of datasets of one image each, in the order of the numbers in their names.

    Attributes:
        name: the path in the file.
        shape: of the dataset, or (T, H, W).
        dtype: type of the numbers.
        data: the datasets, one or one of each image.
    """

    def __init__(self, data: Sequence[h5py.Dataset], name: str) -> None:
        self.data, self.name = data, name
        self.shape: tuple[int, ...] = data[0].shape if name == data[0].name else (len(data), *data[0].shape)
        self.dtype: np.dtype[Any] = data[0].dtype

    def __str__(self) -> str:
        return f"{self.name.strip('/')} ({' x '.join(map(str, self.shape))}, {self.dtype})"

    @property
    def parent(self) -> h5py.Group:
        """The group that holds them."""
        return self.data[0].parent

    def reader(self, path: Path) -> Any:
        """take(axis, start, stop), as `hardware.parsing.arrays` asks for it, of data that are checked to be there."""
        for each in self.data:
            check_present(path, each)
        checks = [bomb_check(path, each) for each in self.data]
        if self.name == self.data[0].name:
            return lambda axis, start, stop: self._part(checks[0], axis, start, stop)

        def stacked(axis: int, start: int, stop: int) -> NDArray[Any]:
            for index in range(start, stop):
                checks[index](0, self.shape[1])
            return np.stack([each[()] for each in self.data[start:stop]])

        return stacked

    def _part(self, check: Any, axis: int, start: int, stop: int) -> NDArray[Any]:
        data = self.data[0]
        check(*((start, stop) if axis == 0 else (0, data.shape[0])))
        part: NDArray[Any] = data[(slice(None),) * axis + (slice(start, stop),)]
        return part


def images_at(path: Path, file: h5py.File, place: str) -> Images:
    """The images at a place that the user names.

    Raises:
        InputError: there are none; the message lists those of the file.
    """
    found = inside(path, file, place if place.startswith("/") else f"/{place}")
    if isinstance(found, h5py.Dataset) and found.dtype.kind in "iufb" and found.shape is not None:
        return Images([found], found.name)
    if isinstance(found, h5py.Group) and (stack := _stack(found)):
        return stack
    raise InputError(f"{path}: no images at {place}; {_choices(all_images(file))}", "array")


def only_images(path: Path, file: h5py.File, expected: str) -> Images:
    """The only dataset that may be images.

    Raises:
        InputError: there is none, or several; the message lists them.
    """
    found = all_images(file)
    single = [each for each in found if each.name == each.data[0].name]
    if len(single) == 1 and len(found) == 1:
        return single[0]
    raise InputError(f"{path}: HDF5 without counts at {expected}; {_choices(found)}", *(["array"] if found else []))


def all_images(file: h5py.File) -> list[Images]:
    """All datasets that may be images, and all groups of such of one image each, whose datasets are not listed."""
    single: list[h5py.Dataset] = []
    stacks: list[Images] = []
    inside_stacks: set[str] = set()
    for item in all_items(file):
        if isinstance(item, h5py.Group) and (stack := _stack(item)):
            stacks.append(stack)
            inside_stacks.update(each.name for each in stack.data)
        elif _may_be_images(item) and not item.name.endswith(f"/{PIXEL_MASK}"):
            single.append(item)
    stacks += [stack] if (stack := _stack(file)) else []
    inside_stacks.update(each.name for stack in stacks for each in stack.data)
    return [Images([each], each.name) for each in single if each.name not in inside_stacks] + stacks


def _stack(group: h5py.Group) -> Images | None:
    """The datasets of a group of one image each, if they are two or more, all alike and numbered."""
    items = [group.get(name) for name in _own(group)]
    images = [each for each in items if _may_be_images(each) and each.ndim == 2]
    numbers = [_number(each.name) for each in images]
    alike = len({(each.shape, each.dtype) for each in images}) == 1 and None not in numbers
    if len(images) < 2 or not alike or len(set(numbers)) < len(numbers):
        return None
    return Images(sorted(images, key=lambda each: _number(each.name) or 0), group.name)


def all_items(file: h5py.File) -> Iterator[Any]:
    """The first groups and datasets of a file, each once, before what is in it.

    Not by `visititems`: libhdf5 (2.0) runs for ever where the index of a group is damaged.
    """
    waiting = [_own(file)]
    groups, left, seen = [file], MOST_OBJECTS, {_identity(file)}
    while waiting and left:
        name = next(waiting[-1], None)
        item = None if name is None else groups[-1].get(name)
        left -= 1
        if name is None:
            waiting.pop()
            groups.pop()
        elif item is not None and _identity(item) not in seen:  # hard links may lead in a circle
            seen.add(_identity(item))
            yield item
            if isinstance(item, h5py.Group):
                groups.append(item)
                waiting.append(_own(item))


def _identity(item: Any) -> tuple[int, ...]:
    """What tells an object from all others of its file."""
    return tuple(h5py.h5g.get_objinfo(item.id).objno)


def _own(group: h5py.Group) -> Iterator[str]:
    """Names of a group that are no links to elsewhere."""
    for name, _ in zip(group, range(MOST_OBJECTS), strict=False):
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield name


def _number(name: str) -> int | None:
    """The last number in the last part of a name."""
    digits = re.findall(r"\d+", name.rsplit("/", 1)[-1])
    return int(digits[-1][:18]) if digits else None


def _may_be_images(item: Any) -> bool:
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "iufb":
        return False
    return len(item.shape) in (2, 3, 4) and sorted(item.shape)[-2] >= LEAST_ROWS and item.size > 0


def _choices(found: Sequence[Images]) -> str:
    if not found:
        return "no numeric dataset of two or more dimensions; save the counts as one"
    named = "; ".join(map(str, found[:MOST_NAMED])) + ("; ..." if len(found) > MOST_NAMED else "")
    return f"choose one of: {named}"
