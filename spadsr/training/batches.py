"""The batches that a training step sees, each following from the seed and the number of the step alone."""

import random
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from simulate.pairs import Pair
from spadsr.networks.measurement import Measurement, measure
from spadsr.training.distributed import Team
from spadsr.training.pair_source import PairSource
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.teacher import Teacher

_TRAINING, _SCALES, INTERVALS = range(3)  # what random numbers are for


#: The network's input and, for each resolution, the true rates over each image's scale.
Batch: TypeAlias = tuple[Measurement, dict[int, Tensor]]


#: A batch, and the rates over each image's scale that are to be learnt, for each resolution.
Lesson: TypeAlias = tuple[Measurement, dict[int, Tensor], dict[int, Tensor]]


def _lesson(recipe: TrainingRecipe, source: PairSource, teacher: Teacher | None, step: int, team: Team) -> Lesson:
    """This process's share of what all see in a step: every exposure has a seed of its own, whoever draws it."""
    seeds = [number(_TRAINING, recipe.seed, step, exposure) for exposure in team.share(recipe.exposures)]
    measurement, truth = drawn(source, _scale(recipe, step), seeds, held_out=False)
    return measurement, truth, teacher.rates(measurement, tuple(truth), step) if teacher else truth


def number(*key: int) -> int:
    """A random number, always the same for the same key of four numbers (its first one says what for)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def drawn(source: PairSource, scale: int, seeds: list[int], *, held_out: bool) -> Batch:
    """Measurements of a batch and, for each resolution, the true rates over each image's scale, (B, 1, s H, s W). One
    exposure for each seed."""
    pairs = [source.pair(scale, seed, held_out=held_out) for seed in seeds]
    measurements = [measure(pair.counts, pair.model) for pair in pairs]
    return _joined(measurements), _targets(pairs, measurements)


def _scale(recipe: TrainingRecipe, step: int) -> int:
    """The same for all exposures of a step."""
    scales, shares = zip(*sorted(recipe.scale_shares.items()), strict=True)
    return int(random.Random(number(_SCALES, recipe.seed, step, 0)).choices(scales, shares)[0])


def _joined(parts: list[Measurement]) -> Measurement:
    names = Measurement.__dataclass_fields__
    return Measurement(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _targets(pairs: list[Pair], measurements: list[Measurement]) -> dict[int, Tensor]:
    scales = pairs[0].targets
    return {
        s: torch.cat([p.targets[s][:, None] / m.scale for p, m in zip(pairs, measurements, strict=True)])
        for s in scales
    }
