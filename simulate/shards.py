"""Shards of a simulated set: HDF5 files with some consecutive scenes each, laid out as in docs/dataset.md."""

import hashlib
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.hdf5.checks import attribute, bomb_check, check_present
from hardware.hdf5.nexus_tree import inside, plain
from hardware.parsing.source import blaming
from noise_model.config_files import LARGEST_ARRAY, LONGEST, SHORTEST
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.hdf5_files import SafeFile, read_hdf5
from noise_model.sensor import Exposure, Sensor
from noise_model.sensor_file import NUMBERS, attributes_of
from simulate.pairs import targets_of
from simulate.recipe import SCALES, SimulationRecipe
from simulate.scenes import SceneSource

KIND = "spadsr pairs"

_MOST_CYCLES = 1 << 16
_SENSOR_MAPS = ("pde", "dark_count_rate", "crosstalk", "pixel_mask")
_OF_A_SCENE = ("counts", *(f"targets/x{scale}" for scale in SCALES))
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
            file["digest"][row] = digest_of(file, row)
            yield index


def digest_of(file: h5py.File, row: int) -> bytes:
    """SHA-256 (64 hexadecimal digits) of the arrays of a scene, as they are read: independent of their compression.

    Each array's name, type and shape, and its numbers in little-endian order, row by row.
    """
    digest = hashlib.sha256()
    for name in _OF_A_SCENE:
        values = np.asarray(file[name][row])
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest().encode()


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
    file.create_dataset("digest", len(scenes), "S64", track_times=False)
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


class Shard:
    """An opened shard, of which nothing is believed: every array has its size and type checked before it is read.

    Attributes:
        path: of the file.
        scenes: how many it holds.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self._file = path, file
        self.scenes = int(self._array("counts", "u").shape[0])

    def sensor(self) -> Sensor:
        """The sensor, of the shard's shape and mode."""
        sensor = inside(self.path, self._file, "sensor")
        numbers = {name: plain(attribute(self.path, sensor, name)) for name in NUMBERS}
        there = [name for name in _SENSOR_MAPS if inside(self.path, self._file, f"sensor/{name}") is not None]
        maps = {name: self._small(f"sensor/{name}", "biuf", 2) for name in there}
        return Sensor(**attributes_of(self.path, numbers, maps))

    def white_rates(self) -> list[float]:
        """Photon detection rate of white for each flux, counts/s."""
        rates: list[float] = self._small("exposure/white_rate", "f", 1).tolist()
        if not all(0 < rate < math.inf for rate in rates):
            raise ValueError(f"white rates of {rates}")
        return rates

    def exposures(self) -> list[Exposure]:
        """The exposure of each bit depth."""
        cycles: list[int] = self._small("exposure/cycles", "iu", 1).tolist()
        seconds = float(attribute(self.path, inside(self.path, self._file, "exposure"), "count_time"))
        if not SHORTEST <= seconds <= LONGEST or not all(1 <= each <= _MOST_CYCLES for each in cycles):
            raise ValueError(f"exposures of {cycles} x {seconds} s")
        return [Exposure(seconds, each) for each in cycles]

    def counts(self, row: int, flux: int, depth: int, shape: tuple[int, ...]) -> Tensor:
        """The counts (H, W) int32 of a scene; `shape` is that of all counts of a scene."""
        return torch.from_numpy(self._row("counts", "u", row, shape)[flux, depth].astype(np.int32))

    def target(self, scale: int, row: int, shape: tuple[int, ...]) -> Tensor:
        """The relative flux of a scene, float32, of that shape."""
        target = torch.from_numpy(self._row(f"targets/x{scale}", "f", row, shape)).float()
        if not bool((target >= 0).all() & target.isfinite().all()):
            raise ValueError(f"targets/x{scale} holds flux that is negative or not finite")
        return target

    def digests(self) -> list[str]:
        """What `digest_of` said of every scene when it was written."""
        data = self._array("digest", "S")
        if data.shape != (self.scenes,) or data.dtype != np.dtype("S64") or data.chunks is not None:
            raise ValueError(f"digest has shape {data.shape}")
        check_present(self.path, data)
        return [each.decode("ascii") for each in data[()].tolist()]

    def digest(self, row: int, counts: tuple[int, ...], targets: Mapping[int, tuple[int, ...]]) -> str:
        """What `digest_of` says now of a scene, whose arrays are expected to have these shapes."""
        shapes = {"counts": counts} | {f"targets/x{scale}": shape for scale, shape in targets.items()}
        for place, shape in shapes.items():
            self._expect_row(self._array(place, "uf"), place, row, shape)
        return digest_of(self._file, row).decode()

    def _row(self, place: str, kinds: str, row: int, shape: tuple[int, ...]) -> NDArray[Any]:
        data = self._array(place, kinds)
        self._expect_row(data, place, row, shape)
        return np.asarray(data[row])

    def _expect_row(self, data: h5py.Dataset, place: str, row: int, shape: tuple[int, ...]) -> None:
        if data.shape != (self.scenes, *shape):
            raise ValueError(f"{place} has shape {data.shape}; expected {(self.scenes, *shape)}")
        check_present(self.path, data)
        bomb_check(self.path, data)(row, row + 1)

    def _small(self, place: str, kinds: str, dimensions: int) -> NDArray[Any]:
        data = self._array(place, kinds)
        if data.ndim != dimensions or not 0 < data.size <= LARGEST_ARRAY or data.chunks is not None:
            raise ValueError(f"{place} has shape {data.shape}")
        check_present(self.path, data)
        return np.asarray(data[()])

    def _array(self, place: str, kinds: str) -> h5py.Dataset:
        data = inside(self.path, self._file, place)
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in kinds or data.ndim < 1:
            raise ValueError(f"no numbers {place}")
        return data


def is_shard(path: Path, scenes: int) -> bool:
    """Whether a file is a whole shard of so many scenes."""
    try:
        with opened_shard(path) as shard:
            return shard.scenes == scenes
    except InputError:
        return False


@contextmanager
def opened_shard(path: Path) -> Iterator[Shard]:
    """Opens a shard for reading.

    Raises:
        InputError: it is missing, truncated, or something else; or what is read of it meanwhile is damaged.
    """
    refusal = InputError(f"{path}: not a whole shard of a simulated set; resume the simulation of the set")
    try:
        file = read_hdf5(path if path.is_file() else Path())  # waits for what is no file
    except (OSError, ValueError) as error:
        raise refusal from error
    with file, blaming(path, "shard of a simulated set"):
        if "kind" not in file.attrs or plain(attribute(path, file, "kind")) != KIND:
            raise refusal
        yield Shard(path, file)
