"""Damage over which libhdf5 runs for ever: a heap of texts whose free space has no size, an index that leads back."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from hardware.captures.capture import open_capture
from hardware.hdf5.datasets import all_items
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.h5"
    with h5py.File(path, "w") as file:
        for number in range(20):
            file[f"group/{number:02}"] = np.arange(5)
        file["images"] = np.zeros((3, 4, 5), np.uint8)
        file["linked"] = file["images"]
        file.attrs["note"] = "a text of no fixed length"
    return path


def test_each_item_comes_once_before_what_is_in_it(whole: Path) -> None:
    with read_hdf5(whole) as file:
        names = [item.name for item in all_items(file)]
    assert names == ["/group", *(f"/group/{number:02}" for number in range(20)), "/images"]


def test_an_index_that_leads_to_itself(whole: Path) -> None:
    damaged = bytearray(whole.read_bytes())
    for node in re.finditer(b"TREE", whole.read_bytes()):
        right = node.start() + 16
        damaged[right : right + 8] = node.start().to_bytes(8, "little")
    path = whole.with_name("damaged.h5")
    path.write_bytes(damaged)
    with read_hdf5(path) as file:
        assert len(list(all_items(file))) == 22
    with open_capture(path, array="images", count_time=1e-6, cycles=1, counter_bits=8) as capture:
        assert capture.shape == (3, 4, 5)


@pytest.mark.parametrize("before", [0, 64])
def test_a_heap_of_texts_whose_free_space_has_no_size(whole: Path, before: int) -> None:
    """As a whole, or what is left of it after a part that has one."""
    damaged = bytearray(whole.read_bytes())
    heap = damaged.index(b"GCOL")
    free = damaged.index(bytes(8), damaged.index(b"a text of no fixed length", heap) + 25)
    free += -(free - heap) % 8  # objects begin at multiples of eight
    assert int.from_bytes(damaged[free + 8 : free + 16], "little") > 1000
    damaged[free + 8 : free + 16] = before.to_bytes(8, "little")
    path = whole.with_name("damaged.h5")
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        open_capture(path)
