"""Sources of training pairs (counts and their true rates): made from scenes at every step, or read from a set."""

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
    """A source of endless random pairs, and of a fixed batch to measure progress on, in memory of the CPU."""

    def pair(self, recipe: TrainingRecipe, scale: int, seed: int, *, held_out: bool) -> Pair:
        """Captures of one exposure, with true rates up to `scale`: always the same for the same seed.

        Args:
            recipe: that of the step.
            held_out: takes scenes that are not trained on, instead of those that are.
        """
        ...

    def validation(self) -> Pair:
        """Captures of scenes held out, always the same: 16 frames of a binary array, with true rates up to x4."""
        ...

    @property
    def skipped(self) -> list[Path]:
        """The photographs that could not be read."""
        ...


def pair_source(recipe: TrainingRecipe, progress: Report) -> PairSource:
    """The source that a recipe names. Raises InputError where it holds nothing to train on."""
    if recipe.simulated is not None:
        return SimulatedPairs(recipe, recipe.simulated)
    return ScenePairs(recipe, progress)


class ScenePairs:
    """Pairs made from a bank of scenes; every seed gives other ones."""

    def __init__(self, recipe: TrainingRecipe, progress: Report) -> None:
        self.recipe = recipe
        self.bank = SceneBank(recipe.scenes, recipe.held_out, recipe.seed, progress)
        self.skipped = self.bank.skipped

    def pair(self, recipe: TrainingRecipe, scale: int, seed: int, *, held_out: bool) -> Pair:
        draws = Draws(seed)
        size = min(recipe.native * scale, _LARGEST_SCENE)
        scenes = self.bank.crops(recipe.batch // recipe.exposures, size, draws.generator, held_out=held_out)
        return draw_pair(scenes, scale, recipe.pairs, draws)

    def validation(self) -> Pair:
        draws = Draws(self.recipe.seed + 1)
        plain = {
            "binary_share": 1.0,
            "binary_cycles": (_VALIDATION_CYCLES,),
            "binary_white": (0.2, 0.2),
            "starred_share": 0.0,
            "mapped_share": 0.0,
            "moving_share": 0.0,
        }
        scenes = self.bank.crops(16, _VALIDATION_SCALE * self.recipe.native, draws.generator, held_out=True)
        return draw_pair(scenes, _VALIDATION_SCALE, self.recipe.pairs.model_copy(update=plain), draws)


class SimulatedPairs:
    """Random crops of the pairs of a simulated set."""

    def __init__(self, recipe: TrainingRecipe, folder: Path) -> None:
        self.recipe = recipe
        recipes = recipe.of_stages()
        scales = {scale for each in recipes for scale in each.scale_shares}
        self.sets = {scale: PairDataset(folder, scale) for scale in scales | {_VALIDATION_SCALE}}
        self.skipped: list[Path] = []
        shape = self.sets[_VALIDATION_SCALE].sensor.shape
        if min(shape) < (native := max(each.native for each in recipes)):
            raise InputError(
                f"{folder}: captures of {shape[0]} x {shape[1]}; training on {native} x {native} needs "
                "larger ones, or a smaller native=, a multiple of 16"
            )

    def pair(self, recipe: TrainingRecipe, scale: int, seed: int, *, held_out: bool) -> Pair:
        pairs, generator = self.sets[scale], torch.Generator().manual_seed(seed)
        each = recipe.batch // recipe.exposures
        scenes = torch.tensor(trained_and_held_out(pairs.scenes, self.recipe.held_out)[held_out])
        some = scenes[torch.randint(len(scenes), (each,), generator=generator)]
        flux = torch.randint(len(pairs.white_rates), (each,), generator=generator)
        depth = torch.randint(len(pairs.exposures), (1,), generator=generator)
        items = pairs.item(depth, flux, some)
        native = min(recipe.native, _LARGEST_SCENE // scale)
        whole = joined([pairs[item] for item in items.tolist()])
        top, left = (
            (torch.rand(2, generator=generator) * (torch.tensor(pairs.sensor.shape) - native + 1)).long().tolist()
        )
        return _window(whole, top, left, native)

    def validation(self) -> Pair:
        pairs = self.sets[_VALIDATION_SCALE]
        cycles = [exposure.most_cycles for exposure in pairs.exposures]
        depth = min(range(len(cycles)), key=lambda at: abs(cycles[at] - _VALIDATION_CYCLES))
        _, scenes = trained_and_held_out(pairs.scenes, self.recipe.held_out)
        pair = joined([pairs[pairs.item(depth, 0, scene)] for scene in scenes[:16]])
        return _window(pair, 0, 0, self.recipe.native)


def _window(pair: Pair, top: int, left: int, side: int) -> Pair:
    """The same square of native pixels of every capture, with its true rates and its part of the sensor."""

    def cut(maps: Tensor, scale: int = 1) -> Tensor:
        return maps[..., top * scale : (top + side) * scale, left * scale : (left + side) * scale]

    whole = pair.model.sensor
    mask = None if whole.pixel_mask is None else cut(whole.pixel_mask)
    sensor = replace(whole, pde=cut(whole.pde), dark_count_rate=cut(whole.dark_count_rate), pixel_mask=mask)
    targets = {scale: cut(target, scale) for scale, target in sorted(pair.targets.items(), reverse=True)}
    return replace(pair, counts=cut(pair.counts), targets=targets, model=replace(pair.model, sensor=sensor))
