"""Finding pixels that count far more than all around them, as hot pixels do."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats

_OUTSTANDING = 5.0  # standard deviations above the answer, and above all neighbours but one


def stands_out(counts: Floats, good: NDArray[np.bool_], times: float = 1.0) -> NDArray[np.bool_]:
    """(..., H, W): pixels whose counts are 5 standard deviations of their difference above those of all the eight
    around them but one, and so many times as high, as hot pixels are, alone or in pairs; of thin lines only the
    ends are. `good` (H, W) says which pixels have a say."""
    root = 2 * np.sqrt(counts + 0.375)  # of standard deviation 1 (Anscombe), or less where counts spread less
    first, second = np.zeros_like(root), np.zeros_like(root)
    for beside in _around(np.where(good, root, 0)):
        np.maximum(second, np.minimum(first, beside), out=second)
        np.maximum(first, beside, out=first)
    return np.asarray((root - second > _OUTSTANDING * math.sqrt(2)) & (root > math.sqrt(times) * second))


def _around(values: Floats) -> Iterator[Floats]:
    """The eight neighbours of every pixel (..., H, W), mirrored beyond the edge, so that no line ends there."""
    height, width = values.shape[-2:]
    wide = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)], mode="reflect")
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                yield wide[..., row : row + height, column : column + width]
