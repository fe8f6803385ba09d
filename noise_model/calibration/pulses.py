"""Afterpulsing and dead time, from flats.

A binary array read frame by frame shows afterpulsing as a correlation of successive frames, rho = a (1 - p), with p
the chance that a frame fires without it. Elsewhere afterpulsing and dead time show in how widely the counts scatter,
see `dispersion`.
"""

import math
from collections.abc import Sequence

import numpy as np

from noise_model.calibration.dispersion import Pulses, fit
from noise_model.calibration.pooling import (
    FEW_EVENTS,
    NOTHING,
    WIDTH_95,
    Pooled,
    alive,
    dead_time_of,
    joined,
    pooled,
    rounded_up,
    usable,
)
from noise_model.calibration.streams import LAGS, LONG_LAGS, StreamStatistics
from noise_model.estimates import Estimate
from noise_model.sensor import Sensor

#: A number counts as measured if half the width of its 95 % interval is at most this: of an afterpulse probability
#: (arrays have 0.2 to 2 %; half of its value is also enough), and of a dead time, relative to its value.
AFTERPULSING_DECIDED, DEAD_TIME_DECIDED = 2.5e-3, 0.1

_USUAL_AFTERPULSING = 0.01  # standard deviation of the prior knowledge, where the dead time is fitted
_TELLING_LOAD = 0.3  # of a flat that would show the dead time
_DIM_LOAD = 0.05  # a flat with less does not tell where to start
_USUAL_DEAD_TIME = 50e-9


def afterpulsing(flats: Sequence[StreamStatistics], sensor: Sensor) -> Estimate:
    """Estimates the probability that an avalanche fills a trap, from flats of one array.

    Args:
        sensor: whose good pixels, trap lifetime and, where a flat does not know it, dead time are used.

    Returns:
        The estimate; the sensor's own number, not measured, where the flats do not decide it.
    """
    known = sensor.afterpulse_probability
    if not sensor.binary and sensor.trap_lifetime == 0:
        return Estimate(known, 0.0, 1.0, False, "needs a trap lifetime, without which it has no meaning in a counter")
    found, how = _binary_afterpulsing(flats, sensor) if sensor.binary else _counting_afterpulsing(flats, sensor)
    half_width, frames = WIDTH_95 * found.error, sum(flat.frames for flat in flats)
    low, high = max(found.value - half_width, 0.0), min(max(found.value, 0.0) + half_width, 1.0)
    if half_width > max(AFTERPULSING_DECIDED, found.value / 2):
        return Estimate(known, low, high, False, _what_afterpulsing_takes(half_width, frames))
    return Estimate(max(found.value, 0.0), low, high, True, how)


def _binary_afterpulsing(flats: Sequence[StreamStatistics], sensor: Sensor) -> tuple[Pooled, str]:
    """Afterpulse probability of a binary array, and how it was measured."""
    single = [_afterpulsing_by_lags(flat, sensor) for flat in flats if flat.exposure.cycles == 1]
    summed = [flat for flat in flats if flat.exposure.cycles > 1]
    if not summed:
        return joined(single), "correlation of successive frames"
    start = Pulses(0.0, sensor.afterpulse_probability)
    found = joined([*single, fit(summed, sensor, start, dead_time_known=True)[1]])
    return found, "variance of sums of frames" + ", and correlation of successive frames" * bool(single)


def _afterpulsing_by_lags(flat: StreamStatistics, sensor: Sensor) -> Pooled:
    """Afterpulse probability by the covariance of successive frames.

    The covariance of frames that no afterpulse connects is taken off.
    """
    if flat.images <= LAGS[-1]:
        return NOTHING
    good = usable(flat, sensor)
    full, n = flat.mean[good], flat.images
    covariance = flat.lag_covariance[:, good]
    rho = (covariance[0] - covariance[LONG_LAGS].mean(axis=0)) / flat.variance[good]
    empty = 1 - full * (1 - rho)  # chance that a frame does not fire without afterpulses
    return pooled(rho / empty, n * (1 - full) ** 2, FEW_EVENTS / (n * full * (1 - full) ** 2))


def _counting_afterpulsing(flats: Sequence[StreamStatistics], sensor: Sensor) -> tuple[Pooled, str]:
    """Afterpulse probability of a counting array, and how it was measured."""
    how = f"variance of counts, for a trap lifetime of {sensor.trap_lifetime * 1e9:.3g} ns, which they do not tell"
    headers = {flat.dead_time for flat in flats}
    if len(headers) == 1 and None not in headers:
        start = Pulses(dead_time_of(flats[0], sensor), sensor.afterpulse_probability)
        return fit(flats, sensor, start, dead_time_known=True)[1], how
    return fit(flats, sensor, _first_guess(flats, sensor))[1], f"{how}; together with the dead time"


def dead_time(flats: Sequence[StreamStatistics], sensor: Sensor) -> Estimate:
    """Estimates the dead time of one array, s: from the flats' headers, else from the variance of their counts.

    Returns:
        The estimate; the sensor's own number, not measured, where the flats do not decide it.
    """
    if sensor.binary:
        return Estimate(0.0, 0.0, 0.0, True, "a binary array has none")
    headers = [flat.dead_time for flat in flats if flat.dead_time is not None]
    if headers:
        return Estimate(headers[0], headers[0], headers[0], True, "from the header")
    before = Pooled(sensor.afterpulse_probability, max(sensor.afterpulse_probability, _USUAL_AFTERPULSING))
    found, _ = fit(flats, sensor, _first_guess(flats, sensor), expected=before)
    half_width = WIDTH_95 * found.error
    low, high = max(found.value - half_width, 0.0), min(found.value + half_width, flats[0].exposure.count_time)
    if half_width > DEAD_TIME_DECIDED * found.value:
        return Estimate(sensor.dead_time, low, high, False, _what_dead_time_takes(flats[0], sensor))
    return Estimate(found.value, low, high, True, "variance of counts against their mean")


def _first_guess(flats: Sequence[StreamStatistics], sensor: Sensor) -> Pulses:
    """A rough dead time, from the Fano factor (1 - m tau / T)^2 of the brightest flat, to start a fit from."""
    brightest = max(flats, key=lambda flat: float(np.median(flat.mean)) / flat.exposure.most_cycles)
    good = alive(brightest, sensor)
    fano = float(np.median(brightest.variance[good] / brightest.mean[good])) if good.any() else 1.0
    load = 1 - math.sqrt(min(fano, 1.0))
    seconds = sensor.dead_time or _USUAL_DEAD_TIME
    if load > _DIM_LOAD:
        mean = float(np.median(brightest.mean[good])) / brightest.exposure.most_cycles
        seconds = load * brightest.exposure.count_time / mean
    return Pulses(seconds, sensor.afterpulse_probability)


def _what_afterpulsing_takes(half_width: float, frames: int) -> str:
    if not math.isfinite(half_width):
        return f"flats do not tell it: they need more than {LAGS[-1]} images, and two fluxes where dead time is unknown"
    needed = rounded_up(frames * (half_width / AFTERPULSING_DECIDED) ** 2)
    return (
        f"flats too short: {frames} frames tell it to +-{half_width:.2g};"
        f" about {needed} would tell it to +-{AFTERPULSING_DECIDED:.2g}"
    )


def _what_dead_time_takes(flat: StreamStatistics, sensor: Sensor) -> str:
    counts = _TELLING_LOAD * flat.exposure.count_time / (sensor.dead_time or _USUAL_DEAD_TIME)
    return f"flats too dim or too short to tell it: take one of about {counts:.2g} counts per frame, or give it"
