"""Intervals cover what they promise, whatever the errors are like; factors between and beyond the knots."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from spadsr.networks.measurement import SCALES, Measurement
from spadsr.restoration.intervals import KNOTS, Intervals
from spadsr.training.batches import Batch
from spadsr.training.measured_intervals import measured_intervals


class Liar(torch.nn.Module):
    """Answers 5 with a standard deviation of 1, at every scale."""

    def forward(self, measurement: Measurement, scales: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        batch, _, height, width = measurement.rate.shape
        shapes = [(batch, 1, s * height, s * width) for s in scales]
        return [(torch.full(shape, 5.0), torch.zeros(shape)) for shape in shapes]


class World:
    """Truths about 5 whose errors have longer tails than normal ones, and a spread that depends on counts and image."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def batches_of(self, count: int) -> Callable[[int], Iterator[Batch]]:
        return lambda scale: (self.batch(scale) for _ in range(count))

    def batch(self, scale: int) -> Batch:
        place = torch.empty(8, 1, 1, 1).uniform_(math.log(KNOTS[0]), math.log(KNOTS[-1]), generator=self.generator)
        blank = torch.zeros(8, 1, 16, 16)
        measurement = Measurement(blank, blank, blank, blank, blank[..., :1, :1], place.exp())
        truth = {s: 5 + self.errors(place, 16 * s) for s in (1, 2, 4, 8) if s <= scale}
        return Batch(measurement, truth, truth)

    def errors(self, place: Tensor, side: int) -> Tensor:
        own = torch.randn(len(place), 1, 1, 1, generator=self.generator)
        spread = (0.5 + 0.1 * (place - math.log(KNOTS[0]))) * torch.exp(0.3 * own)
        normal = torch.randn(len(place), 1, side, side, generator=self.generator)
        tail = torch.rand(len(place), 1, side, side, generator=self.generator) < 0.1
        return normal * spread * torch.where(tail, 3.0, 1.0)


def test_intervals_cover_what_they_promise() -> None:
    """In three of four images the promised share of the pixels or more (of 1,600 images, to 5 %)."""
    intervals = measured_intervals(Liar(), World(0).batches_of(400), (4, 8))  # type: ignore[arg-type]
    world = World(1)
    for scale in (1, 2, 4, 8):
        enough = torch.zeros(2, dtype=torch.float64)
        for _ in range(200):
            batch = world.batch(scale)
            standard, coverage = intervals.factors(batch.measurement.mean_counts, scale)
            error = (batch.truth[scale] - 5).abs()
            inside = [(error < width).double().mean(dim=(1, 2, 3)) for width in (standard, standard * coverage)]
            enough += torch.stack([(inside[0] >= 0.6827).double().mean(), (inside[1] >= 0.95).double().mean()])
        assert (enough / 200).tolist() == pytest.approx([0.75, 0.75], abs=0.05)
        assert intervals.coverage[scale][3] > 2.1  # 1.96 for normal errors


def test_scales_that_were_not_measured_keep_normal_intervals() -> None:
    intervals = measured_intervals(Liar(), World(0).batches_of(2), (8,))  # type: ignore[arg-type]
    assert intervals.standard[16] == (1.0,) * len(KNOTS)
    assert intervals.coverage[4] == (1.96,) * len(KNOTS)


def test_factors_between_and_beyond_the_knots() -> None:
    rising = tuple(float(i + 1) for i in range(len(KNOTS)))
    intervals = Intervals(standard=dict.fromkeys(SCALES, rising), coverage=dict.fromkeys(SCALES, rising[::-1]))
    counts = torch.tensor([KNOTS[0] / 10, *KNOTS, KNOTS[-1] * 10, math.sqrt(KNOTS[1] * KNOTS[2])])
    standard, coverage = intervals.factors(counts, 4)
    torch.testing.assert_close(standard, torch.tensor([1.0, *rising, rising[-1], 2.5]))
    torch.testing.assert_close(coverage, len(KNOTS) + 1 - standard)


@pytest.mark.parametrize("factors", [(1.0,) * (len(KNOTS) - 1), (-1.0,) * len(KNOTS), (math.nan,) * len(KNOTS)])
def test_impossible_factors_are_refused(factors: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Intervals(standard=dict.fromkeys(SCALES, factors))


def test_factors_of_every_scale_are_needed() -> None:
    with pytest.raises(ValidationError, match="for the scales"):
        Intervals(standard={4: (1.0,) * len(KNOTS)})
