"""Sums of consecutive images, read a slab at a time: memory depends neither on their number nor on that of a group."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[int, int], NDArray[np.unsignedinteger]]
#: Reads sum `index` in up to `most` consecutive parts: their counts (P, H, W), and how many images each adds up.
PartsReader = Callable[[int, int], tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]]


def group_starts(
    images: int, group: int, every: int, image_key: NDArray[np.uint8] | None
) -> Sequence[int] | NDArray[np.intp]:
    """First image of every group of `group` consecutive images, without groups that hold anything but scenes.

    A group begins `every` images after the one before.
    """
    starts = range(0, images - group + 1, every)
    if image_key is None:
        return starts
    others = np.append(0, np.cumsum(image_key != 0))  # before each image
    first = np.asarray(starts)
    starting: NDArray[np.intp] = first[others[first + group] == others[first]]
    return starting


def summed_reader(read: Reader, starts: Sequence[int] | NDArray[np.intp], group: int, slab: int) -> Reader:
    """A reader of the sums (uint32) of the groups that begin at `starts`; about `slab` images are read at once."""

    def read_sums(start: int, stop: int) -> NDArray[np.unsignedinteger]:
        firsts = np.asarray(starts[start:stop])
        runs = np.split(firsts, np.flatnonzero(np.diff(firsts) != group) + 1)
        together = max(1, slab // group)
        parts = [run[at : at + together] for run in runs for at in range(0, len(run), together)]
        return np.concatenate([_sum_groups(read, int(part[0]), len(part), group, slab) for part in parts])

    return read_sums


def parts_reader(read: Reader, starts: Sequence[int] | NDArray[np.intp], group: int, slab: int) -> PartsReader:
    """A reader of the parts of the groups that begin at `starts`; about `slab` images are read at once."""

    def read_parts(index: int, most: int) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        edges = np.linspace(0, group, min(most, group) + 1).astype(np.int64)
        first, total = int(starts[index]), None
        for offset in range(0, group, slab):
            stop = min(offset + slab, group)
            images = read(first + offset, first + stop)
            begin, end = np.searchsorted(edges, offset, "right") - 1, np.searchsorted(edges, stop, "left")
            if total is None:
                total = np.zeros((len(edges) - 1, *images.shape[1:]), np.uint32)
            places = np.clip(edges[begin : end + 1] - offset, 0, len(images))
            kind = _kind_of_sums(images, int(np.diff(places).max()))
            for part, low, high in zip(total[begin:end], places[:-1], places[1:], strict=True):
                part += np.add.reduce(images[low:high], axis=0, dtype=kind)
        assert total is not None
        return total, np.diff(edges)

    return read_parts


def _kind_of_sums(images: NDArray[np.unsignedinteger], number: int) -> np.dtype[Any]:
    """The type of sums of so many images: theirs where it holds them, which is several times as fast; else uint32."""
    fits = int(images.max()) * number <= np.iinfo(images.dtype).max
    return images.dtype if fits else np.dtype(np.uint32)


def _sum_groups(read: Reader, first: int, groups: int, group: int, slab: int) -> NDArray[np.unsignedinteger]:
    """Sums of `groups` adjoining groups; there is one group only where a group is larger than a slab."""
    total: NDArray[np.unsignedinteger] | None = None
    for offset in range(0, group, slab):
        width = min(slab, group - offset)
        images = read(first + offset, first + offset + groups * width)
        part = images.reshape(groups, width, *images.shape[1:]).sum(axis=1, dtype=np.uint32)
        total = part if total is None else total + part
    assert total is not None
    return total
