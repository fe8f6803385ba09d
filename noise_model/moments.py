"""Moments of the counts of one image: mean, variance and fourth central moment, over rates."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.laws import CountingProcess, root_grid

_ROWS = 513  # rates of a table; means between them are interpolated to 1e-5
_LONGEST = 1 << 20  # frames whose law is worked out; the sums of more have multiples of its cumulants


@dataclass(frozen=True)
class Moments:
    """Mean, variance and fourth central moment of the counts of one image, (R,) each, for a grid of rates x = r T."""

    x: Floats
    mean: Floats
    variance: Floats
    fourth: Floats


def moments(process: CountingProcess, brightest: float) -> Moments:
    """Moments for rates x up to `brightest` or more; computed once for every power of two of it."""
    largest = 2.0 ** math.ceil(math.log2(max(brightest, 1.0)))
    return _moments(replace(process, brightest=largest))


@lru_cache(maxsize=16)
def _moments(process: CountingProcess) -> Moments:
    x, part = root_grid(process.largest_x, _ROWS), replace(process, cycles=min(process.cycles, _LONGEST))
    rows = [window_moments(*window) for window in part.windows(x)]
    mean, variance, fourth = (torch.cat(column).numpy() for column in zip(*rows, strict=True))
    parts = process.cycles / part.cycles  # cumulants of sums add up
    fourth = parts * (fourth - 3 * variance**2) + 3 * (parts * variance) ** 2
    mean, variance = parts * mean, parts * variance
    return Moments(x.numpy(), np.maximum.accumulate(mean), variance, fourth)  # means fall only where a counter wraps


def window_moments(first: Tensor, pmf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and fourth central moment (R,) of laws.

    The laws are given by their first counts (R,), and the chances (R, C) of these and the counts that follow.
    """
    pmf = pmf / pmf.sum(dim=1, keepdim=True)
    count = torch.arange(pmf.shape[1], dtype=torch.float64)
    above = pmf @ count
    off = (count - above[:, None]).square()
    return first + above, (pmf * off).sum(dim=1), (pmf * off.square()).sum(dim=1)
