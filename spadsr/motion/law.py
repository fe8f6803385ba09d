"""The quasi-likelihood of counts: how well some light explains them, for binary and counting arrays alike.

Where mean and variance are functions of the light x, the derivative of the quasi-likelihood of a count k is
(k - mean) / variance times that of the mean. For a binary array without afterpulses it is the binomial likelihood
itself.

Source: Wedderburn, Biometrika 61 (1974) 439.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.laws import CountingProcess
from noise_model.moments import moments
from spadsr.motion.kernels import Law

_LEAST_SPREAD = 1e-3  # a saturated pixel does not vary, and says nothing


def law_of(model: ForwardModel, brightest: float) -> Law:
    """The law of the counts of a frame, for light up to `brightest` counts a frame or more.

    Args:
        model: its exposure says how many frames are summed in the counts whose variance is wanted.
    """
    return _law(model.process, 2.0 ** math.ceil(math.log2(max(brightest, 1.0))))


@lru_cache(maxsize=16)
def _law(process: CountingProcess, brightest: float) -> Law:
    cycles, table = process.cycles, moments(process, brightest)
    root, mean = np.sqrt(table.x), table.mean / cycles
    slope = np.gradient(mean, root)
    slope[1:] /= 2 * root[1:]
    slope[0] = mean[1] / table.x[1]
    spread = np.ones_like(mean)
    spread[1:] = np.maximum(table.variance[1:] / table.mean[1:], _LEAST_SPREAD)
    spread[0] = spread[1]
    mean[0] = mean[1] * 1e-6
    between = (spread[1:] + spread[:-1]) / 2
    above = np.append(0, np.cumsum((1 / between - 1) * np.diff(np.log(mean))))
    below = np.append(0, np.cumsum(np.diff(mean) / between))
    return Law((len(root) - 1) / float(root[-1]), mean, np.maximum(slope, 0), spread, above, below)


def light_of(law: Law, mean: Floats) -> Floats:
    """The light that leads to mean counts of a frame."""
    rows = np.interp(mean, law.mean, np.arange(len(law.mean)))
    return np.asarray(np.square(rows / law.rows))


def typical_frames(frames: NDArray[Any]) -> int:
    """About as many frames as a cell that pixels looked at has in the mean.

    They are a power of two: laws of few numbers of frames are needed, and kept.
    """
    looked = frames[frames > 0]
    return 1 << round(np.log2(looked.mean())) if looked.size else 1
