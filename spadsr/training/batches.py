"""The batches that training steps see: each follows from the recipe's seed and the number of the step alone."""

import random
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from simulate.pairs import Pair
from spadsr.networks.measurement import Measurement, measure
from spadsr.training.pair_source import PairSource
from spadsr.training.recipe import TrainingRecipe


class Purpose(IntEnum):
    """The purpose of random numbers: each purpose has numbers of its own."""

    CAPTURES = 0
    SCALES = 1
    INTERVALS = 2


@dataclass(frozen=True)
class Batch:
    """Captures as a network sees them, and for each resolution s rates (B, 1, s H, s W) over each image's scale.

    Attributes:
        measurement: the network's input.
        truth: true rates; variances are learnt from them.
        goal: rates to learn: the true ones, or a teacher's.
    """

    measurement: Measurement
    truth: dict[int, Tensor]
    goal: dict[int, Tensor]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        truth, goal = ({s: rate.to(device) for s, rate in rates.items()} for rates in (self.truth, self.goal))
        return Batch(self.measurement.to(device), truth, goal)


def make_batch(source: PairSource, recipe: TrainingRecipe, scale: int, seeds: list[int], *, held_out: bool) -> Batch:
    """A batch with an exposure for each seed, and true rates at `scale` and the resolutions below it."""
    pairs = [source.pair(recipe, scale, seed, held_out=held_out) for seed in seeds]
    measurements = [measure(pair.counts, pair.model) for pair in pairs]
    truth = _true_rates(pairs, measurements)
    measurement = Measurement.joined(measurements)
    if recipe.pairs.moving_share > 0:  # in all processes alike, so that each has the same gradients
        measurement = measurement.with_phases()
    return Batch(measurement, truth, truth)


def scale_of_step(recipe: TrainingRecipe, step: int) -> int:
    """The highest resolution of a step, the same for all its exposures: drawn by the recipe's shares."""
    scales, shares = zip(*sorted(recipe.scale_shares.items()), strict=True)
    return int(random.Random(seed_for(Purpose.SCALES, recipe.seed, step, 0)).choices(scales, shares)[0])


def seed_for(purpose: Purpose, seed: int, step: int, exposure: int) -> int:
    """A seed that follows from the recipe's seed, a step and an exposure, other for each of them and each purpose."""
    return int(np.random.SeedSequence((purpose, seed, step, exposure)).generate_state(1, np.uint64)[0])


def _true_rates(pairs: list[Pair], measurements: list[Measurement]) -> dict[int, Tensor]:
    scales = pairs[0].targets
    return {
        s: torch.cat([p.targets[s][:, None] / m.scale_at(s) for p, m in zip(pairs, measurements, strict=True)])
        for s in scales
    }
