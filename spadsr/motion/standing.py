"""Hot pixels of a sensor that is not known: they stand still while the scene moves.

In dim light an array would be aligned to them rather than to the scene, and a merge would draw each as a streak. Before
a path is known they are pixels far above those around them that count evenly in time, which a feature of a scene that
moves over a pixel does not; once it is known, those that count more than the scene along the path explains.
"""

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from spadsr.motion.blocks import Blocks

_PARTS = 16  # that time is divided into
_STANDARD_ERRORS, _EVEN = 5.0, 3.0
_TIMES = 1.5  # what a pixel counts over what the brightest but one of its neighbours does, at least
_EXCESS = 0.25  # of what the scene explains, at least: efficiencies differ by less
_BESIDE = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
_ROUNDS = 3  # pixels found in one are not compared with in the next


def standing_out(blocks: Blocks) -> NDArray[np.bool_]:
    """Good pixels (H, W) that count far more than those around them, and evenly in time.

    None are looked for where the maps of the sensor are known: its dark counts explain hot pixels.
    """
    found = np.zeros(blocks.good.shape, bool)
    if blocks.sensor.measured:
        return found
    total = blocks.counts.sum(axis=0, dtype=np.float64)
    even = _even(blocks.joined(-(-len(blocks) // _PARTS)), total)
    for _ in range(_ROUNDS):
        used = blocks.good & ~found
        beside = second_brightest(np.where(used, total, 0))
        above = 2 * (np.sqrt(total + 0.375) - np.sqrt(beside + 0.375))  # Anscombe: of standard deviation sqrt(2)
        found |= used & even & (above > _STANDARD_ERRORS * np.sqrt(2)) & (total > _TIMES * beside)
    return found


def unexplained(residual: Floats, variance: Floats, mean: Floats) -> NDArray[np.bool_]:
    """Pixels (H W,) whose counts are above those of the scene that they looked at along a path.

    Args:
        residual, variance, mean: (H W,), of the counts of all blocks; 0 of pixels that saw nothing of it.
    """
    errors = residual / np.sqrt(np.maximum(variance, 1e-9))
    return np.asarray((errors > _STANDARD_ERRORS) & (residual > _EXCESS * mean))


def second_brightest(values: Floats) -> Floats:
    """The second highest of the eight neighbours of each pixel (H, W), mirrored beyond the edge."""
    height, width = values.shape
    wide = np.pad(values, 1, mode="reflect")
    first = second = np.full(values.shape, -np.inf)
    for row, column in _BESIDE:
        beside = wide[row : row + height, column : column + width]
        second = np.maximum(second, np.minimum(first, beside))
        first = np.maximum(first, beside)
    return second


def _even(parts: Blocks, total: Floats) -> NDArray[np.bool_]:
    """Pixels whose counts vary no more from part to part than chance explains, beside a common brightness."""
    whole = parts.counts[:, parts.good].sum(axis=1, dtype=np.float64)
    expected = total * (whole / max(whole.sum(), 1))[:, None, None]
    chi_squared = (np.square(parts.counts - expected) / np.maximum(expected, 1e-9)).sum(axis=0)
    degrees = max(len(parts) - 1, 1)
    return np.asarray(chi_squared < degrees + _EVEN * np.sqrt(2 * degrees))
