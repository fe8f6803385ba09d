"""Simulated sets on disk (docs/dataset.md): made, interrupted, resumed to the same bytes, and read back as pairs."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import yaml
from pydantic import BaseModel, Field
from torch import Tensor
from torch.utils.data import Dataset

from noise_model.config_files import checked_config, read_config
from noise_model.errors import InputError
from noise_model.files import new_file, require_room, whole_file
from noise_model.forward_model import ForwardModel
from noise_model.owned_folder import owned
from noise_model.progress import Report, silent
from noise_model.sensor import Sensor
from noise_model.tensors import repeated
from simulate.pairs import Pair
from simulate.recipe import SCALES, SimulationRecipe
from simulate.shards import KIND, OpenShards, SceneMaker, Shard, is_shard
from simulate.verification import verify, write_digests
from simulate.workers import write_shards

MANIFEST = "set.yaml"

#: The one part of a set that is written by one run.
WHOLE = (1, 1)

_MOST_SCENES = 10_000_000
_SHUFFLED = 16  # shards

_Index = TypeVar("_Index", int, Tensor)


class _Sizes(BaseModel):
    """The numbers of a manifest that a set is read by."""

    scenes: int = Field(ge=1, le=_MOST_SCENES)
    scenes_per_shard: int = Field(ge=1, le=_MOST_SCENES)


class _Made(BaseModel):
    """What every scene of a set was made by."""

    recipe: SimulationRecipe


@dataclass(frozen=True)
class SimulatedSet:
    """A simulated set to make in a folder.

    Attributes:
        folder: of the shards.
        maker: makes scene i and its counts.
        scenes: number of scenes.
        scenes_per_shard: number of scenes in a file; the last file may hold fewer.
    """

    folder: Path
    maker: SceneMaker
    scenes: int
    scenes_per_shard: int = 25

    @property
    def most_bytes(self) -> int:
        """Bytes of the whole set where compression gains nothing."""
        recipe, pixels = self.maker.recipe, math.prod(self.maker.recipe.shape)
        counts = len(recipe.white_rates) * len(recipe.bit_depths) * self.maker.count_type.itemsize
        return self.scenes * pixels * (counts + 2 * (4**2 + 16**2))

    def write(
        self, resume: bool = False, executor: Executor | None = None, part: tuple[int, int] = WHOLE
    ) -> Iterator[int]:
        """Writes the shards that are missing; yields the number of finished scenes at the start and as it grows.

        Closing the iterator, or an interrupt, leaves whole shards only. Parts may be written at once, in any order, and
        on any machine: together they are the set. A set that was begun with fewer scenes grows.

        Args:
            executor: writes the shards (`noise_model.executors`); without one this process does.
            part: (k, n) for the k-th of n parts, from 1 on; scenes of the other parts are not counted.

        Raises:
            InputError: the folder holds a set and neither `resume` nor a part is asked for, or one that was begun with
                other values, or it cannot be written to, or has no room for the shards after the first; another process
                writes the same part of it; or a photograph is gone.
            SchedulerLost: as `noise_model.executors.results`.
        """
        if not 1 <= self.scenes <= _MOST_SCENES:
            raise InputError(f"{self.scenes} scenes: expected 1 to {_MOST_SCENES}", "scenes")
        mine = self._shards(part)
        with owned(self.folder, "" if part == WHOLE else "part-{}-of-{}".format(*part)):
            self._claim(resume or part != WHOLE)
            missing = {path: scenes for path, scenes in mine.items() if not is_shard(path, len(scenes))}
            done = sum(map(len, mine.values())) - sum(map(len, missing.values()))
            yield done
            began = False
            with closing(write_shards(self.maker, missing, executor)) as steps:
                for step in steps:
                    done += step
                    if not began and (began := any(path.exists() for path in missing)):
                        self._require_room(list(missing))
                    yield done
            if all(path.exists() for path in self._shards(WHOLE)):
                write_digests(self.folder, list(self._shards(WHOLE)))

    def scenes_of(self, part: tuple[int, int]) -> int:
        """Number of scenes of a part (k, n)."""
        return sum(map(len, self._shards(part).values()))

    def _require_room(self, shards: list[Path]) -> None:
        """Refuses to go on, once a shard tells how large they are, where those that are missing have no room."""
        sizes = [path.stat().st_size for path in shards if path.exists()]
        require_room(self.folder / MANIFEST, (len(shards) - len(sizes)) * max(sizes))

    def _shards(self, part: tuple[int, int]) -> dict[Path, range]:
        number, parts = part
        shards = list(shards_of(self.folder, self.scenes, self.scenes_per_shard).items())
        return dict(shards[number - 1 :: parts])

    def _manifest(self) -> dict[str, object]:
        """The values that decide the bytes of the set, for its manifest."""
        return {
            "kind": KIND,
            "scenes": self.scenes,
            "scenes_per_shard": self.scenes_per_shard,
            "seed": self.maker.seed,
            "source": self.maker.source.identity,
            "sensor": f"{self.maker.sensor.name} {_checksum(self.maker.sensor)}",
            "recipe": self.maker.recipe.model_dump(mode="json"),
        }

    def _claim(self, resume: bool) -> None:
        path = self.folder / MANIFEST
        if path.exists() and not resume:
            raise InputError(
                f"{self.folder}: holds a simulated set; resume it, or choose another folder", "resume", "output"
            )
        if not path.exists():
            new_file(path, yaml.safe_dump(self._manifest(), sort_keys=False))
        found = read_manifest(path)
        if self._begun_with(path, found) < self.scenes:
            with whole_file(path) as partial:
                partial.write_text(yaml.safe_dump(self._manifest(), sort_keys=False))

    def _begun_with(self, path: Path, found: dict[str, object]) -> int:
        """The number of scenes of the set that is there."""
        begun = checked_config(_Sizes, found, path, "simulated set").scenes
        wanted = self._manifest()
        if begun < self.scenes:
            found = found | {"scenes": self.scenes}
        for name, value in wanted.items():
            if found.get(name) != value:
                how = "resume with the values it was begun with, or choose another folder"
                raise InputError(f"{path}: {name} is {found.get(name)}, here {value}; {how}", "output")
        return begun


class PairDataset(Dataset[Pair]):
    """The pairs of a finished simulated set, read from disk one at a time: item -> Pair with a batch of one.

    Items run over bit depths, within that over fluxes, within that over scenes: neighbours have equal exposure. The
    targets are those of `scale` and of each smaller power of two.

    The counts of an array with finer pixels are drawn as they are read, and the same each time: they follow from the
    seed of the set, the scene and the exposure. Such an array has `finer` times as many pixels along each side, all of
    them with the efficiency and the dark counts of the one that they take the place of, and white counts as before.

    Args:
        scale: over the pixels of the array.
        finer: 1, or 2, 4, 8 or 16 for an array with finer pixels.

    Raises:
        InputError: the folder holds no complete set; a scale that is not 1, 2, 4, 8 or 16, or finer than the scenes.
    """

    def __init__(self, folder: str | Path, scale: int, finer: int = 1) -> None:
        self.folder, self.finer = Path(folder), finer
        for name, value in (("scale", scale), ("finer", finer), ("scale of the finer array", scale * finer)):
            if value not in SCALES:
                raise InputError(f"{name} {value}: expected one of {', '.join(map(str, SCALES))}")
        self.scales = SCALES[SCALES.index(scale) :: -1]
        manifest = read_manifest(self.folder / MANIFEST)
        sizes = checked_config(_Sizes, manifest, self.folder / MANIFEST, "simulated set")
        self.scenes, self.scenes_per_shard = sizes.scenes, sizes.scenes_per_shard
        self._expect_whole()
        self._shards = OpenShards()
        with self._shards.reading(shard_path(self.folder, 0)) as shard:
            self._native, self.seed = shard.sensor(), shard.seed
            self.white_rates, self.exposures = shard.white_rates(), shard.exposures()
            self._check_rows(shard, 0)
        self.sensor = _finer(self._native, finer)

    def _expect_whole(self) -> None:
        shards = -(-self.scenes // self.scenes_per_shard)
        there = sum(path.is_file() for path in self.folder.glob("shard-*.h5"))
        if there < shards:
            raise InputError(f"{self.folder}: {there} of {shards} shards; resume the simulation of the set")

    def _check_rows(self, shard: Shard, index: int) -> None:
        expected = min(self.scenes_per_shard, self.scenes - index * self.scenes_per_shard)
        if shard.scenes != expected:
            raise InputError(f"{shard.path}: {shard.scenes} scenes; expected {expected}: simulate the set again")

    def __len__(self) -> int:
        return self.scenes * len(self.white_rates) * len(self.exposures)

    def item(self, depth: _Index, flux: _Index | int, scene: _Index) -> _Index:
        """Index of the item with a scene at a bit depth and a flux, all three given by their indices."""
        return (depth * len(self.white_rates) + flux) * self.scenes + scene

    def __getitem__(self, item: int) -> Pair:
        if not 0 <= item < len(self):
            raise IndexError(item)
        rest, scene = divmod(item, self.scenes)
        depth, flux = divmod(rest, len(self.white_rates))
        exposure, white = self.exposures[depth], self.white_rates[flux]
        counts, targets = self._read(scene, flux, depth)
        rates = {scale: target.mul_(white)[None] for scale, target in targets.items()}
        if self.finer > 1:
            key = np.random.SeedSequence(self.seed, spawn_key=(scene, 2, self.finer, flux, depth))
            generator = torch.Generator().manual_seed(int(key.generate_state(1, np.uint64)[0]))
            counts = ForwardModel(self.sensor, exposure).sample(rates[1][0], generator)
        return Pair(counts[None], rates, ForwardModel(_batch_of_one(self.sensor), exposure))

    def _read(self, scene: int, flux: int, depth: int) -> tuple[Tensor, dict[int, Tensor]]:
        """Counts of the native array, and the targets of this one."""
        number, row = divmod(scene, self.scenes_per_shard)
        shape = self._native.shape
        with self._shards.reading(shard_path(self.folder, number)) as shard:
            self._check_rows(shard, number)
            counts = shard.counts(row, flux, depth, (len(self.white_rates), len(self.exposures), *shape))
            targets = shard.targets(row, shape, [self.finer * scale for scale in self.scales])
            most = self._native.saturation_value(self.exposures[depth].most_cycles)
            if int(counts.max()) > most or int(counts.min()) < 0:
                raise InputError(f"{shard.path}: counts above the largest possible, {most}; simulate the set again")
        return counts, {scale // self.finer: target for scale, target in targets.items()}

    def batches(self, size: int, generator: torch.Generator) -> list[list[int]]:
        """One epoch as lists of at most `size` items of equal exposure, shuffled.

        Some shards at a time, so that few files are open at once: they are drawn at random, their items shuffled. The
        lists are a `batch_sampler` for a DataLoader whose `collate_fn` is `joined`.
        """
        epoch: list[list[int]] = []
        shards = torch.randperm(-(-self.scenes // self.scenes_per_shard), generator=generator)
        for some in torch.split(shards, _SHUFFLED):
            scenes = torch.cat([torch.arange(self.scenes)[self._rows(number)] for number in some.tolist()])
            batches = self._batches_of(scenes, size, generator)
            epoch += [batches[at] for at in torch.randperm(len(batches), generator=generator).tolist()]
        return epoch

    def _batches_of(self, scenes: Tensor, size: int, generator: torch.Generator) -> list[list[int]]:
        batches: list[list[int]] = []
        for depth in range(len(self.exposures)):
            items = torch.cat([self.item(torch.tensor(depth), flux, scenes) for flux in range(len(self.white_rates))])
            shuffled = items[torch.randperm(len(items), generator=generator)]
            batches += [part.tolist() for part in torch.split(shuffled, size)]
        return batches

    def _rows(self, number: int) -> slice:
        """The scenes of a shard."""
        return slice(number * self.scenes_per_shard, (number + 1) * self.scenes_per_shard)


def joined(pairs: Sequence[Pair]) -> Pair:
    """Joins pairs of equal exposure to one batch.

    Raises:
        ValueError: their exposures differ.
    """
    first = pairs[0]
    if any(pair.model.exposure != first.model.exposure for pair in pairs):
        raise ValueError("pairs of different exposure cannot be one batch: draw them with PairDataset.batches")
    sensors = [pair.model.sensor for pair in pairs]
    masks = [sensor.pixel_mask for sensor in sensors if sensor.pixel_mask is not None]
    sensor = replace(
        sensors[0],
        pde=torch.cat([sensor.pde for sensor in sensors]),
        dark_count_rate=torch.cat([sensor.dark_count_rate for sensor in sensors]),
        pixel_mask=torch.cat(masks) if masks else None,
    )
    targets = {scale: torch.cat([pair.targets[scale] for pair in pairs]) for scale in first.targets}
    return Pair(torch.cat([pair.counts for pair in pairs]), targets, replace(first.model, sensor=sensor))


def read_manifest(path: Path) -> dict[str, object]:
    """Reads the manifest of a simulated set: the values that decide its bytes.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    found = read_config(path, "simulated set") if path.is_file() else {}
    if found.get("kind") != KIND:
        raise InputError(f"{path}: not the manifest of a simulated set; simulate one there first")
    return found


def verify_set(folder: Path, progress: Report = silent) -> list[str]:
    """What is wrong with a simulated set; arguments and errors as of `simulate.verification.verify`.

    Raises:
        InputError: the folder holds no set.
    """
    manifest = read_manifest(folder / MANIFEST)
    sizes = checked_config(_Sizes, manifest, folder / MANIFEST, "simulated set")
    recipe = checked_config(_Made, manifest, folder / MANIFEST, "simulated set").recipe
    counts = (len(recipe.white_rates), len(recipe.bit_depths), *recipe.shape)
    return verify(folder, shards_of(folder, sizes.scenes, sizes.scenes_per_shard), counts, progress)


def shards_of(folder: Path, scenes: int, scenes_per_shard: int) -> dict[Path, range]:
    """The shards of a set, and the scenes of each."""
    parts = [range(start, min(start + scenes_per_shard, scenes)) for start in range(0, scenes, scenes_per_shard)]
    return {shard_path(folder, index): part for index, part in enumerate(parts)}


def shard_path(folder: Path, index: int) -> Path:
    """Path of the shard of that index."""
    return folder / f"shard-{index:05d}.h5"


def _finer(sensor: Sensor, times: int) -> Sensor:
    """The sensor with `times` as many pixels along each side, each like the one whose place it takes."""
    mask = None if sensor.pixel_mask is None else repeated(sensor.pixel_mask, times)
    pde, dark = (repeated(each, times) for each in (sensor.pde, sensor.dark_count_rate))
    return replace(sensor, pde=pde, dark_count_rate=dark, pixel_mask=mask)


def _batch_of_one(sensor: Sensor) -> Sensor:
    def batch(each: Tensor) -> Tensor:
        return each[None]

    mask = None if sensor.pixel_mask is None else batch(sensor.pixel_mask)
    return replace(sensor, pde=batch(sensor.pde), dark_count_rate=batch(sensor.dark_count_rate), pixel_mask=mask)


def _checksum(sensor: Sensor) -> str:
    """Checksum of the maps of a sensor and of the numbers that its counts depend on."""
    numbers = (sensor.dead_time, sensor.counter_bits, sensor.counter_wraps)
    traps = (sensor.afterpulse_probability, sensor.trap_lifetime)
    digest = hashlib.sha256(repr((numbers, traps)).encode())
    for each in (sensor.pde, sensor.dark_count_rate, sensor.crosstalk):
        digest.update(each.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
