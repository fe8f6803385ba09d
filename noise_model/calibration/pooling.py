"""Means over many pixels, with the errors that their scatter shows, and without outliers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.calibration.streams import Offset, StreamStatistics, far_offsets, pair
from noise_model.forward_model import SATURATED_LOAD
from noise_model.sensor import Sensor

#: Half the width of a 95 % interval, in standard errors.
WIDTH_95 = 1.96

#: Robust standard deviations from the median beyond which a pixel or pair is left out: one in 2 million good ones.
OUTLYING = 5.0

#: This many events above the expected number are never an outlier: where few are expected, their law has a long tail.
FEW_EVENTS = 8

Mask = NDArray[np.bool_]


class Pooled(NamedTuple):
    """A mean and its standard error."""

    value: float
    error: float


NOTHING = Pooled(0.0, np.inf)


def within(values: Floats, weights: Floats, tolerance: float | Floats = 0.0) -> Mask:
    """Which of independent values are no outliers.

    Weights and tolerance are those of `pooled`.
    """
    away = np.abs(values - np.median(values)) * np.sqrt(weights)
    sd = 1.4826 * np.median(away)
    kept: Mask = away <= OUTLYING * sd + tolerance * np.sqrt(weights)
    return kept


def pooled(values: Floats, weights: Floats, tolerance: float | Floats = 0.0) -> Pooled:
    """Weighted mean of independent values, outliers left out.

    Weights are proportional to inverse variances. Outliers lie further than `tolerance` outside of the spread of the
    others.
    """
    if values.size < 2:
        return NOTHING
    kept = within(values, weights, tolerance)
    values, weights = values[kept], weights[kept]
    total = weights.sum()
    mean = (weights * values).sum() / total
    error = np.sqrt(np.square(weights * (values - mean)).sum() * values.size / max(values.size - 1, 1)) / total
    return Pooled(float(mean), float(error))


def joined(estimates: Sequence[Pooled]) -> Pooled:
    """Mean of independent estimates of one number, weighted by their errors."""
    known = [one for one in estimates if np.isfinite(one.error) and one.error > 0]
    if not known:
        return NOTHING
    weights = np.array([one.error**-2 for one in known])
    value = np.array([one.value for one in known]) @ weights / weights.sum()
    return Pooled(float(value), float(weights.sum() ** -0.5))


def dead_time_of(flat: StreamStatistics, sensor: Sensor) -> float:
    """Dead time of a flat, s: from its header, else the sensor's."""
    return sensor.dead_time if flat.dead_time is None else flat.dead_time


def load(flat: StreamStatistics, sensor: Sensor) -> Floats:
    """Load (H, W) of each pixel: the share of its frames (binary) or of its time (counting) for which it is blind."""
    counts = flat.mean / flat.exposure.cycles
    return counts if flat.binary else counts * (dead_time_of(flat, sensor) / flat.exposure.count_time)


def alive(flat: StreamStatistics, sensor: Sensor) -> Mask:
    """Pixels (H, W) that are good by the sensor's mask, and whose counts vary."""
    good: Mask = sensor.good.cpu().numpy()
    return good & (np.nan_to_num(flat.variance) > 0)


def usable(flat: StreamStatistics, sensor: Sensor) -> Mask:
    """Pixels (H, W) that are alive and not saturated."""
    return alive(flat, sensor) & (load(flat, sensor) < SATURATED_LOAD)


def common_mode(flat: StreamStatistics, good: Mask) -> Pooled:
    """Relative variance of the light, which all pixels share: from the covariance of pixels far from each other.

    It adds its product with the means of two pixels to the covariance of their counts. Where no two good pixels lie far
    from each other it is taken as 0, without error.
    """
    mean, variance, n = flat.mean, flat.variance, flat.images
    covariances, products, variances = [np.empty(0)], [np.empty(0)], [np.empty(0)]
    for offset in far_offsets(flat.shape):
        covariance, (a, b) = pairs(flat, offset, good)
        covariances.append(covariance)
        products.append(mean[a] * mean[b])
        variances.append(variance[a] * variance[b])
    covariance, product, both = map(np.concatenate, (covariances, products, variances))
    if covariance.size < 2:
        return Pooled(0.0, 0.0)
    return pooled(covariance / product, n * product**2 / both, FEW_EVENTS / (n * product))


def pairs(flat: StreamStatistics, offset: Offset, good: Mask) -> tuple[Floats, tuple[Mask, Mask]]:
    """Covariances (K,) of the pairs of good pixels `offset` apart, and where these pixels are.

    The two maps (H, W) select the first and the second pixels of the pairs, in the order of the covariances.
    """
    first, second = pair(offset, flat.shape)
    sides = np.zeros((2, *flat.shape), dtype=np.bool_)
    sides[0][first] = sides[1][second] = good[first] & good[second]
    return flat.covariance(offset)[sides[0]], (sides[0], sides[1])


def rounded_up(value: float) -> int:
    """The value rounded up to two digits."""
    unit: int = 10 ** max(0, int(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit
