"""Finding hot pixels: those that count far more than a restored image and all around them do."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats

_OUTSTANDING = 5.0  # standard deviations above the restored image, and above all neighbours but one


def hot_pixels(counts: Floats, expected: Floats, variance: Floats, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Good pixels (..., H, W) whose counts are far above those expected of a restored image, and above all neighbours.

    Args:
        counts: as recorded.
        expected, variance: mean and variance of the counts that the restored rates lead to.
        good: (H, W), pixels that the sensor's mask does not leave out.
    """
    return (counts - expected > _OUTSTANDING * np.sqrt(variance)) & stands_out(counts, good) & good


def stands_out(counts: Floats, good: NDArray[np.bool_], times: float = 1.0) -> NDArray[np.bool_]:
    """Pixels (..., H, W) that count far more than all of their eight neighbours but one.

    Hot pixels do, alone or in pairs; of thin lines only the ends do. The difference is 5 of its standard deviations or
    more, and the pixel counts `times` as much as those neighbours.

    Args:
        good: (H, W), pixels that are compared with; others count as neighbours without counts.
    """
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
