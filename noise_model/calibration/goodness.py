"""Goodness of fit of a sensor to a capture: count histograms, Fano factors and correlations beside the expected ones.

What is expected comes from a parametric bootstrap: the rate of every pixel is fitted to its mean count, captures of the
same length are drawn at these rates, and each is treated as the capture was, its rates fitted anew. So the fit does not
bias the test, and no distribution of a statistic is assumed. The scene must stand still and its light be steady:
motion, flicker and drift spread the counts as no sensor does, and are rejected.

Sources: parametric bootstrap: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 16. Many statistics at
once: Westfall & Young, Resampling-Based Multiple Testing (1993), the single-step maximum.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.calibration.examining import Examiner
from noise_model.calibration.fitted_law import FittedLaw
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent

REPLICATES = 199
SIGNIFICANCE = 0.05  # of all statistics together
_MARGIN = 1.2  # pixels of drawn captures may come out brighter


@dataclass(frozen=True)
class Check:
    """One statistic of a capture, compared with its distribution under the sensor.

    Attributes:
        kind: `histogram`, `spread`, `nearest`, `diagonal`, `far` or `lag`.
        name: in words.
        measured, expected: its value in the capture, and its mean under the sensor.
        low, high: between these it lies for 95 % of captures under the sensor.
        deviation: measured - expected, in standard deviations under the sensor.
        p: probability of a value as extreme under the sensor, of this statistic alone.
        adjusted: probability that any of the statistics is as extreme as this one.
    """

    kind: str
    name: str
    measured: float
    expected: float
    low: float
    high: float
    deviation: float
    p: float
    adjusted: float

    @property
    def fits(self) -> bool:
        """Whether the sensor explains the statistic, at SIGNIFICANCE for all statistics together."""
        return self.adjusted > SIGNIFICANCE


@dataclass(frozen=True)
class Band:
    """Pixels of similar brightness, with their histogram and Fano factor.

    Attributes:
        pixels: (H, W) bool.
        mean: mean counts of an image.
        seen, model: shares of counts in bins `[i width, (i + 1) width)`, in the capture and under the sensor.
        fano: variance over mean, in the capture.
        low, high: between these it lies for 95 % of captures under the sensor.
    """

    pixels: NDArray[np.bool_]
    mean: float
    width: int
    seen: Floats
    model: Floats
    fano: float
    low: float
    high: float


@dataclass(frozen=True)
class Goodness:
    """How well a sensor explains a capture.

    Attributes:
        checks: one for each statistic.
        bands: pixels by brightness, brightest first.
        mean, variance: (H, W) of the counts of an image; NaN where the pixel is bad.
        curve: mean counts and Fano factor under the sensor, (R,) each.
        images: how many were used.
    """

    checks: tuple[Check, ...]
    bands: tuple[Band, ...]
    mean: Floats
    variance: Floats
    curve: tuple[Floats, Floats]
    images: int

    @property
    def p(self) -> float:
        """Probability that a capture under the sensor stands out as much, in any statistic."""
        return min(check.adjusted for check in self.checks)

    @property
    def fits(self) -> bool:
        """Whether the sensor explains the capture."""
        return all(check.fits for check in self.checks)


def goodness(
    counts: NDArray[np.unsignedinteger],
    model: ForwardModel,
    generator: torch.Generator,
    run: int | None = None,
    replicates: int = REPLICATES,
    report: Report = silent,
) -> Goodness:
    """Tests whether a sensor explains a capture of a still scene, by captures drawn under the sensor.

    Args:
        counts: (n, H, W), of images summed from the exposure's N hardware frames. From a binary array give sums: the
            mean of a single bit fixes its variance.
        model: how they were taken; its sensor is of the same shape, and pixels of its mask are left out.
        run: number of images that follow each other without a gap: counts are n / run such runs; default: all n.
        replicates: captures drawn; the smallest p is 2 / (replicates + 1).
        report: called with the captures drawn and their number.

    Raises:
        InputError: fewer than 3 images, too few counts in good pixels, or single binary frames.
    """
    if model.sensor.saturation_value(model.exposure.most_cycles) == 1:
        raise InputError("single binary frames have no spread of their own to check; sum some, 16 say")
    law = FittedLaw(model, _MARGIN * float(counts.mean(axis=0).max()) + 1)
    examiner = Examiner.of(counts, law, run or len(counts))
    rates, null = law.rates(counts.mean(axis=0)), []
    for done in range(replicates):
        null.append(examiner.statistics(law.draw(rates, len(counts), generator)))
        report(done + 1, replicates)
    return _goodness_of(examiner, counts, examiner.statistics(counts), np.array(null))


def reasons(found: Goodness) -> list[str]:
    """Usual causes of the statistics that do not fit, a sentence each."""
    high = {check.kind for check in found.checks if not check.fits and check.deviation > 0}
    low = {check.kind for check in found.checks if not check.fits and check.deviation < 0}
    sentences = []
    if "far" in high or {"spread", "lag"} <= high:
        sentences.append(
            "The scene or its light changed: motion, flicker and drift raise Fano factors and correlations."
            " Check a still scene in steady light before blaming the sensor."
        )
    elif "spread" in high:
        sentences.append(
            "Counts spread more than the sensor says: the scene changed, its dead time is too long, or its"
            " afterpulsing too weak."
        )
    elif "lag" in high:
        sentences.append(
            "Images remember the one before: afterpulsing is stronger than the sensor says, or pixels blink."
        )
    if "spread" in low:
        sentences.append(
            "Counts spread less than the sensor says: its dead time is too short, or its afterpulsing too strong."
        )
    if "lag" in low:
        sentences.append("Images remember less of the one before: afterpulsing is weaker than the sensor says.")
    if {"nearest", "diagonal"} & high and "far" not in high:
        sentences.append("Neighbours fire together more often: crosstalk is stronger than the sensor says.")
    if {"nearest", "diagonal"} & low:
        sentences.append("Neighbours fire together less often: crosstalk is weaker than the sensor says.")
    if not found.fits and not sentences:
        sentences.append(
            "Counts are not distributed as the sensor says: check the exposure, the cycles and the counter bits."
        )
    return sentences


def _goodness_of(examiner: Examiner, counts: NDArray[np.integer], seen: Floats, null: Floats) -> Goodness:
    """The result of the test, given the statistics of the capture (S,) and of those drawn (B, S)."""
    mean, variance = counts.mean(axis=0), counts.var(axis=0, ddof=1)
    null[:, -1] += examiner.memory(mean, variance)
    one_sided = np.arange(len(seen)) < examiner.bands  # a histogram cannot be too similar
    law = examiner.law
    return Goodness(
        checks=tuple(_checks(examiner.names(mean), seen, null, one_sided)),
        bands=tuple(_bands_of(examiner, counts, mean, variance, null)),
        mean=np.where(examiner.good, mean, np.nan),
        variance=np.where(examiner.good, variance, np.nan),
        curve=(law.mean[1:], law.variance[1:] / law.mean[1:]),
        images=len(counts),
    )


def _bands_of(
    examiner: Examiner, counts: NDArray[np.integer], mean: Floats, variance: Floats, null: Floats
) -> Iterator[Band]:
    shares, model = examiner.histograms(counts), examiner.expected(mean)
    seen, expected = (examiner.fano(each, mean) for each in (variance, examiner.law.spread(mean)))
    bounds = np.quantile(null[:, examiner.bands : 2 * examiner.bands], [0.025, 0.975], axis=0) * expected
    for b in range(examiner.bands):
        pixels = examiner.label == b
        yield Band(
            pixels=pixels,
            mean=float(mean[pixels].mean()),
            width=examiner.width,
            seen=shares[b],
            model=model[b],
            fano=float(seen[b]),
            low=float(bounds[0, b]),
            high=float(bounds[1, b]),
        )


def _checks(names: list[tuple[str, str]], seen: Floats, null: Floats, one_sided: NDArray[np.bool_]) -> Iterator[Check]:
    centre, sd = null.mean(axis=0), _sd(null)
    extreme = _extreme(np.vstack([null, seen]), one_sided)
    largest = extreme[:-1].max(axis=1)
    for i, (kind, name) in enumerate(names):
        tails = [_p_value(null[:, i] >= seen[i]), _p_value(null[:, i] <= seen[i])]
        p = tails[0] if one_sided[i] else min(1.0, 2 * min(tails))
        low, high = np.quantile(null[:, i], [0, 0.95] if one_sided[i] else [0.025, 0.975])
        yield Check(
            kind=kind,
            name=name,
            measured=float(seen[i]),
            expected=float(centre[i]),
            low=float(low),
            high=float(high),
            deviation=float((seen[i] - centre[i]) / sd[i]),
            p=p,
            adjusted=_p_value(largest >= extreme[-1, i]),
        )


def _extreme(values: Floats, one_sided: NDArray[np.bool_]) -> Floats:
    """How far the statistics of each capture (B + 1, S) stand out, in standard deviations of them all.

    Every capture is treated alike, so that under the sensor any is as likely as any other to stand out most.
    """
    deviation = (values - values.mean(axis=0)) / _sd(values)
    return np.asarray(np.where(one_sided, deviation, np.abs(deviation)))


def _sd(values: Floats) -> Floats:
    return np.asarray(np.maximum(values.std(axis=0, ddof=1), np.finfo(np.float64).tiny))


def _p_value(as_extreme: NDArray[np.bool_]) -> float:
    """p-value of a bootstrap; the capture itself counts as one of those drawn (Davison & Hinkley 1997, eq. 4.11)."""
    return float((as_extreme.sum() + 1) / (len(as_extreme) + 1))
