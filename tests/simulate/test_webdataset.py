"""Simulated sets as tar files: the arrays of the shards under the names that WebDataset groups by."""

import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from noise_model.errors import InputError
from noise_model.sensor import Sensor
from simulate.webdataset import write_tars
from tests.simulate.test_dataset import small_set


def test_tars_hold_what_the_shards_hold(tmp_path: Path) -> None:
    made = small_set(tmp_path / "set", scenes=3)
    list(made.write())
    told: list[tuple[int, int]] = []
    write_tars(made.folder, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    with tarfile.open(made.folder / "webdataset" / "shard-00001.tar") as archive:
        entries = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    assert list(entries) == [f"00000002.{name}" for name in ("counts.npy", "x4.npy", "x16.npy", "json")]
    with h5py.File(made.folder / "shard-00001.h5") as file:
        for name, place in (("counts", "counts"), ("x4", "targets/x4"), ("x16", "targets/x16")):
            values = np.load(io.BytesIO(entries[f"00000002.{name}.npy"]))
            assert values.dtype == file[place].dtype
            assert np.array_equal(values, file[place][0])
        exposure = json.loads(entries["00000002.json"])
        assert exposure["white_rate"] == file["exposure/white_rate"][()].tolist()
    assert (exposure["scene"], exposure["seed"]) == (2, 5)
    assert (exposure["count_time"], exposure["cycles"]) == (20e-9, [2, 16, 1024])
    sensor = Sensor.load(made.folder / "webdataset" / "sensor.yaml")
    assert torch.equal(sensor.pde, made.maker.sensor.pde)


def test_equal_sets_give_equal_tars(tmp_path: Path) -> None:
    for name in "ab":
        made = small_set(tmp_path / name, scenes=2)
        list(made.write())
        write_tars(made.folder)
    first, second = (tmp_path / name / "webdataset" / "shard-00000.tar" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_only_of_a_finished_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the manifest"):
        write_tars(tmp_path)
    next(small_set(tmp_path / "set").write())
    with pytest.raises(InputError, match="0 of 3 shards"):
        write_tars(tmp_path / "set")
