"""Peak-normalised frames, whose largest count was stretched to 255: the integer counts can be recovered."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Source
from hardware.settings import PartialSettings
from noise_model.arrays import Counts

#: The largest count that is looked for.
LARGEST = 64

#: The settings that the public 64x32 frames show: counting pixels (9 bits) that fill up at exposure / dead time = 17.5.
PUBLIC_CAMERA = PartialSettings(count_time=875e-9, dead_time=50e-9, counter_bits=9)


def as_source(source: Source) -> Source | None:
    """A source of the counts of a peak-normalised frame; None where `source` is anything else."""
    if source.shape[0] != 1 or source.dtype != np.uint8:
        return None
    image = source.read(0, 1)
    largest = largest_count(np.unique(image))
    if largest is None:
        return None
    counts = recover(image, largest)
    binary = PartialSettings(counter_bits=1, cycles=1)
    return replace(
        source,
        read=lambda start, stop: counts[start:stop],
        usual=binary if largest == 1 else PUBLIC_CAMERA,
        remarks=(_remark(largest),),
    )


def largest_count(levels: NDArray[np.uint8]) -> int | None:
    """The largest count M of a frame: the smallest for which all sorted grey `levels` are round(255 k / M), k = 0 to M.

    None if there is none, or if such levels may well occur by chance. The tolerance admits both ways of rounding a
    half, as single-precision arithmetic gives either.
    """
    if levels.size < 2 or levels[-1] != 255:
        return None
    inner = levels[(levels > 0) & (levels < 255)].size
    for largest in range(1, LARGEST + 1):
        comb = 255 / largest * np.rint(levels * (largest / 255))
        if np.abs(levels - comb).max() < 0.501:
            return largest if largest == 1 or _chance(inner, largest) < 0.05 else None
    return None


def recover(image: Counts, largest: int) -> NDArray[np.uint8]:
    """Counts k from grey levels round(255 k / largest)."""
    return np.rint(image * (largest / 255)).astype(np.uint8)


def _chance(inner: int, largest: int) -> float:
    """How many values of M up to `largest` would fit `inner` random levels by chance."""
    return sum(((teeth + 1) / 256) ** inner for teeth in range(2, largest + 1))


def _remark(largest: int) -> str:
    if largest == 1:
        return "levels 0 and 255 only: read as one binary frame (if they are counts, save them as .npy or .h5)"
    return (
        f"peak-normalised: levels are round(255 k / {largest}), integer counts 0 to {largest} recovered, settings of"
        " the public 64x32 camera unless given (if they are counts as they stand, save them as .npy or .h5)"
    )
