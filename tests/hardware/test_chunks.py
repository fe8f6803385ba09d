"""Chunks packed and written directly: to any HDF5 program they are what HDF5 itself would have written."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.hdf5.nexus_tree import COMPRESSIONS, LARGEST_CHUNK, append

SHAPE = (6, 5)


def blocks(lengths: Sequence[int], dtype: str, shape: tuple[int, ...] = SHAPE) -> list[NDArray[Any]]:
    """Numbers of which every byte says something, and some zeros."""
    random = np.random.default_rng(0)
    found = []
    for length in lengths:
        values = random.integers(0, 256, (length, *shape, np.dtype(dtype).itemsize), np.uint8)
        values[random.random(values.shape[:-1]) < 0.2] = 0
        found.append(values.view(dtype)[..., 0])
    return found


def written(path: Path, some: Sequence[NDArray[Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for block in some:
            append(file, "data", block, "counts", "gzip")
    return path


def by_hdf5(path: Path, some: Sequence[NDArray[Any]], chunks: tuple[int, ...]) -> Path:
    whole = np.concatenate(some)
    with h5py.File(path, "w") as file:
        most = (None, *whole.shape[1:])
        file.create_dataset("data", data=whole, chunks=chunks, maxshape=most, **COMPRESSIONS["gzip"])
    return path


def same_file(one: Path, other: Path) -> None:
    """The same numbers, type and filters; and in every chunk, unpacked, the same bytes."""
    with h5py.File(one) as first, h5py.File(other) as second:
        data, expected = first["data"], second["data"]
        assert (data.shape, data.dtype, data.chunks) == (expected.shape, expected.dtype, expected.chunks)
        assert (data.compression, data.shuffle) == (expected.compression, expected.shuffle) == ("gzip", True)
        assert data[()].tobytes() == expected[()].tobytes()
        places: list[list[Any]] = [[], []]
        for found, each in zip(places, (data, expected), strict=True):
            each.id.chunk_iter(found.append)
        assert [each.chunk_offset for each in places[0]] == [each.chunk_offset for each in places[1]]
        for chunk in places[0]:
            raw = [each.id.read_direct_chunk(chunk.chunk_offset) for each in (data, expected)]
            assert raw[0][0] == raw[1][0] == 0
            assert zlib.decompress(raw[0][1]) == zlib.decompress(raw[1][1])


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<u1", "<u2", "<u4"])
@pytest.mark.parametrize(
    "lengths",
    [[8], [8, 8, 8], [8, 8, 3], [8, 3, 8], [8, 3, 5, 8], [8, 3, 1, 1], [5, 8], [3, 10, 25], [1, 1, 1]],
    ids=str,
)
def test_chunks_are_those_of_hdf5(tmp_path: Path, dtype: str, lengths: list[int]) -> None:
    """Whole chunks, a last one that is partly filled, and blocks after it, which fill it up or begin beyond it."""
    some = blocks(lengths, dtype)
    path = written(tmp_path / "a.h5", some)
    same_file(path, by_hdf5(tmp_path / "b.h5", some, (lengths[0], *SHAPE)))


def test_large_images_have_chunks_of_their_own(tmp_path: Path) -> None:
    some = blocks([3, 2], "<f4", (600, 700))
    assert some[0][0].nbytes > LARGEST_CHUNK
    path = written(tmp_path / "a.h5", some)
    same_file(path, by_hdf5(tmp_path / "b.h5", some, (1, 600, 700)))


def test_what_was_cut_off_leaves_no_trace(tmp_path: Path) -> None:
    """As results are cut off that a killed run left: in the middle of a chunk, and at its beginning."""
    some = blocks([8, 8], "<f4")
    for left in (11, 8, 3):
        path = written(tmp_path / "a.h5", some)
        with h5py.File(path, "r+") as file:
            file["data"].resize(left, axis=0)
            append(file, "data", some[1], None, "gzip")
        kept = [np.concatenate(some)[:left], some[1]]
        same_file(path, by_hdf5(tmp_path / "b.h5", kept, (8, *SHAPE)))


def test_numbers_of_another_order_and_strides(tmp_path: Path) -> None:
    """Blocks that are views; and a type that is converted to that of the array."""
    [first] = blocks([8], "<f4")
    path = written(tmp_path / "a.h5", [first, first[::-1], first.astype(">f4"), first.astype("f8")])
    same_file(path, by_hdf5(tmp_path / "b.h5", [first, first[::-1], first, first], (8, *SHAPE)))
