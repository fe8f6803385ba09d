"""Doubts about recordings in the dark: they drifted, saw light, or are not of one array. None is refused for these.

Dark counts double every few degrees, so darks may drift more than flats. Rates of neighbouring pixels have nothing in
common, while light makes them alike; even light shows as more counts than such arrays have in the dark.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import spearmanr

from noise_model.arrays import Floats
from noise_model.calibration.refusals import DRIFT_BY_CHANCE, drift
from noise_model.calibration.streams import StreamStatistics

#: Change of the dark counts during a recording, and of those of ordinary pixels from one to another: more is told.
MOST_CHANGE = 0.1

_USUAL = 30.0  # times the usual dark rate: arrays of one kind differ by less, at one temperature
_CORRELATED = 0.1  # of the ranks of neighbours
_SIGNIFICANT = 5.0  # standard deviations
_BRIGHTEST = 0.02  # share of pixels by which an array is recognised
_LEAST_BRIGHTEST = 8


def doubts(darks: Sequence[StreamStatistics], usual_rate: float) -> Iterator[str]:
    """A sentence for everything that recordings in the dark do not have in common with the dark.

    Args:
        usual_rate: dark count rate of an ordinary pixel of such an array, cps.
    """
    for dark in darks:
        change, chance = drift(dark)
        if change > MOST_CHANGE and chance < DRIFT_BY_CHANCE:
            yield (
                f"{dark.name}: the dark counts drifted by {change:.0%} while it was taken: temperature, or light."
                " Let the camera warm up, cover it, and take it again."
            )
        alike = _correlation(dark)
        if alike > _CORRELATED:
            yield (
                f"{dark.name}: neighbouring pixels count alike (correlation {alike:.2f}), as in light; dark counts of"
                " neighbours have nothing in common. Cover the array, and take it again."
            )
        rate = float(np.median(dark.total)) / dark.live_time
        if rate > _USUAL * max(usual_rate, 1):
            yield (
                f"{dark.name}: {rate:.3g} counts/s in the median pixel, {rate / max(usual_rate, 1):.0f} times what is"
                " usual in the dark: light, or a very warm array."
            )
    for dark in darks[1:]:
        yield from _differences(darks[0], dark)


def _correlation(dark: StreamStatistics) -> float:
    """Rank correlation of the counts of pixels with those beside and below them; 0 where chance explains it."""
    counts = dark.total
    first = np.concatenate([counts[:, :-1].ravel(), counts[:-1].ravel()])
    second = np.concatenate([counts[:, 1:].ravel(), counts[1:].ravel()])
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    found = float(spearmanr(first, second).statistic)
    return found if found > _SIGNIFICANT / np.sqrt(len(first)) else 0.0


def _differences(first: StreamStatistics, other: StreamStatistics) -> Iterator[str]:
    """What two darks of one array at one temperature do not differ in."""
    counts: list[Floats] = [each.total.astype(np.float64) for each in (first, other)]
    ordinary = np.logical_and(*(each <= 3 * max(float(np.median(each)), 1) for each in counts))
    sums = [max(float(each[ordinary].sum()), 1.0) for each in counts]
    ratio = sums[1] / sums[0] * first.live_time / other.live_time
    error = np.sqrt(1 / sums[0] + 1 / sums[1])
    if abs(ratio - 1) > MOST_CHANGE and abs(np.log(ratio)) > _SIGNIFICANT * error:
        yield (
            f"{other.name}: ordinary pixels count {ratio:.2f} times as much as in {first.name}: another temperature, or"
            " light. Give darks that were taken as the scene is."
        )
    expected = counts[0] * (sums[1] / sums[0])
    brightest = counts[0] >= np.quantile(counts[0], 1 - _BRIGHTEST)
    apart = np.abs(counts[1] - expected) > np.maximum(_SIGNIFICANT * np.sqrt(counts[1] + expected), expected / 2)
    if brightest.sum() >= _LEAST_BRIGHTEST and apart[brightest].mean() > 0.5:
        yield (
            f"{other.name}: {apart[brightest].mean():.0%} of the hottest pixels of {first.name} count otherwise in it:"
            " not of the same array, region or orientation?"
        )
