"""Pixels whose dark count rate is not steady: random telegraph noise, found by pairs of counts close in time.

A steady pixel spreads its counts evenly over the recording. The number of pairs of counts in the same image, or in
images a few apart, then has a known mean for a given number of counts. Its variance and skewness are those of a Poisson
number, except where many counts share an image. A rate that goes on and off puts more counts close together.

Sources: telegraph noise of SPADs: Karami et al., IEEE TED 57 (2010) 692. False discovery rate: Benjamini & Hochberg,
J. R. Stat. Soc. B 57 (1995) 289.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from noise_model.arrays import Floats
from noise_model.calibration.streams import LAGS, StreamStatistics
from noise_model.sensor import Sensor

FALSE_DISCOVERIES = 0.01  # share of steady pixels among the pixels found
_LEAST_SWING = 0.1  # rms of the rate's swings over its mean; temperature can cause smaller swings


def blinking(darks: Sequence[StreamStatistics], sensor: Sensor) -> NDArray[np.bool_]:
    """Pixels (H, W) whose dark count rate swings by 10 % or more; 1 % of those found are steady after all."""
    tests = [
        _p_values([_pairs_in_one_image(dark, sensor) for dark in darks]),
        _p_values([_pairs_in_later_images(dark) for dark in darks]),
    ]
    return _discoveries(np.minimum(1, len(tests) * np.minimum(*tests)))


def _pairs_in_one_image(dark: StreamStatistics, sensor: Sensor) -> Floats:
    """Pairs of counts in one image (4, H, W): found, expected, expected by chance alone, and their skewness.

    Pixels differ in afterpulsing: the number expected allows twice the afterpulses of the array.
    """
    counts, n = dark.total.astype(np.float64), dark.images
    by_chance = counts * (counts - 1) / (2 * n)
    expected = np.maximum(0, by_chance + (_fano(dark, sensor) - 1) * counts / 2)
    return np.stack([(dark.square - dark.total) / 2, expected, by_chance, expected * (1 + 2 * counts / n)])


def _pairs_in_later_images(dark: StreamStatistics) -> Floats:
    """Pairs of counts two and more images apart (4, H, W), which no afterpulse connects, as `_pairs_in_one_image`."""
    lags, n = np.array([lag for lag in LAGS[1:] if 2 * lag <= dark.images], dtype=np.int64), dark.images
    used = slice(1, 1 + len(lags))
    pairs = (n - lags)[:, None, None]
    itself = (
        (n - 2 * lags)[:, None, None] / pairs * dark.mean
    )  # products of a count with itself, which the product of the sums contains
    expected = np.maximum(0, dark.leading[used] / pairs * dark.trailing[used] - itself).sum(axis=0)
    triples = sum(
        n - a - b for a in lags for b in lags if a + b in lags
    )  # triples of images whose three distances are all among the lags
    skew = expected + 6 * triples * dark.mean**3
    return np.stack([dark.lagged[used].sum(axis=0), expected, expected, skew])


def _fano(dark: StreamStatistics, sensor: Sensor) -> Floats:
    """Largest variance over mean (H, W) that the counts of an image of a steady pixel can have."""
    per_frame = dark.total / dark.frames
    if sensor.binary:
        a, n = min(0.5, 2 * sensor.afterpulse_probability), dark.exposure.cycles
        rho = a * (1 - per_frame)
        gain = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2)
        return np.asarray((1 - per_frame) * gain)
    a = min(0.5, 2 * sensor.afterpulse_in_frame)
    armed = 1 - per_frame * sensor.dead_time / dark.exposure.count_time
    return np.asarray(armed**2 * (1 + a) / (1 - a))


def _p_values(parts: list[Floats]) -> Floats:
    """Probability (H, W) of so many pairs in a steady pixel; 1 where its swings would be small.

    The number of pairs is treated as a Poisson number, scaled and shifted to the right mean, variance and skewness.
    """
    pairs, expected, by_chance, skew = np.sum(parts, axis=0)
    scale = np.divide(skew, expected, out=np.ones_like(skew), where=expected > 0)
    poisson, excess = expected / scale**2, pairs - expected
    reached = gammainc(np.maximum(excess / scale + poisson, 1e-9), poisson)
    return np.where(excess > _LEAST_SWING**2 * by_chance, reached, 1.0)


def _discoveries(p: Floats) -> NDArray[np.bool_]:
    """Pixels whose p-values stand out at the false discovery rate FALSE_DISCOVERIES."""
    order = np.sort(p, axis=None)
    passed = np.flatnonzero(order <= FALSE_DISCOVERIES * np.arange(1, p.size + 1) / p.size)
    return np.asarray(p <= order[passed[-1]]) if len(passed) else np.zeros(p.shape, dtype=np.bool_)
