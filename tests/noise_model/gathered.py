"""Statistics of recordings for the tests of calibration: of counts at hand, or straight from the avalanches."""

from typing import Any

import numpy as np
import torch
from avalanches import Array, stream

from noise_model.calibration.streams import Stream, StreamStatistics, gather
from noise_model.sensor import Exposure, Sensor


def recorded(counts: np.ndarray, cycles: int = 1, bits: int = 1, name: str = "flat.h5", **changes: Any) -> Stream:
    """Counts (T, H, W) as a recording of frames of 10 us."""
    said = {"exposure": Exposure(1e-5, cycles), "dead_time": None, "counter_bits": bits} | changes
    return Stream(name, counts.shape, blocks=lambda: iter([counts]), **said)


def simulated(array: Array, images: int, frames: int = 1, seed: int = 1) -> StreamStatistics:
    """Statistics of images of `frames` frames each; the header does not say the dead time of a counting array."""
    shape, exposure = (images, *np.shape(array.rate)), Exposure(array.count_time, frames)
    known = 0.0 if array.counter_bits == 1 else None
    blocks = lambda: stream(array, images, frames, seed)  # noqa: E731
    return gather(Stream("flat.h5", shape, exposure, known, array.counter_bits, blocks))


def binary_array(p: float, shape: tuple[int, int], **numbers: Any) -> Array:
    """Pixels that fire in a frame with chance p, within 3 %."""
    spread = 1 + 0.03 * np.random.default_rng(7).standard_normal(shape)
    return Array(-np.log1p(-p) * spread / 1e-5, 1e-5, **numbers)


def counting_array(load: float, shape: tuple[int, int], count_time: float, **numbers: Any) -> Array:
    """Pixels that are blind for a share `load` of the time, about, after dead times of 50 ns."""
    spread = 1 + 0.03 * np.random.default_rng(7).standard_normal(shape)
    return Array(load / (1 - load) / 50e-9 * spread, count_time, counter_bits=9, dead_time=50e-9, **numbers)


def guess(shape: tuple[int, int], bits: int = 1, **numbers: Any) -> Sensor:
    """The sensor to start from."""
    maps = {"pde": torch.full(shape, 0.5), "dark_count_rate": torch.zeros(shape)}
    return Sensor(**({"name": "guess", "dead_time": 0.0, "counter_bits": bits} | maps | numbers))
