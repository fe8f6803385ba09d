"""Where training pairs come from: made from scenes at every step, or read from a simulated set."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from noise_model.errors import InputError
from noise_model.progress import Report
from simulate.dataset import PairDataset, joined
from simulate.pairs import Draws, Pair, draw_pair
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.scene_bank import SceneBank, trained_and_held_out

_VALIDATION_SCALE, _VALIDATION_CYCLES = 4, 16
_LARGEST_SCENE = 256  # pixels on a side; at x16 captures are smaller than at x4


class PairSource(Protocol):
    """Endless random pairs, and a fixed batch to measure progress on."""

    def pair(self, scale: int, seed: int, *, held_out: bool) -> Pair:
        """The captures of one exposure in a step, with targets up to `scale`: for the same seed the same.

        Args:
            held_out: of the scenes that are not trained on, instead of those that are.
        """
        ...

    def validation(self) -> Pair:
        """Always the same captures, 16 frames of a binary array, with targets up to x4, of scenes held out."""
        ...

    @property
    def skipped(self) -> list[Path]:
        """Files that could not be read."""
        ...


def pair_source(recipe: TrainingRecipe, device: torch.device, report: Report) -> PairSource:
    """The source that the recipe names. Raises InputError where it holds nothing to train on."""
    if recipe.simulated is not None:
        return StoredPairs(recipe, recipe.simulated, device)
    return ScenePairs(recipe, device, report)


class ScenePairs:
    """Pairs made on the device from a bank of scenes: never the same twice."""

    def __init__(self, recipe: TrainingRecipe, device: torch.device, report: Report) -> None:
        self.recipe, self.device = recipe, device
        self.bank = SceneBank(recipe.scenes, recipe.held_out, recipe.seed, device, report)
        self.skipped = self.bank.skipped

    def pair(self, scale: int, seed: int, *, held_out: bool) -> Pair:
        recipe, draws = self.recipe, Draws(seed, self.device)
        size = min(recipe.native * scale, _LARGEST_SCENE)
        scenes = self.bank.crops(recipe.batch // recipe.exposures, size, draws.host, held_out=held_out)
        return draw_pair(scenes, scale, recipe.pairs, draws)

    def validation(self) -> Pair:
        draws = Draws(self.recipe.seed + 1, self.device)
        plain = {
            "binary_share": 1.0,
            "binary_cycles": (_VALIDATION_CYCLES,),
            "binary_white": (0.2, 0.2),
            "starred_share": 0.0,
        }
        scenes = self.bank.crops(16, _VALIDATION_SCALE * self.recipe.native, draws.host, held_out=True)
        return draw_pair(scenes, _VALIDATION_SCALE, self.recipe.pairs.model_copy(update=plain), draws)


class StoredPairs:
    """Random crops of the pairs of a simulated set."""

    def __init__(self, recipe: TrainingRecipe, folder: Path, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.sets = {scale: PairDataset(folder, scale) for scale in {*recipe.scale_shares, _VALIDATION_SCALE}}
        self.skipped: list[Path] = []
        shape = self.sets[_VALIDATION_SCALE].sensor.shape
        if min(shape) < recipe.native:
            raise InputError(
                f"{folder}: captures of {shape[0]} x {shape[1]}; training on {recipe.native} x {recipe.native} needs "
                "larger ones, or a smaller native=, a multiple of 16"
            )

    def pair(self, scale: int, seed: int, *, held_out: bool) -> Pair:
        stored, generator = self.sets[scale], torch.Generator().manual_seed(seed)
        each = self.recipe.batch // self.recipe.exposures
        scenes = torch.tensor(trained_and_held_out(stored.scenes, self.recipe.held_out)[held_out])
        some = scenes[torch.randint(len(scenes), (each,), generator=generator)]
        flux = torch.randint(len(stored.white_rates), (each,), generator=generator)
        depth = torch.randint(len(stored.exposures), (1,), generator=generator)
        items = stored.item(depth, flux, some)
        native = min(self.recipe.native, _LARGEST_SCENE // scale)
        whole = joined([stored[item] for item in items.tolist()])
        top, left = (
            (torch.rand(2, generator=generator) * (torch.tensor(stored.sensor.shape) - native + 1)).long().tolist()
        )
        return _on_device(_window(whole, top, left, native), self.device)

    def validation(self) -> Pair:
        stored = self.sets[_VALIDATION_SCALE]
        cycles = [exposure.cycles for exposure in stored.exposures]
        depth = min(range(len(cycles)), key=lambda at: abs(cycles[at] - _VALIDATION_CYCLES))
        _, scenes = trained_and_held_out(stored.scenes, self.recipe.held_out)
        pair = joined([stored[stored.item(depth, 0, scene)] for scene in scenes[:16]])
        return _on_device(_window(pair, 0, 0, self.recipe.native), self.device)


def _window(pair: Pair, top: int, left: int, side: int) -> Pair:
    """The same native square of every capture, with its targets and its part of the sensor."""

    def cut(maps: Tensor, scale: int = 1) -> Tensor:
        return maps[..., top * scale : (top + side) * scale, left * scale : (left + side) * scale]

    whole = pair.model.sensor
    mask = None if whole.pixel_mask is None else cut(whole.pixel_mask)
    sensor = replace(whole, pde=cut(whole.pde), dark_count_rate=cut(whole.dark_count_rate), pixel_mask=mask)
    targets = {scale: cut(target, scale) for scale, target in sorted(pair.targets.items(), reverse=True)}
    return replace(pair, counts=cut(pair.counts), targets=targets, model=replace(pair.model, sensor=sensor))


def _on_device(pair: Pair, device: torch.device) -> Pair:
    targets = {scale: target.to(device) for scale, target in pair.targets.items()}
    return replace(pair, counts=pair.counts.to(device), targets=targets, model=pair.model.to(device))
