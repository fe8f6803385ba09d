"""Afterpulsing and dead time from the variance of counts.

In sums of binary frames afterpulses widen the variance. In counting arrays they do so too, while dead time narrows it
in proportion to the load, F = (1 - m tau / T)^2 for long frames: flats of several fluxes tell the two apart. Variances
are compared with the exact laws, pixel by pixel, and the ratio is pooled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from noise_model.arrays import Floats
from noise_model.calibration.pooling import NOTHING, Pooled, common_mode, usable, within
from noise_model.calibration.streams import StreamStatistics
from noise_model.forward_model import ForwardModel
from noise_model.laws import frame_law
from noise_model.sensor import Exposure, Sensor

_NODES = 24  # rates at which the law of a frame is computed, for the pixels of a flat
_MARGIN = 1.25  # afterpulses and an armed start may add this factor to the counts: the rates begin lower by it
_MOST_BLIND = 0.97

_AFTERPULSE_UNIT = 0.01  # steps of the solver are in units of this, and of the dead time it starts from
_STEPS, _LONGEST_STEP, _NO_STEP, _DIFFERENCE = 8, 0.5, 1e-3, 0.01
_LEAST_SHARE, _MOST_AFTERPULSING = 0.1, 0.3  # limits: lowest share of the first dead time; largest size of either sign


class Pulses(NamedTuple):
    """The numbers to find: dead time in s, and the probability that an avalanche fills a trap."""

    dead_time: float
    afterpulse_probability: float


@dataclass(frozen=True)
class Scatter:
    """Means and variances of the good pixels of one flat.

    Attributes:
        exposure: of an image.
        mean: (K,) counts of a hardware frame.
        variance: (K,) of an image's counts, without what fluctuations of the light add.
        error: (K,) relative standard error of that variance, to a per cent or so.
    """

    exposure: Exposure
    mean: Floats
    variance: Floats
    error: Floats

    @classmethod
    def of(cls, flat: StreamStatistics, sensor: Sensor) -> "Scatter":
        """The scatter of a flat."""
        good = usable(flat, sensor)
        mean = flat.mean[good]
        variance = flat.variance[good] - common_mode(flat, good).value * mean**2
        error = np.sqrt(2 / (flat.images - 1) + 1 / (flat.images * mean))
        return cls(flat.exposure, mean / flat.exposure.cycles, variance, error)

    def excess(self, pulses: Pulses, sensor: Sensor) -> Floats:
        """Relative excess (K,) of the variance over what `pulses` would make it."""
        law = binary_variance if sensor.binary else counting_variance
        model = ForwardModel(replace(sensor, **pulses._asdict()), self.exposure)
        return self.variance / law(self.mean, model) - 1

    def trimmed(self, pulses: Pulses, sensor: Sensor) -> "Scatter":
        """The same scatter without the pixels whose excess is an outlier."""
        kept = within(self.excess(pulses, sensor), self.error**-2)
        return replace(self, mean=self.mean[kept], variance=self.variance[kept], error=self.error[kept])

    def pooled(self, excess: Floats) -> Pooled:
        """Weighted mean of the pixels' excess, with its error from their scatter."""
        weights = self.error**-2 / (self.error**-2).sum()
        mean = weights @ excess
        return Pooled(float(mean), float(np.linalg.norm(weights * (excess - mean))))


def binary_variance(mean: Floats, model: ForwardModel) -> Floats:
    """Variance (K,) of sums of binary frames of mean counts `mean` (K,) each: a stationary two-state chain."""
    n, a = model.exposure.cycles, model.sensor.afterpulse_probability
    rho = a * (1 - mean * (1 - a) / (1 - a * mean))
    growth = n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2
    return np.asarray(mean * (1 - mean) * growth)


def counting_variance(mean: Floats, model: ForwardModel) -> Floats:
    """Variance (K,) of sums of counting frames of mean counts `mean` (K,) each.

    A negative afterpulse probability, which noise may make of 0, narrows the variance as much as a positive one widens
    it.
    """
    sensor, exposure = model.sensor, model.exposure
    if sensor.afterpulse_probability < 0:
        none, mirrored = (
            counting_variance(mean, replace(model, sensor=replace(sensor, afterpulse_probability=a)))
            for a in (0.0, -sensor.afterpulse_probability)
        )
        return 2 * none - mirrored
    from scipy.interpolate import CubicSpline

    one_frame = replace(model, exposure=replace(exposure, cycles=1))
    means, variances = _moments(_rates(mean, sensor.dead_time / exposure.count_time), one_frame)
    fano = CubicSpline(means, variances / means)
    return np.asarray(exposure.cycles * mean * fano(mean))


def _rates(mean: Floats, b: float) -> Floats:
    """Rates r T of a frame (_NODES,) that span the mean counts of all pixels."""
    ends = np.array([mean.min() / _MARGIN, mean.max()])
    low, high = ends / (1 - np.minimum(ends * b, _MOST_BLIND))
    return np.linspace(low**0.5, high**0.5, _NODES) ** 2


def _moments(x: Floats, model: ForwardModel) -> tuple[Floats, Floats]:
    pmf = frame_law(torch.from_numpy(x), model.process).numpy()
    k = np.arange(pmf.shape[1], dtype=np.float64)
    mean = pmf @ k
    return mean, (pmf * np.square(k - mean[:, None])).sum(axis=1)


def fit(
    flats: Sequence[StreamStatistics],
    sensor: Sensor,
    start: Pulses,
    *,
    dead_time_known: bool = False,
    expected: Pooled | None = None,
) -> tuple[Pooled, Pooled]:
    """Fits dead time and afterpulse probability to the variances of flats, by weighted least squares.

    Args:
        start: where to begin.
        dead_time_known: the dead time stays at that of `start`.
        expected: what is known of the afterpulse probability beforehand.
    """
    sensor, found = replace(sensor, dead_time=start.dead_time), start
    scatters = [scatter for scatter in (Scatter.of(flat, sensor) for flat in flats) if scatter.mean.size > 1]
    if not scatters:
        return NOTHING, NOTHING
    for _ in range(2):  # outliers are best recognised at the solution
        kept = [scatter.trimmed(found, sensor) for scatter in scatters]
        misfit = _misfit(kept, sensor, found, expected)
        found, covariance = _solved(misfit, found, [1] if dead_time_known else [0, 1])
    seconds, chance = zip(found, np.sqrt(np.diag(covariance)), strict=True)
    return Pooled(*map(float, seconds)), Pooled(*map(float, chance))


Misfit = Callable[[Pulses], Floats]


def _misfit(scatters: Sequence[Scatter], sensor: Sensor, near: Pulses, expected: Pooled | None) -> Misfit:
    """A function of the pulses that gives the excess variance of each flat, and the distance from what was expected.

    Both are in the standard errors that they have `near` the solution.
    """
    errors = np.array([scatter.pooled(scatter.excess(near, sensor)).error for scatter in scatters])

    def misfit(pulses: Pulses) -> Floats:
        excess = [scatter.pooled(scatter.excess(pulses, sensor)).value for scatter in scatters]
        away = [] if expected is None else [(pulses.afterpulse_probability - expected.value) / expected.error]
        return np.append(excess / errors, away)

    return misfit


def _solved(misfit: Misfit, start: Pulses, free: list[int]) -> tuple[Pulses, Floats]:
    """The least-squares solution (Gauss-Newton), and the covariance (2, 2) of both numbers.

    It is infinite for numbers that the flats leave open, 0 for one that is not free, and larger where the flats
    contradict each other.
    """
    unit = np.array([start.dead_time, _AFTERPULSE_UNIT])[free]
    found = np.array(start)
    for _ in range(_STEPS):
        away = misfit(Pulses(*found))
        slope = np.empty((len(away), len(free)))
        for column, which in enumerate(free):
            moved = found.copy()
            moved[which] += _DIFFERENCE * unit[column]
            slope[:, column] = (misfit(Pulses(*moved)) - away) / _DIFFERENCE
        step = np.clip(np.linalg.lstsq(slope, -away, rcond=None)[0], -_LONGEST_STEP, _LONGEST_STEP)
        found[free] += unit * step
        found = np.clip(found, (_LEAST_SHARE * start.dead_time, -_MOST_AFTERPULSING), (np.inf, _MOST_AFTERPULSING))
        if np.abs(step).max() < _NO_STEP:
            break
    return Pulses(*found), _covariance(slope / unit, away, free)


def _covariance(slope: Floats, away: Floats, free: list[int]) -> Floats:
    covariance = np.zeros((2, 2))
    freedom = len(away) - len(free)
    scale = max(1.0, float(away @ away) / freedom) if freedom > 0 else 1.0
    if np.linalg.matrix_rank(slope) < len(free):
        covariance[free, free] = np.inf
    else:
        covariance[np.ix_(free, free)] = scale * np.linalg.inv(slope.T @ slope)
    return covariance
