"""The law of the counts of one image over rates, as a table of cumulative probabilities."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from noise_model.laws import CountingProcess, root_grid

_MOST_ENTRIES = 1 << 22


@dataclass(frozen=True)
class CountLaw:
    """The law of the counts of one image, for a grid of rates.

    Attributes:
        x: (R,) grid of r T, float64, even in its square root from 0.
        first: (R,) int32, the count of the first column; those below have no chance worth keeping.
        cdf: (R, C) float32, chance of at most first + c counts.
    """

    x: Tensor
    first: Tensor
    cdf: Tensor


@lru_cache(maxsize=8)
def count_law(process: CountingProcess) -> CountLaw:
    """The law of the counts of one image before crosstalk; fewer rates for long exposures bound its size."""
    x = root_grid(process.largest_x, max(64, min(process.rows, _MOST_ENTRIES // process.width)))
    rows = [_cumulative(*window) for window in process.windows(x)]
    return CountLaw(x, *(torch.cat(column) for column in zip(*rows, strict=True)))


def _cumulative(first: Tensor, pmf: Tensor) -> tuple[Tensor, Tensor]:
    cdf = pmf.cumsum(dim=1)
    return first.to(torch.int32), (cdf / cdf[:, -1:]).float()
