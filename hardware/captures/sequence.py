"""Sequence numbers of images: counters that began again from 0, and how many images were lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Source
from noise_model.errors import InputError

#: How far counters in cameras go, and how many numbers are looked at at once.
_COUNTERS, _SLICE = (1 << 8, 1 << 16, 1 << 32), 1 << 16


def unwrapped(path: Path, source: Source) -> Source:
    """The source with sequence numbers that go on where those in the file begin again from 0, and a remark if they do.

    Raises:
        InputError: the numbers neither increase nor come from a counter of 8, 16 or 32 bits.
    """
    sequence, images = source.sequence, source.shape[0]
    if sequence is None:
        return source
    first, last = _number(source, 0), _number(source, images - 1)
    if last - first >= images - 1:
        return source
    found = list(_falls(source))
    falls = np.concatenate([at for at, _, _ in found])
    least, largest = min(least for _, least, _ in found), max(most for _, _, most in found)
    steps = next((steps for steps in _COUNTERS if steps > largest), 0)
    if not steps or least < steps // 2:
        raise InputError(f"{path}: sequence numbers {first} to {last} of {images} images; correct or delete them")

    def read(start: int, stop: int) -> NDArray[np.uint64]:
        rounds = np.searchsorted(falls, np.arange(start, stop), side="right")
        return sequence(start, stop) + np.uint64(steps) * rounds.astype(np.uint64)

    remark = f"sequence numbers begin again from 0 after {steps - 1}; they are taken to go on"
    return replace(source, sequence=read, remarks=(*source.remarks, remark))


def lost_images(source: Source) -> int | None:
    """The number of images lost between the first and the last; None without sequence numbers."""
    images = source.shape[0]
    return None if source.sequence is None else _number(source, images - 1) - _number(source, 0) - images + 1


def _number(source: Source, image: int) -> int:
    assert source.sequence is not None
    return int(source.sequence(image, image + 1)[0])


def _falls(source: Source) -> Iterator[tuple[NDArray[np.intp], int, int]]:
    """Images whose numbers are no larger than those before, the least fall, and the largest number, slice by slice."""
    assert source.sequence is not None
    for start in range(0, source.shape[0], _SLICE):
        before = max(0, start - 1)
        numbers = source.sequence(before, min(start + _SLICE, source.shape[0]))
        at = np.flatnonzero(numbers[1:] <= numbers[:-1]) + 1
        least = int((numbers[at - 1] - numbers[at]).min(initial=np.iinfo(numbers.dtype).max))
        yield at + before, least, int(numbers.max())
