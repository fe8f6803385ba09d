"""Shards of a simulated set: HDF5 files with some consecutive scenes each, laid out as in docs/dataset.md."""

import hashlib
import math
import os
from collections import OrderedDict
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.hdf5.checks import Check, attribute, bomb_check, check_present
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
from simulate.recipe import SimulationRecipe
from simulate.scenes import SceneSource

KIND = "spadsr pairs"

_MOST_OPEN = 32
_MOST_CYCLES = 1 << 16
_SENSOR_MAPS = ("pde", "dark_count_rate", "crosstalk", "pixel_mask")
_STORED = (4, 16)  # scales of the targets
_OF_A_SCENE = {"counts": "counts"} | {f"x{scale}": f"targets/x{scale}" for scale in _STORED}
_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "track_times": False}


@dataclass(frozen=True)
class SceneMaker:
    """Makes scene i and its counts; `sensor` is of the recipe's shape and mode."""

    source: SceneSource
    recipe: SimulationRecipe
    sensor: Sensor
    seed: int

    def targets(self, index: int) -> dict[int, Tensor]:
        """A scene and its block means at x4, as they are stored: rounded to what float16 can hold."""
        flux = torch.from_numpy(self.source.scene(index, self.recipe.scene_shape))[None]
        scene = _rounded(flux)
        return {16: scene[0], 4: _rounded(targets_of(scene, 16)[4])[0]}

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
            file["counts"][row] = maker.counts(index, targets_of(targets[4][None], 4)[1][0]).numpy()
            for scale, target in targets.items():
                file[f"targets/x{scale}"][row] = target.numpy()
            file["digest"][row] = digest_of({name: file[place][row] for name, place in _OF_A_SCENE.items()}).encode()
            yield index


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 (64 hexadecimal digits) of the arrays of a scene by name: independent of their compression.

    Each array's name, type and shape, and its numbers in little-endian order, row by row.
    """
    digest = hashlib.sha256()
    for name, values in arrays.items():
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        digest.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def _describe(file: h5py.File, maker: SceneMaker, scenes: range) -> None:
    recipe = maker.recipe
    rows, columns = recipe.shape
    file.attrs.update(kind=KIND, seed=maker.seed, scenes=maker.source.identity, first_scene=scenes.start)
    images = (len(scenes), len(recipe.white_rates), len(recipe.bit_depths), rows, columns)
    counts = file.create_dataset("counts", images, maker.count_type, chunks=(1, 1, *images[2:]), **_COMPRESSED)
    counts.attrs["units"] = "counts"
    for scale in _STORED:
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
        self._looked_at: dict[str, tuple[h5py.Dataset, Check]] = {}
        self.scenes = int(self._array("counts", "u").shape[0])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

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

    @property
    def seed(self) -> int:
        """Of the set."""
        return int(attribute(self.path, self._file, "seed"))

    def counts(self, row: int, flux: int, depth: int, shape: tuple[int, ...]) -> Tensor:
        """The counts (H, W) int32 of a scene; `shape` is that of all counts of a scene."""
        data = self._of_scenes("counts", "u", row, shape)
        return torch.from_numpy(np.asarray(data[row, flux])[depth].astype(np.int32))

    def targets(self, row: int, shape: tuple[int, int], scales: Collection[int]) -> dict[int, Tensor]:
        """The relative flux (s H, s W) float32 of a scene at each of the scales, of native `shape` (H, W).

        Those at 1 and 2 are block means of that at 4, and that at 8 of that at 16.
        """
        coarse = targets_of(self._target(row, shape, 4)[None], 4) if min(scales) <= 4 else {}
        fine = targets_of(self._target(row, shape, 16)[None], 16) if max(scales) > 4 else {}
        return {scale: (coarse if scale <= 4 else fine)[scale][0] for scale in scales}

    def _target(self, row: int, shape: tuple[int, int], scale: int) -> Tensor:
        place = f"targets/x{scale}"
        data = self._of_scenes(place, "f", row, (scale * shape[0], scale * shape[1]))
        target = torch.from_numpy(np.asarray(data[row])).float()
        lowest, highest = target.aminmax()
        if not 0 <= float(lowest) <= float(highest) < math.inf:
            raise ValueError(f"{place} holds flux that is negative or not finite")
        return target

    def digests(self) -> list[str]:
        """What `digest_of` said of every scene when it was written."""
        data = self._array("digest", "S")
        if data.shape != (self.scenes,) or data.dtype != np.dtype("S64") or data.chunks is not None:
            raise ValueError(f"digest has shape {data.shape}")
        check_present(self.path, data)
        return [each.decode("ascii") for each in data[()].tolist()]

    def arrays(self, row: int, counts: tuple[int, int, int, int]) -> dict[str, NDArray[Any]]:
        """What is stored of a scene, by name: counts, x4, x16; `counts` is the shape of the first."""
        sides = {"counts": counts} | {f"x{scale}": (scale * counts[2], scale * counts[3]) for scale in _STORED}
        kinds = {"counts": "u"}
        return {
            name: self._of_scenes(place, kinds.get(name, "f"), row, sides[name])[row]
            for name, place in _OF_A_SCENE.items()
        }

    def _of_scenes(self, place: str, kinds: str, row: int, shape: tuple[int, ...]) -> h5py.Dataset:
        """An array whose row of that number can be read, and has that shape."""
        if place not in self._looked_at:
            data = self._array(place, kinds)
            check_present(self.path, data)
            self._looked_at[place] = data, bomb_check(self.path, data)
        data, check = self._looked_at[place]
        if data.shape != (self.scenes, *shape):
            raise ValueError(f"{place} has shape {data.shape}; expected {(self.scenes, *shape)}")
        check(row, row + 1)
        return data

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
    with _blaming(path):
        shard = _opened(path)
        try:
            yield shard
        finally:
            shard.close()


class OpenShards:
    """The shards that were read last, kept open by each process that reads them."""

    def __init__(self) -> None:
        self._process, self._shards = os.getpid(), OrderedDict[Path, Shard]()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Another process opens its own."""
        return type(self), ()

    @contextmanager
    def reading(self, path: Path) -> Iterator[Shard]:
        """As `opened_shard`; the file stays open."""
        if self._process != os.getpid():  # what was open before a fork is the parent's
            self._process, self._shards = os.getpid(), OrderedDict()
        with _blaming(path):
            shard = self._shards.pop(path, None) or _opened(path)
            try:
                yield shard
            except BaseException:
                shard.close()
                raise
            self._shards[path] = shard
            if len(self._shards) > _MOST_OPEN:
                self._shards.popitem(last=False)[1].close()


def _opened(path: Path) -> Shard:
    refusal = InputError(f"{path}: not a whole shard of a simulated set; resume the simulation of the set")
    try:
        file = read_hdf5(path if path.is_file() else Path())  # waits for what is no file
    except (OSError, ValueError) as error:
        raise refusal from error
    try:
        if "kind" not in file.attrs or plain(attribute(path, file, "kind")) != KIND:
            raise refusal
        return Shard(path, file)
    except BaseException:
        file.close()
        raise


def _blaming(path: Path) -> AbstractContextManager[None]:
    return blaming(path, "shard of a simulated set")


def _rounded(flux: Tensor) -> Tensor:
    return flux.to(torch.float16).float()
