"""Intervals that cover what they promise: how a network's own standard deviations must be stretched to do so, measured
on fresh captures after training and kept in its weight file."""

from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator
from torch import Tensor

from spadsr.architectures import Network
from spadsr.network import SCALES, Measurement

#: Counts of a mean pixel at which the factors are measured; between them they are interpolated over the logarithm.
KNOTS = tuple(0.025 * 2**k for k in range(18))

_PIXELS = 512  # of each image, so that all images count alike
_NORMAL_68 = 0.6827

#: (wanted scale) -> a batch: the network's input and, for that scale and those below it, the true rates over its scale.
Draw = Callable[[int], tuple[Measurement, dict[int, Tensor]]]

#: Log mean counts of images (n,), and |error| over standard deviation of some of their pixels (n, pixels).
_Errors: TypeAlias = tuple[Tensor, Tensor]

Factors: TypeAlias = Annotated[tuple[PositiveFloat, ...], Field(min_length=len(KNOTS), max_length=len(KNOTS))]


class Intervals(BaseModel):
    """Factors for every scale, one a knot.

    Attributes:
        standard: of the network's standard deviation, so that one covers 68.3 % of the pixels: standard uncertainty.
        coverage: k, of the standard uncertainty, so that k of them cover 95 % (GUM, JCGM 100:2008, 6.3.3). Errors have
            longer tails than normal ones, so it is not 1.96.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    standard: dict[int, Factors] = {s: (1.0,) * len(KNOTS) for s in SCALES}
    coverage: dict[int, Factors] = {s: (1.96,) * len(KNOTS) for s in SCALES}

    @field_validator("standard", "coverage")
    @classmethod
    def _for_all_scales(cls, factors: dict[int, Factors]) -> dict[int, Factors]:
        if set(factors) != set(SCALES):
            raise ValueError(f"expected factors for the scales {', '.join(map(str, SCALES))}")
        return factors

    def factors(self, mean_counts: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Of standard deviation and of standard uncertainty, each of the shape of `mean_counts`."""
        place = mean_counts.log()
        return _interpolated(place, self.standard[scale]), _interpolated(place, self.coverage[scale])


def measured_intervals(network: Network, draw: Draw, scales: tuple[int, ...], batches: int) -> Intervals:
    """The factors of a trained network, from so many batches for each scale; a knot takes the images nearest to it.

    Args:
        scales: that can be drawn; 1 and 2 are measured with 4 as well, on what scenes are like at that resolution.
            Scales that are not measured keep the factors of normal errors.
    """
    errors: dict[int, list[_Errors]] = defaultdict(list)
    for scale in scales:
        answered = (1, 2, 4) if scale == 4 else (scale,)
        for s, found in _relative_errors(network, draw, scale, answered, batches).items():
            errors[s].append(found)
    plain = Intervals()
    factors = {s: _factors(*map(torch.cat, zip(*found, strict=True))) for s, found in errors.items()}
    return Intervals(
        standard=plain.standard | {s: standard for s, (standard, _) in factors.items()},
        coverage=plain.coverage | {s: coverage for s, (_, coverage) in factors.items()},
    )


@torch.inference_mode()
def _relative_errors(
    network: Network, draw: Draw, scale: int, answered: tuple[int, ...], batches: int
) -> dict[int, _Errors]:
    found: dict[int, list[_Errors]] = {s: [] for s in answered}
    for _ in range(batches):
        measurement, targets = draw(scale)
        place = measurement.mean_counts.log().flatten()
        for s, (rate, log_variance) in zip(answered, network(measurement, answered), strict=True):
            relative = ((rate.clamp(min=0) - targets[s]).abs() * torch.exp(-0.5 * log_variance)).flatten(1)
            some = torch.linspace(0, relative.shape[1] - 1, min(_PIXELS, relative.shape[1])).long()
            found[s].append((place.cpu(), relative[:, some.to(relative.device)].cpu()))
    return {s: (torch.cat([p for p, _ in parts]), torch.cat([r for _, r in parts])) for s, parts in found.items()}


def _factors(place: Tensor, relative: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The factors at each knot, from the images nearest to it, or from all where there are none."""
    nearest = (place[:, None] - torch.tensor(KNOTS).log()).abs().argmin(dim=1)
    standard, coverage = [], []
    for knot in range(len(KNOTS)):
        near = relative[nearest == knot].flatten().double().numpy()
        near = near if near.size else relative.flatten().double().numpy()
        q68, q95 = np.quantile(near, (_NORMAL_68, 0.95))
        standard.append(float(q68))
        coverage.append(float(q95 / q68))
    return tuple(standard), tuple(coverage)


def _interpolated(place: Tensor, values: tuple[float, ...]) -> Tensor:
    """Piecewise linear over the logarithm of the knots, constant beyond: as a sum of ramps, which every runtime has."""
    ends, heights = (torch.tensor(row, device=place.device) for row in (KNOTS, values))
    ends = ends.log()
    ramps = ((place[..., None] - ends[:-1]) / ends.diff()).clamp(0, 1)
    return heights[0] + (ramps * heights.diff()).sum(dim=-1)
