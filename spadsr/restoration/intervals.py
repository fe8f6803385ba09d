"""Factors that make a network's intervals cover 68 % and 95 % of the pixels, or more in three of four images.

They are measured on fresh captures after training, and kept in its weight file.
"""

from typing import Annotated, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator
from torch import Tensor

from spadsr.networks.measurement import SCALES

#: Counts of a mean pixel at which the factors are measured; between them they are interpolated over the logarithm.
KNOTS = tuple(0.025 * 2**k for k in range(18))

Factors: TypeAlias = Annotated[tuple[PositiveFloat, ...], Field(min_length=len(KNOTS), max_length=len(KNOTS))]


class Intervals(BaseModel):
    """Factors of a network's standard deviations for every scale, one for each knot.

    Attributes:
        standard: what the network's standard deviation is multiplied by to be a standard uncertainty: in three of four
            images one covers 68.3 % of the pixels or more.
        coverage: coverage factor k: k standard uncertainties cover 95 % of the pixels (GUM, JCGM 100:2008, 6.3.3). It
            is not 1.96, as errors have longer tails than normal ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    standard: dict[int, Factors] = {s: (1.0,) * len(KNOTS) for s in SCALES}
    coverage: dict[int, Factors] = {s: (1.96,) * len(KNOTS) for s in SCALES}

    @field_validator("standard", "coverage")
    @classmethod
    def _for_all_scales(cls, factors: dict[int, Factors]) -> dict[int, Factors]:
        if set(factors) != set(SCALES):
            raise ValueError(f"expected factors for the scales {', '.join(map(str, SCALES))}")
        return factors

    def factors(self, mean_counts: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """Factors of the standard deviation, and coverage factors, each of the shape of `mean_counts`."""
        place = mean_counts.log()
        return _interpolated(place, self.standard[scale]), _interpolated(place, self.coverage[scale])


def _interpolated(place: Tensor, values: tuple[float, ...]) -> Tensor:
    """Piecewise linear over the logarithm of the knots, constant beyond: as a sum of ramps, which every runtime has."""
    ends, heights = (torch.tensor(row, device=place.device) for row in (KNOTS, values))
    ends = ends.log()
    ramps = ((place[..., None] - ends[:-1]) / ends.diff()).clamp(0, 1)
    return heights[0] + (ramps * heights.diff()).sum(dim=-1)
