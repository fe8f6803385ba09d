"""Smooth paths: what blocks say of their poses, joined by how little a path bends.

A path is drawn with second differences of some standard deviation, which the data choose by their marginal likelihood
(empirical Bayes). Poses here are in pixels in all coordinates: turns are measured at the rim.

Sources: Whittaker, Proc. Edinburgh Math. Soc. 41 (1923) 63; MacKay, Neural Computation 4 (1992) 415.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from noise_model.arrays import Floats
from spadsr.motion.kernels import bend_evidence

#: Standard deviations of the second differences of a path, pixels, among which the data choose.
BENDS = (0.003, 0.01, 0.02, 0.04, 0.07, 0.12, 0.2, 0.35, 0.6, 1.0)

_WEAK = 1e-2  # information, pixels^-2, on every pose: a path of which nothing is known stays near
_AT_ONCE = 512


class Smoothed(NamedTuple):
    """The most probable path (G, d), its standard deviations, and (d,) those of its second differences."""

    path: Floats
    sd: Floats
    bends: Floats


def smooth_path(start: Floats, slopes: Floats, information: Floats) -> Smoothed:
    """The path that the data of all blocks and its smoothness make most probable together.

    Each coordinate bends as much as its own data say.

    Args:
        start: (G, d) poses at which the log likelihood of each block has
        slopes: (G, d), its first derivatives, and
        information: (G, d, d), Fisher's information.
    """
    blocks, size = start.shape
    towards = np.einsum("gij,gj->gi", information, start) + slopes
    bends = np.array([_best_bend(information[:, i, i], start[:, i], slopes[:, i]) for i in range(size)])
    factor = cholesky_banded(_banded(information, bends), lower=True)
    path = cho_solve_banded((factor, True), towards.ravel())
    return Smoothed(path.reshape(blocks, size), np.sqrt(_variances(factor)).reshape(blocks, size), bends)


def _best_bend(information: Floats, start: Floats, slopes: Floats) -> float:
    """How much a coordinate bends: what its own data (G,) make most probable."""
    towards = information * start + slopes
    return BENDS[int(np.argmax([bend_evidence(information + _WEAK, towards, bend) for bend in BENDS]))]


def _banded(information: Floats, bends: Floats) -> Floats:
    """The information on the whole path, blocks and smoothness, in the lower banded form of LAPACK."""
    blocks, size = information.shape[:2]
    banded = np.zeros((2 * size + 1, blocks * size))
    for i in range(size):
        for j in range(i + 1):
            banded[i - j, j::size] += information[:, i, j]
    banded[0] += _WEAK
    weights, inner = (1.0, -2.0, 1.0), max(blocks - 2, 0)
    for first in range(3):
        for second in range(first + 1):
            product = weights[first] * weights[second] / np.square(bends)
            banded[(first - second) * size, second * size : (second + inner) * size] += np.tile(product, inner)
    return banded


def _variances(factor: Floats) -> Floats:
    """The diagonal of the inverse of a banded matrix, from its Cholesky factor."""
    total = factor.shape[1]
    variances = np.empty(total)
    for start in range(0, total, _AT_ONCE):
        columns = np.arange(start, min(start + _AT_ONCE, total))
        unit = np.zeros((total, len(columns)))
        unit[columns, columns - start] = 1
        variances[columns] = cho_solve_banded((factor, True), unit)[columns, columns - start]
    return variances
