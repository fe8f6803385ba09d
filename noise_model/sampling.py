"""Counts from rates, with every effect of a sensor, at a few nanoseconds a count.

The exact law of an image's counts is tabulated once per exposure (`noise_model.tables`) and drawn from by look-up; what
neighbours fire is added to it: on a CPU in compiled loops, on other devices by torch, in the same steps.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from noise_model import compiled_sampling, torch_sampling
from noise_model.crosstalk import Crosstalk
from noise_model.laws import Shape, root_grid
from noise_model.sensor import Exposure, Sensor
from noise_model.tables import parts

_MOST_ROWS_ENTRIES = 1 << 22


@dataclass(frozen=True)
class CountLaw:
    """The law of the counts of one image, for a grid of rates.

    Attributes:
        x: (R,) grid of r T, float64, even in its square root from 0.
        mean: (R,) mean counts, float64.
        first: (R,) int32, the count of the first column; those below have no chance worth keeping.
        cdf: (R, C) float32, chance of at most first + c counts.
    """

    x: Tensor
    mean: Tensor
    first: Tensor
    cdf: Tensor


def count_law(exposure: Exposure, sensor: Sensor) -> CountLaw:
    """The law of the counts of one image before crosstalk. A long exposure gets fewer rows, to bound the table."""
    return _count_law(Shape.of(exposure, sensor))


@lru_cache(maxsize=8)
def _count_law(shape: Shape) -> CountLaw:
    x = root_grid(shape.largest_x, max(64, min(shape.rows, _MOST_ROWS_ENTRIES // shape.width)))
    rows = [_cumulative(*window) for window in shape.windows(x)]
    return CountLaw(x, *(torch.cat(column) for column in zip(*rows, strict=True)))


def _cumulative(first: Tensor, pmf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cdf = pmf.cumsum(dim=1)
    mean = first + (pmf @ torch.arange(pmf.shape[1], dtype=torch.float64)) / cdf[:, -1]
    return mean, first.to(torch.int32), (cdf / cdf[:, -1:]).float()


def sample_counts(photon_rate: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Counts of images summed from N frames, with every effect of the sensor.

    Args:
        photon_rate: (..., H, W) rate of photons detected by a pixel of mean PDE, counts/s.
        exposure, sensor: how it is taken, on the device of `photon_rate`.
        generator: the only source of randomness, on that device too.

    Returns:
        (..., H, W) int32.
    """
    shape = Shape.of(exposure, sensor)
    crosstalk = Crosstalk.of(exposure, sensor)
    gain = sensor.pde / sensor.mean_pde * exposure.count_time
    dark = sensor.dark_count_rate * exposure.count_time
    if photon_rate.device.type == "cpu":
        return compiled_sampling.draw_counts(photon_rate, gain, dark, shape, crosstalk, generator)
    law = list(parts(shape, photon_rate.device))
    return torch_sampling.draw_counts(photon_rate * gain + dark, law, crosstalk, generator)
