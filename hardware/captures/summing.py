"""Sums of consecutive images, read a slab at a time: memory depends neither on their number nor on that of a group."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[int, int], NDArray[np.unsignedinteger]]


def group_starts(images: int, group: int, image_key: NDArray[np.uint8] | None) -> Sequence[int] | NDArray[np.intp]:
    """First image of every group of `group` consecutive images, without groups that hold anything but scenes."""
    groups = images // group
    if image_key is None:
        return range(0, groups * group, group)
    scenes = (image_key[: groups * group] == 0).reshape(groups, group).all(axis=1)
    return np.flatnonzero(scenes) * group


def summed_reader(read: Reader, starts: Sequence[int] | NDArray[np.intp], group: int, slab: int) -> Reader:
    """A reader of the sums (uint32) of the groups that begin at `starts`; about `slab` images are read at once."""

    def read_sums(start: int, stop: int) -> NDArray[np.unsignedinteger]:
        firsts = np.asarray(starts[start:stop])
        runs = np.split(firsts, np.flatnonzero(np.diff(firsts) != group) + 1)
        together = max(1, slab // group)
        parts = [run[at : at + together] for run in runs for at in range(0, len(run), together)]
        return np.concatenate([_sum_groups(read, int(part[0]), len(part), group, slab) for part in parts])

    return read_sums


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
