"""The generator published with the reference work on 64x32 single-photon images, as loops: a yardstick for speed, and a
list of what not to repeat.

Written from its description: sub-frames of 20 ns, whose photons are drawn as a bit; the detection efficiency, applied
to that bit; an afterpulse within the same sub-frame; crosstalk at a constant chance, whatever the neighbours did; and
the dark counts of 60,000 sub-frames, drawn once and scaled down. No dead time, and all pixels alike. White is 0.2, 0.4
or 0.8 photons a sub-frame (laser at 10, 20, 40 mW), and images are sums of 1 to 1000 sub-frames.
"""

import math

import numpy as np
from numpy.typing import NDArray

SUBFRAME = 20e-9  # s
PDE = 0.5
AFTERPULSING = 0.01
CROSSTALK = 1e-4
DARK_SUBFRAMES = 60_000
DARK_COUNTS = 958 / 2048  # of a mean pixel in so many sub-frames


def sample(
    photons_per_subframe: NDArray[np.floating],
    frames: int,
    rng: np.random.Generator,
    *,
    pde: float = PDE,
    afterpulsing: float = AFTERPULSING,
    crosstalk: float = CROSSTALK,
    dark_counts: float = DARK_COUNTS,
) -> NDArray[np.float64]:
    """(H, W) counts of the sum of `frames` sub-frames, for the mean photons (H, W) that fall on each pixel in one.
    They are no integers: the dark counts come as fractions."""
    height, width = photons_per_subframe.shape
    counts = np.zeros((height, width))
    for _ in range(frames):
        for row in range(height):
            for column in range(width):
                counts[row, column] += _subframe(photons_per_subframe[row, column], rng, pde, afterpulsing, crosstalk)
    for row in range(height):
        for column in range(width):
            counts[row, column] += rng.poisson(dark_counts) * frames / DARK_SUBFRAMES
    return counts


def _subframe(photons: float, rng: np.random.Generator, pde: float, afterpulsing: float, crosstalk: float) -> int:
    arrived = rng.random() < 1 - math.exp(-photons)
    fired = arrived and rng.random() < pde
    again = fired and rng.random() < afterpulsing
    from_neighbour = rng.random() < crosstalk
    return fired + again + from_neighbour


def stretched(counts: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H, W) from 0 to 1, as the images are stored: the flux is lost."""
    low, high = counts.min(), counts.max()
    return np.asarray((counts - low) / (high - low), dtype=np.float64)
