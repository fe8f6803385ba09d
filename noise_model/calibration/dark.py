"""Dark count rates from recordings in the dark: a map with credible intervals, their spread, hot and noisy pixels.

Dark counts come as a Poisson process, so a pixel's counts and its live time say all about its rate. What the sensor
does to them is undone in these two numbers: counts by afterpulsing and by crosstalk say less of a rate than counts of
its own, and a binary frame that fired twice counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from noise_model.arrays import Floats
from noise_model.calibration.blinking import blinking
from noise_model.calibration.rates import Evidence, Prior, fit_prior, posterior
from noise_model.calibration.streams import StreamStatistics
from noise_model.estimates import Estimate
from noise_model.forward_model import SATURATED_LOAD
from noise_model.sensor import HOT, NOISY, Sensor

#: A pixel is hot if its dark count rate is more likely than not above this multiple of the bulk's median.
HOT_FACTOR = 20.0

_WANTED_PRECISION = 0.1  # of the rate of an ordinary pixel
_NAMES = ("dark_bulk", "dark_bulk_sigma", "dark_hot_fraction", "dark_hot_median", "dark_hot_sigma")


@dataclass(frozen=True)
class DarkMap:
    """Dark count rates (H, W), cps, with their 95 % credible intervals.

    Attributes:
        mask: (H, W) pixel_mask bits HOT and NOISY.
        estimates: the spread of rates: medians in cps, sigma is the standard deviation of ln(rate).
    """

    rate: Floats
    low: Floats
    high: Floats
    mask: NDArray[np.int32]
    estimates: dict[str, Estimate]
    remarks: tuple[str, ...]


def dark_map(darks: Sequence[StreamStatistics], sensor: Sensor, crosstalk_error: Floats | None = None) -> DarkMap:
    """Estimates dark count rates from all recordings together.

    Args:
        darks: of equal shape (H, W).
        sensor: what is known so far, of that shape: dead time, afterpulsing, crosstalk, and dark rates to start from.
        crosstalk_error: (k, k) standard errors of the sensor's crosstalk; None where it is known.
    """
    counts, live = _poisson_equivalent(darks, sensor)
    indirect = _indirect_rate(darks, sensor, crosstalk_error)
    evidence = _own_evidence(counts, live, indirect, sensor.dark_count_rate.double().numpy())
    prior = fit_prior(evidence)
    rough = posterior(evidence, prior, HOT_FACTOR)
    rates = posterior(_own_evidence(counts, live, indirect, rough.mean), prior, HOT_FACTOR)
    mask = np.where(rates.above > 0.5, HOT, 0) | np.where(blinking(darks, sensor), NOISY, 0)
    remarks = _too_short(darks, prior) + _full_counters(darks)
    return DarkMap(rates.mean, rates.low, rates.high, mask.astype(np.int32), _estimates(prior), remarks)


def _poisson_equivalent(darks: Sequence[StreamStatistics], sensor: Sensor) -> tuple[Floats, Floats]:
    """Counts and live times (s), each (H, W), of a Poisson process that tells as much of the rate as the recordings."""
    law = _binary_equivalent if sensor.binary else _counting_equivalent
    counts, live = np.sum([law(dark, sensor) for dark in darks], axis=0)
    return counts, live


def _counting_equivalent(dark: StreamStatistics, sensor: Sensor) -> tuple[Floats, Floats]:
    """Counts and live times of a Poisson process, for a counting array: dead time and afterpulses taken off."""
    a, counts = sensor.afterpulse_in_frame, dark.total.astype(np.float64)
    live = np.maximum(dark.live_time - counts * sensor.dead_time, (1 - SATURATED_LOAD) * dark.live_time)
    return counts * (1 - a) / (1 + a), live / (1 + a)


def _binary_equivalent(dark: StreamStatistics, sensor: Sensor) -> tuple[Floats, Floats]:
    """Counts and live times of a Poisson process, for a binary array.

    They have the estimate of ln(rate) and its information, which are exact where nothing was counted.
    """
    n, a, time = dark.frames, sensor.afterpulse_probability, dark.exposure.count_time
    full = np.clip(dark.total, 1e-9, n - 0.5) / n  # the rate of a pixel that fired in every frame has no upper limit
    p = full * (1 - a) / (1 - a * full)
    x, rho = -np.log1p(-p), a * (1 - p)
    slope = (1 - a) / (1 - a * full) ** 2 / (1 - p)
    variance = full * (1 - full) / n * (1 + rho) / (1 - rho)
    counts = (x / slope) ** 2 / variance
    return counts, np.asarray(counts / x * time, dtype=np.float64)


def _indirect_rate(
    darks: Sequence[StreamStatistics], sensor: Sensor, crosstalk_error: Floats | None
) -> tuple[Floats, Floats]:
    """Rate (H, W) at which neighbours fire each pixel, counts/s, and its standard error."""
    live = sum(dark.live_time for dark in darks)
    rate = torch.from_numpy(np.sum([dark.total for dark in darks], axis=0) / live)
    indirect = sensor.fired_by_neighbours(rate).numpy()
    if crosstalk_error is None:
        return indirect, np.zeros_like(indirect)
    doubt = replace(sensor, crosstalk=torch.from_numpy(crosstalk_error**2))
    return indirect, doubt.fired_by_neighbours(rate**2).sqrt().numpy()


def _own_evidence(counts: Floats, live: Floats, indirect: tuple[Floats, Floats], guess: Floats) -> Evidence:
    """What the counts tell of each pixel's own rate, given another rate that adds to it.

    They are replaced by counts and live times of a Poisson process whose likelihood has the same slope and curvature,
    by ln(rate), near the rate itself. An error of the other rate makes the counts tell less.
    """
    other, error = indirect
    rate = np.maximum(guess, counts / live - other) + 1e-9
    own = rate / (rate + other)
    counts, live = counts * own**2, live - counts * own * (1 - own) / rate
    share = 1 / (1 + counts * (error / rate) ** 2)
    return Evidence.of(counts * share, live * share)


def _estimates(prior: Prior) -> dict[str, Estimate]:
    ends = prior.interval
    values = np.exp([ends[0], prior.theta, ends[1]])
    values[:, 2] = expit([ends[0, 2], prior.theta[2], ends[1, 2]])
    return {
        name: Estimate(
            float(value), float(low), float(high), bool(decided), "" if decided else "too few counts to tell"
        )
        for name, low, value, high, decided in zip(_NAMES, *values, prior.decided, strict=True)
    }


def _too_short(darks: Sequence[StreamStatistics], prior: Prior) -> tuple[str, ...]:
    live, bulk = sum(dark.live_time for dark in darks), float(np.exp(prior.theta[0]))
    wanted = 1 / (bulk * _WANTED_PRECISION**2)
    if live >= wanted:
        return ()
    return (
        f"{live:.3g} s in the dark give an ordinary pixel ({bulk:.3g} cps) {bulk * live:.2g} counts: its rate is mostly"
        f" that of similar pixels. {wanted:.2g} s would measure it to {_WANTED_PRECISION:.0%}.",
    )


def _full_counters(darks: Sequence[StreamStatistics]) -> tuple[str, ...]:
    full = int(np.any([dark.saturated > 0 for dark in darks], axis=0).sum())
    if darks[0].binary or not full:
        return ()
    return (f"{full} pixels filled their counter in the dark: their dark rates are lower bounds.",)
