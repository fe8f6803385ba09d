"""Spread of counts that other public recordings show, beside what the laws say."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from real_recordings import SPC3_FRAME, SPC3_FRAMES, Counts
from scipy import stats
from scipy.ndimage import correlate, median_filter

from noise_model.estimates import Estimate

TWO_SIDED = 1.96
BANDS = (0.03, 0.06, 0.1, 0.15, 0.25)
NEAREST = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
DIAGONAL = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]])
_CHANCES = np.linspace(0, 2e-3, 501)
_DEAD_TIMES = np.linspace(0, 300e-9, 601)


@dataclass(frozen=True)
class Ratio:
    """What was measured over what is expected."""

    value: float
    error: float

    @property
    def z(self) -> float:
        """Standard errors from 1."""
        return (self.value - 1) / self.error


def nested(few: Counts, many: Counts, n: int, of: int) -> Ratio:
    """Spread of averages of n binary frames around one of `of` frames that holds them: given that k of these fired, the
    count of the n is hypergeometric, whatever the pixel's rate. Its variance, over n^2, is p (1 - p) (1/n - 1/of)."""
    return _spread(few, many, n, of)


def apart(few: Counts, many: Counts, n: int, of: int) -> Ratio:
    """The same if they share no frame: given the sum of both, the count of the n is hypergeometric among n + of."""
    return _spread(few, few + many, n, n + of)


def _spread(few: Counts, many: Counts, n: int, of: int) -> Ratio:
    p = many / of
    square, variance = (few - n * p) ** 2, n * p * (1 - p) * (of - n) / (of - 1)
    ratio = float(square.sum() / variance.sum())
    return Ratio(ratio, float(np.sqrt(((square - ratio * variance) ** 2).sum()) / variance.sum()))


def chi_square(few: Counts, many: Counts, n: int, of: int) -> tuple[float, int]:
    """Of `nested` in bands of the share of frames that fired, and the bands that there are."""
    open_cases = (many > 0) & (many < of)
    few, many = few[open_cases], many[open_cases]
    band = np.digitize(many / of, BANDS)
    squares = [nested(few[band == b], many[band == b], n, of).z ** 2 for b in np.unique(band)]
    return float(sum(squares)), len(squares)


def impossible(few: Counts, many: Counts, n: int, of: int) -> NDArray[np.bool_]:
    """Pixels where more of the n frames fired, or failed to, than of all."""
    return np.asarray((few > many) | (n - few > of - many))


def dispersion(frames: Counts) -> Estimate:
    """Variance over mean of (T, H, W) counts, pooled over pixels: Pearson's index of each, whose mean and variance are
    known for Poisson counts given their sum n: T - 1 and 2 (T - 1) (1 - 1/n)."""
    total = frames.sum(axis=0)
    seen = frames[:, total > 0]
    n, degrees = seen.sum(axis=0), len(frames) - 1
    index = ((seen - n / len(frames)) ** 2).sum(axis=0) / (n / len(frames))
    value = float(index.sum()) / (degrees * n.size)
    error = float(np.sqrt((2 * degrees * (1 - 1 / n)).sum())) / (degrees * n.size)
    return Estimate(value, value - TWO_SIDED * error, value + TWO_SIDED * error)


def hot_exposure(dark: Counts, images: Counts) -> Estimate:
    """Live time (s) of (n, 64, 32) integrated images, from hot pixels (500 cps and more) where hardly any light falls:
    their counts beyond the median of their neighbours, over those of dark images (T, 32, 32) of the sensor."""
    image, total = images[:, : dark.shape[1]].mean(axis=0), dark.sum(axis=0)
    around = median_filter(image, footprint=[[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    hot = (total > 500 * SPC3_FRAMES * SPC3_FRAME * len(dark)) & (around < 60)
    excess, seen = (image - around)[hot], total[hot] / (len(dark) * SPC3_FRAMES * SPC3_FRAME)
    value = excess.sum() / seen.sum()
    again = np.random.default_rng(0).integers(hot.sum(), size=(4000, hot.sum()))
    low, high = np.quantile(excess[again].sum(axis=1) / seen[again].sum(axis=1), (0.025, 0.975))
    return Estimate(float(value), float(low), float(high), remark=f"{hot.sum()} pixels")


def dead_time(first: Counts, second: Counts, live: float) -> tuple[Estimate, float]:
    """Dead time (s) from the difference of two images of one scene, of `live` seconds each, and how much more likely
    (logarithm) it makes them than none. A pixel of K counts has a variance of K (1 - K tau / live)^2. The images may
    differ in brightness."""
    brighter = first.sum() / second.sum()
    count, squared = (first + second) / 2, (first - brighter * second) ** 2
    poisson = first + brighter**2 * second
    variance = poisson * (1 - count * _DEAD_TIMES[:, None, None] / live) ** 2
    likelihood = -0.5 * (np.log(variance) + squared / variance).sum(axis=(1, 2))
    inside = _DEAD_TIMES[likelihood > likelihood.max() - stats.chi2.ppf(0.95, 1) / 2]
    best = Estimate(float(_DEAD_TIMES[likelihood.argmax()]), float(inside[0]), float(inside[-1]))
    return best, float(likelihood.max() - likelihood[0])


def crosstalk(total: Counts, ring: NDArray[np.integer]) -> Estimate:
    """Chance that a count fires each pixel of a ring around its own, (k, k) of 0 and 1, from what quiet pixels (25
    counts at most) count by the counts of their neighbours. Any chance from 0 up is as likely as any other; the
    interval begins at 0 where that is among the likely ones."""
    quiet, causes = total <= 25, correlate(total.astype(np.float64), ring, mode="constant")
    usual, excess = total[quiet].mean(), causes[quiet] - causes[quiet].mean()
    likelihood = stats.poisson.logpmf(total[quiet], usual + _CHANCES[:, None] * excess).sum(axis=1)
    share = np.cumsum(np.exp(likelihood - likelihood.max()))
    low, high = np.interp((0.025, 0.975), share / share[-1], _CHANCES)
    decided = likelihood[0] < likelihood.max() - stats.chi2.ppf(0.95, 1) / 2
    return Estimate(float(_CHANCES[likelihood.argmax()]), float(low) if decided else 0.0, float(high))
