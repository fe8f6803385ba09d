"""Compression by bitshuffle and LZ4: what is written is read, and what does not fit is refused."""

import importlib
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5 import bitshuffle
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.settings import Settings
from noise_model.errors import InputError

DATA = f"{DETECTOR}/data"


def captured(path: Path, counts: np.ndarray[Any, Any]) -> Path:
    """A compressed capture of (T, H, W) counts."""
    settings = Settings(1e-5, 4, counter_bits=14)
    with CaptureWriter(path, counts.shape[1:], counts.dtype, settings, compression="lz4") as writer:
        writer.append(counts)
    return path


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 70), st.sampled_from(["u1", "u2", "u4"]))
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, images: int, rows: int, columns: int, dtype: str
) -> None:
    counts = np.random.default_rng(images).poisson(3, (images, rows, columns)).astype(dtype)
    path = captured(tmp_path_factory.mktemp("a") / "a.h5", counts)
    with open_capture(path) as capture:
        np.testing.assert_array_equal(capture.read(0, images), counts)
    with h5py.File(path) as file:
        data = file[DATA]
        _mask, packed = data.id.read_direct_chunk((0, 0, 0))
        size = int(np.prod(data.chunks)) * data.dtype.itemsize
    bitshuffle.check_blocks("a.h5", packed, size, counts.itemsize)
    for wrong in (packed[:-1], packed[:11], b""):
        with pytest.raises(InputError, match="does not have the size it promises"):
            bitshuffle.check_blocks("a.h5", wrong, size, counts.itemsize)
    with pytest.raises(InputError, match="does not have the size it promises"):
        bitshuffle.check_blocks("a.h5", packed, size + 8 * counts.itemsize, counts.itemsize)


@pytest.mark.parametrize(
    ("place", "told"), [(0, struct.pack(">Q", 1 << 40)), (8, bytes(4)), (8, b"\x7f\0\0\0"), (12, b"\0\1\0\0")]
)
def test_chunks_that_lie_are_refused(tmp_path: Path, place: int, told: bytes) -> None:
    path = captured(tmp_path / "a.h5", np.random.default_rng(0).poisson(3, (300, 64, 32)).astype(np.uint8))
    with h5py.File(path, "r+") as file:
        _mask, packed = file[DATA].id.read_direct_chunk((0, 0, 0))
        file[DATA].id.write_direct_chunk((0, 0, 0), packed[:place] + told + packed[place + len(told) :])
    with pytest.raises(InputError, match=r"a\.h5: damaged: a compressed piece"), open_capture(path) as capture:
        capture.read(0, 300)  # opening reads some images, too


def test_other_filters_are_refused(tmp_path: Path) -> None:
    path = captured(tmp_path / "a.h5", np.zeros((300, 64, 32), np.uint8))
    ways = [({"compression": 32001}, "filter 32001"), ({"scaleoffset": 0}, "filter 6")]
    ways.append(({"compression": 32008, "compression_opts": (0, 3)}, "only LZ4 is read"))  # Zstandard
    for how, words in ways:
        with h5py.File(path, "r+") as file:
            del file[DATA]
            file.create_dataset(DATA, data=np.zeros((300, 64, 32), np.uint8), chunks=(100, 64, 32), **how)
        with pytest.raises(InputError, match=words):
            open_capture(path)


def test_without_the_plugin_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = captured(tmp_path / "a.h5", np.zeros((300, 64, 32), np.uint8))

    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(bitshuffle.h5py.h5z, "filter_avail", lambda code: False)
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"a\.h5: lz4 .* pip install '\.\[lz4\]'$"):
        open_capture(path)
    with pytest.raises(InputError, match=r"b\.h5: lz4 .* pip install '\.\[lz4\]'$"):
        captured(tmp_path / "b.h5", np.zeros((3, 64, 32), np.uint8))
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]
