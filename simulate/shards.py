"""Shards of a simulated set: HDF5 files with some consecutive scenes each, laid out as in docs/dataset.md."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.hdf5_files import SafeFile, read_hdf5
from noise_model.sensor import Sensor
from noise_model.sensor_file import NUMBERS
from simulate.pairs import targets_of
from simulate.recipe import SCALES, SimulationRecipe
from simulate.scenes import SceneSource

KIND = "spadsr pairs"

_SENSOR_MAPS = ("pde", "dark_count_rate", "crosstalk", "pixel_mask")
_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "track_times": False}


@dataclass(frozen=True)
class SceneMaker:
    """Makes scene i and its counts; `sensor` is of the recipe's shape and mode."""

    source: SceneSource
    recipe: SimulationRecipe
    sensor: Sensor
    seed: int

    def targets(self, index: int) -> dict[int, Tensor]:
        """Block means (s H, s W) of a scene for each scale s, itself rounded to what float16 can hold."""
        flux = self.source.scene(index, self.recipe.scene_shape)
        scene = torch.from_numpy(flux.astype(np.float16).astype(np.float32))
        return {scale: target[0] for scale, target in targets_of(scene[None], SCALES[-1]).items()}

    def counts(self, index: int, flux: Tensor) -> Tensor:
        """Random int32 counts (fluxes, bit depths, H, W) of a scene of relative flux (H, W)."""
        words = np.random.SeedSequence(self.seed, spawn_key=(index, 1)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(words[0]))
        rate = flux * torch.tensor(self.recipe.white_rates)[:, None, None]
        images = [ForwardModel(self.sensor, exposure).sample(rate, generator) for exposure in self.recipe.exposures]
        return torch.stack(images, dim=1)

    @property
    def count_type(self) -> np.dtype[np.unsignedinteger]:
        """The smallest type that holds every count: uint16 unless images can saturate above 65535."""
        most = self.sensor.saturation_value(2 ** max(self.recipe.bit_depths))
        return np.dtype(np.uint16 if most < 2**16 else np.uint32)


def write_shard(path: Path, maker: SceneMaker, scenes: range) -> Generator[int]:
    """Writes a shard; yields after each scene, so that the caller can stop in between and leave no file.

    Raises:
        InputError: the file cannot be written, or a scene cannot be read.
    """
    with whole_file(path) as partial, SafeFile(partial, "w") as file:
        _describe(file, maker, scenes)
        for row, index in enumerate(scenes):
            targets = maker.targets(index)
            file["counts"][row] = maker.counts(index, targets[1]).numpy()
            for scale, target in targets.items():
                file[f"targets/x{scale}"][row] = target.numpy()
            yield index


def _describe(file: h5py.File, maker: SceneMaker, scenes: range) -> None:
    recipe = maker.recipe
    rows, columns = recipe.shape
    file.attrs.update(kind=KIND, seed=maker.seed, scenes=maker.source.identity, first_scene=scenes.start)
    images = (len(scenes), len(recipe.white_rates), len(recipe.bit_depths), rows, columns)
    counts = file.create_dataset("counts", images, maker.count_type, chunks=(1, 1, *images[2:]), **_COMPRESSED)
    counts.attrs["units"] = "counts"
    for scale in SCALES:
        shape = (scale * rows, scale * columns)
        target = file.create_dataset(
            f"targets/x{scale}", (len(scenes), *shape), "f2", chunks=(1, *shape), **_COMPRESSED
        )
        target.attrs["units"] = "white_rate"
    exposure = file.create_group("exposure")
    exposure.attrs["count_time"] = recipe.count_time
    exposure["cycles"] = np.array([each.cycles for each in recipe.exposures])
    exposure["white_rate"] = np.array(recipe.white_rates)
    exposure["white_rate"].attrs["units"] = "counts/s"
    _write_sensor(file.create_group("sensor"), maker.sensor)


def _write_sensor(group: h5py.Group, sensor: Sensor) -> None:
    for name in NUMBERS:
        group.attrs[name] = getattr(sensor, name)
    for name in _SENSOR_MAPS:
        if getattr(sensor, name) is not None:
            group[name] = getattr(sensor, name).cpu().numpy()


def read_sensor(group: h5py.Group) -> Sensor:
    """Reads the sensor of a shard."""
    numbers, maps = group.attrs, {name: torch.from_numpy(group[name][()]) for name in _SENSOR_MAPS if name in group}
    return Sensor(
        name=str(numbers["name"]),
        source=str(numbers["source"]),
        pde=maps["pde"],
        dark_count_rate=maps["dark_count_rate"],
        crosstalk=maps["crosstalk"],
        pixel_mask=maps.get("pixel_mask"),
        dead_time=float(numbers["dead_time"]),
        counter_bits=int(numbers["counter_bits"]),
        counter_wraps=bool(numbers["counter_wraps"]),
        afterpulse_probability=float(numbers["afterpulse_probability"]),
        trap_lifetime=float(numbers["trap_lifetime"]),
    )


def is_shard(path: Path) -> bool:
    """Whether a file is a whole shard."""
    try:
        with read_hdf5(path) as file:
            return bool(file.attrs.get("kind") == KIND)
    except OSError:
        return False


def open_shard(path: Path) -> h5py.File:
    """Opens a shard for reading.

    Raises:
        InputError: it is missing, truncated, or something else.
    """
    if not is_shard(path):
        raise InputError(f"{path}: not a whole shard of a simulated set; resume the simulation of the set")
    return read_hdf5(path)
