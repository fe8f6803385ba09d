"""Sums of consecutive images in parts, in whatever type they are added up."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware.captures.summing import parts_reader


def parts_by_hand(images: NDArray[Any], most: int) -> NDArray[np.int64]:
    """As Python adds up whole numbers of any size."""
    edges = [len(images) * part // most for part in range(most + 1)]
    return np.array([images[low:high].astype(object).sum(axis=0) for low, high in pairwise(edges)])


@given(
    group=st.integers(1, 700),
    most=st.sampled_from([1, 3, 32]),
    slab=st.integers(1, 900),
    largest=st.sampled_from([1, 3, 9, 255, 65535]),
    seed=st.integers(0, 1000),
)
def test_parts_are_sums_of_any_size(group: int, most: int, slab: int, largest: int, seed: int) -> None:
    """Bits and counts that fill their type: none wraps, wherever the slabs end that they are read in."""
    dtype = np.uint8 if largest < 256 else np.uint16
    images = np.random.default_rng(seed).integers(0, largest + 1, (2 * group, 3, 2)).astype(dtype)
    images[group:, 0, 0] = largest
    read = parts_reader(lambda start, stop: images[start:stop], [0, group], group, slab)
    for index in (0, 1):
        counts, number = read(index, most)
        expected = parts_by_hand(images[index * group : (index + 1) * group], min(most, group))
        np.testing.assert_array_equal(counts, expected)
        assert number.sum() == group
        assert len(number) == len(counts) == min(most, group)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_the_largest_counts_of_a_type(dtype: type[np.unsignedinteger[Any]]) -> None:
    images = np.full((5, 2, 2), min(int(np.iinfo(dtype).max), 2**32 // 5), dtype)
    read = parts_reader(lambda start, stop: images[start:stop], [0], 5, 2)
    assert int(read(0, 1)[0].max()) == 5 * int(images[0, 0, 0])
