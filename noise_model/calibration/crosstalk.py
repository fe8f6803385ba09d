"""The crosstalk kernel, from the covariance of pixels that lie side by side in flats.

An avalanche in j fires i with chance c, if i is armed. To first order the counts of an image then have the covariance

    Cov(i, j) = c (H_i V_j + H_j V_i) + s^2 m_i m_j

with V the variance of a pixel's counts, m their mean, and H what an additional event adds to the counts of a pixel on
average; s is the relative fluctuation of the light, which pairs far apart show.

Binary sums of N frames: H = (1 - pi) (1 + rho (1 - 1/N)): armed, and what its afterpulses add. Counting: H is the
derivative of a frame's mean counts by r T, about (1 - m tau / T)^2. V is the variance as observed, with whatever dead
time and afterpulses made of it. A covariance only shows c_ij + c_ji: the kernel comes out symmetric.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.signal import convolve2d

from noise_model.arrays import Floats
from noise_model.calibration.pooling import (
    FEW_EVENTS,
    NOTHING,
    WIDTH_95,
    Mask,
    Pooled,
    common_mode,
    dead_time_of,
    joined,
    pairs,
    pooled,
    rounded_up,
    usable,
)
from noise_model.calibration.streams import NEAR, Offset, StreamStatistics
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor

#: The nearest neighbours' crosstalk counts as measured if half the width of its 95 % interval is at most this (arrays
#: have 1e-3, twice as much), or at most half of its value. It also does if the interval excludes the assumed value.
DECIDED = 5e-4

#: (value, low, high) (5, 5) kernels, measured, remark
Kernel = tuple[Floats, Floats, Floats, bool, str]


def crosstalk_kernel(flats: Sequence[StreamStatistics], sensor: Sensor) -> Kernel:
    """Estimates the crosstalk kernel from flats.

    Args:
        sensor: whose good pixels, dead time and afterpulsing are used.

    Returns:
        value (5, 5), 0 where that is not excluded; low and high (5, 5), its 95 % interval; whether the flats decide it,
        else the value is the sensor's; a remark on how it was measured, or what measuring it would take.
    """
    value, error = np.zeros((5, 5)), np.zeros((5, 5))
    for offset in NEAR:
        estimate = joined([_pair_crosstalk(flat, offset, sensor) for flat in flats])
        for row, column in (offset, (-offset[0], -offset[1])):
            value[2 + row, 2 + column], error[2 + row, 2 + column] = estimate
    value -= _second_order(value, _mean_gain(flats, sensor))
    low, high = value - WIDTH_95 * error, value + WIDTH_95 * error
    half_width = WIDTH_95 * max((float(one) for one in error[[1, 2], [2, 1]] if np.isfinite(one)), default=np.inf)
    frames = sum(flat.frames for flat in flats)
    assumed = _assumed_kernel(sensor)
    possible = not any(assumed[place] < low[place] or assumed[place] > high[place] for place in ((1, 2), (2, 1)))
    if possible and half_width > max(DECIDED, float(value.max()) / 2):
        return assumed, low, high, False, _what_it_takes(half_width, frames)
    seen = np.where(low > 0, value, 0)  # otherwise sixteen values of pure noise would add up
    return seen, low, high, True, f"covariance of neighbours in {frames} frames of flats"


def _pair_crosstalk(flat: StreamStatistics, offset: Offset, sensor: Sensor) -> Pooled:
    """Crosstalk probability c between pixels `offset` apart, by one flat; paths over a third pixel are included."""
    good = usable(flat, sensor)
    covariance, (a, b) = pairs(flat, offset, good)
    if covariance.size < 2:
        return NOTHING
    light = common_mode(flat, good)
    mean, variance, gained = flat.mean, flat.variance, gain(flat, sensor)
    shared = gained[a] * variance[b] + gained[b] * variance[a]
    floor = mean[a] * mean[b]
    weight = flat.images * shared**2 / (variance[a] * variance[b])
    value, error = pooled((covariance - light.value * floor) / shared, weight, FEW_EVENTS / (flat.images * shared))
    return Pooled(value, float(np.hypot(error, light.error * np.average(floor / shared, weights=weight))))


def gain(flat: StreamStatistics, sensor: Sensor) -> Floats:
    """Mean counts (H, W) that one more avalanche adds to those of an image (H above)."""
    if not flat.binary:
        return _counting_gain(flat, sensor)
    armed = 1 - flat.mean / flat.exposure.cycles
    correlation = sensor.afterpulse_probability * armed
    return armed * (1 + correlation * (1 - 1 / flat.exposure.cycles))


def _counting_gain(flat: StreamStatistics, sensor: Sensor) -> Floats:
    sensor = replace(sensor, dead_time=dead_time_of(flat, sensor))
    if sensor.dead_time == 0:
        return np.ones(flat.shape)
    blind = torch.linspace(0, 0.98, 1000, dtype=torch.float64)
    rate = blind / (1 - blind) / sensor.dead_time
    mean = ForwardModel(sensor, flat.exposure).mean_per_frame(rate).numpy()
    slope = np.gradient(mean, rate.numpy() * flat.exposure.count_time)
    return np.asarray(np.interp(flat.mean / flat.exposure.cycles, mean, slope))


def _second_order(direct: Floats, armed: float) -> Floats:
    """What two crosstalks in a row, or two that one avalanche causes, add to the estimates (5, 5).

    With A = H c, the covariance is V (I - A)^-1 (I - A)^-T, whose term of second order is 3 A^2 V. A chance of 1 gives
    2 H V; divided by that, the term is 3/2 H c^2, where c^2 is the kernel convolved with itself.
    """
    kernel = direct.clip(min=0)
    for _ in range(2):
        paths = 1.5 * armed * convolve2d(kernel, kernel, mode="same")
        paths[2, 2] = 0
        kernel = (direct - paths).clip(min=0)
    return np.asarray(paths, dtype=np.float64)


def _mean_gain(flats: Sequence[StreamStatistics], sensor: Sensor) -> float:
    """Mean of `gain` over the good pixels of all flats."""
    goods: list[Mask] = [usable(flat, sensor) for flat in flats]
    gains = np.concatenate([gain(flat, sensor)[good] for flat, good in zip(flats, goods, strict=True)])
    return float(gains.mean()) if gains.size else 0.0


def _assumed_kernel(sensor: Sensor) -> Floats:
    """The sensor's kernel, cut or padded to (5, 5)."""
    kernel = sensor.crosstalk.cpu().double().numpy()
    padded = np.pad(kernel, 2)
    middle = padded.shape[0] // 2
    return padded[middle - 2 : middle + 3, middle - 2 : middle + 3]


def _what_it_takes(half_width: float, frames: int) -> str:
    if not np.isfinite(half_width):
        return "no two neighbours are good pixels in the flats"
    return (
        f"flats too short: {frames} frames tell the nearest neighbours' crosstalk to +-{half_width:.2g};"
        f" about {rounded_up(frames * (half_width / DECIDED) ** 2)} would tell it to +-{DECIDED:.2g}"
    )
