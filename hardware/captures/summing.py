"""Summing consecutive images, a slab at a time, so that memory depends neither on T nor on the number summed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[int, int], NDArray[np.unsignedinteger]]


def group_starts(images: int, cycles: int, image_key: NDArray[np.uint8] | None) -> Sequence[int] | NDArray[np.intp]:
    """First image of every group of `cycles` consecutive images, without groups that hold anything but scenes."""
    groups = images // cycles
    if image_key is None:
        return range(0, groups * cycles, cycles)
    scenes = (image_key[: groups * cycles] == 0).reshape(groups, cycles).all(axis=1)
    return np.flatnonzero(scenes) * cycles


def summed_reader(read: Reader, starts: Sequence[int] | NDArray[np.intp], cycles: int, slab: int) -> Reader:
    """A reader of the sums (uint32) of the groups that begin at `starts`; about `slab` images are read at once."""

    def read_sums(start: int, stop: int) -> NDArray[np.unsignedinteger]:
        firsts = np.asarray(starts[start:stop])
        runs = np.split(firsts, np.flatnonzero(np.diff(firsts) != cycles) + 1)
        together = max(1, slab // cycles)
        parts = [run[at : at + together] for run in runs for at in range(0, len(run), together)]
        return np.concatenate([_sum_groups(read, int(part[0]), len(part), cycles, slab) for part in parts])

    return read_sums


def _sum_groups(read: Reader, first: int, groups: int, cycles: int, slab: int) -> NDArray[np.unsignedinteger]:
    """Sums of `groups` adjoining groups; there is one group only where a group is larger than a slab."""
    total: NDArray[np.unsignedinteger] | None = None
    for offset in range(0, cycles, slab):
        width = min(slab, cycles - offset)
        images = read(first + offset, first + offset + groups * width)
        part = images.reshape(groups, width, *images.shape[1:]).sum(axis=1, dtype=np.uint32)
        total = part if total is None else total + part
    assert total is not None
    return total
