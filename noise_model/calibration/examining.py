"""Statistics for comparing captures with a sensor: histograms, Fano factors and correlations, pooled over pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.calibration.fitted_law import FittedLaw
from noise_model.errors import InputError

_BANDS = 6  # each twice as bright as the next; the last holds all dimmer pixels
_LEAST_PIXELS, _LEAST_COUNTS = 32, 1000  # of a band; a smaller one joins the next
_BINS_PER_SD = 4  # counts that spread widely are compared in bins of a quarter of their standard deviation
_PAIRS = {
    "nearest": "nearest neighbours",
    "diagonal": "diagonal neighbours",
    "far": "half the array apart",
}


@dataclass(frozen=True)
class Examiner:
    """Computes the same statistics of any capture of one array, from the same pixels.

    Attributes:
        law: of the counts under the sensor; rates are fitted anew to every capture.
        good: (H, W) bool; the other pixels are left out.
        label: (H, W) band of each pixel, 0 is the brightest; -1 is a bad pixel.
        width: of the bins of the histograms, counts.
        run: images that follow on each other without a gap.
        pairs: offsets between the pixels of a pair, by the kind of pair.
    """

    law: FittedLaw
    good: NDArray[np.bool_]
    label: NDArray[np.int64]
    width: int
    run: int
    pairs: dict[str, list[tuple[int, int]]]

    @classmethod
    def of(cls, counts: NDArray[np.integer], law: FittedLaw, run: int) -> Self:
        """An examiner with bands and bins chosen by a capture (n, H, W).

        Raises:
            InputError: too few images or counts.
        """
        good, mean = law.model.sensor.good.numpy(), counts.mean(axis=0)
        total = float(mean[good].sum() * len(counts))
        if len(counts) < 3 or total < _LEAST_COUNTS:
            raise InputError(
                f"{len(counts)} images with {total:.0f} counts in good pixels;"
                f" a check needs 3 images and {_LEAST_COUNTS} counts: record longer"
            )
        label = _bands(mean, good, len(counts))
        spread = np.sqrt(law.spread(mean[label == 0]).mean())
        return cls(law, good, label, max(1, int(spread / _BINS_PER_SD)), run, dict(_pairs(*good.shape)))

    @property
    def bands(self) -> int:
        """Number of bands of pixels."""
        return int(self.label.max()) + 1

    def names(self, mean: Floats) -> list[tuple[str, str]]:
        """Kind and name of every statistic, given the mean counts (H, W)."""
        means = [f"mean {mean[self.label == b].mean():.3g}" for b in range(self.bands)]
        return [
            *(("histogram", f"histogram, {words}") for words in means),
            *(("spread", f"variance, {words}") for words in means),
            *((kind, _PAIRS[kind]) for kind in self.pairs),
            ("lag", "next image"),
        ]

    def statistics(self, counts: NDArray[np.integer]) -> Floats:
        """Statistics (S,) of a capture, in the order of `names`.

        They are distances between histograms (total variation), variances over those of the law, and correlations.
        """
        mean = counts.mean(axis=0)
        residual = counts.astype(np.float32)
        residual -= mean
        residual *= self.good
        variance = np.einsum("tij,tij->ij", residual, residual).astype(np.float64) / (len(counts) - 1)
        seen, model = self.histograms(counts), self.expected(mean)
        distance = np.abs(seen - model).sum(axis=1) / 2
        ratio = self._pooled(variance) / self._pooled(self.law.spread(mean))
        sd = np.sqrt(variance)
        pooled = [_correlation(residual, sd, offsets) for offsets in self.pairs.values()]
        return np.array([*distance, *ratio, *pooled, self._lag(residual, variance)])

    def fano(self, variance: Floats, mean: Floats) -> Floats:
        """Fano factors (bands,): variance over mean, each summed over the pixels of a band."""
        return self._pooled(variance) / self._pooled(mean)

    def _pooled(self, values: Floats) -> Floats:
        return np.array([values[self.label == b].sum() for b in range(self.bands)])

    def histograms(self, counts: NDArray[np.integer]) -> Floats:
        """Histograms (bands, bins) of the counts of a capture, as shares."""
        bins = -(-self.law.most // self.width)
        places = counts // self.width + (self.label + 1).astype(np.int32) * bins
        seen = np.bincount(places.ravel(), minlength=(self.bands + 1) * bins).reshape(-1, bins)[1:]
        return np.asarray(seen / seen.sum(axis=1, keepdims=True))

    def expected(self, mean: Floats) -> Floats:
        """Histograms (bands, bins) that the sensor leads to, as shares, given the mean counts (H, W)."""
        row = self.law.row(mean)
        each = np.stack([self.law.histogram(row[self.label == b]) for b in range(self.bands)])
        padded = np.pad(each, ((0, 0), (0, -each.shape[1] % self.width)))
        binned = padded.reshape(self.bands, -1, self.width).sum(axis=2)
        return np.asarray(binned / binned.sum(axis=1, keepdims=True))

    def memory(self, mean: Floats, variance: Floats) -> float:
        """Correlation with the next image that afterpulses between frames cause; drawn captures lack it."""
        return float(self.law.memory(self.law.row(mean))[self.good].sum() / variance[self.good].sum())

    def _lag(self, residual: NDArray[np.float32], variance: Floats) -> float:
        """Correlation of images with the next image, pooled over pixels."""
        runs = residual.reshape(-1, self.run, *residual.shape[1:])
        products = float(np.einsum("rtij,rtij->", runs[:, :-1], runs[:, 1:], dtype=np.float64))
        return products / (len(runs) * (self.run - 1)) / float(variance[self.good].sum())


def _pairs(height: int, width: int) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Kinds of pairs that the array has, with their offsets (rows down, columns right)."""
    kinds = {"nearest": [(0, 1), (1, 0)], "diagonal": [(1, 1), (1, -1)], "far": [(height // 2, width // 2)]}
    for kind, offsets in kinds.items():
        there = [(down, right) for down, right in offsets if down < height and abs(right) < width]
        if there and there != [(0, 0)]:
            yield kind, there


def _bands(mean: Floats, good: NDArray[np.bool_], images: int) -> NDArray[np.int64]:
    """Band (H, W) of each pixel by its mean counts, as in `Examiner.label`."""
    top = np.quantile(mean[good], 0.99)
    with np.errstate(divide="ignore"):
        step = np.clip(np.floor(np.log2(max(top, np.finfo(float).tiny) / mean)), 0, _BANDS - 1)
    label = np.full(mean.shape, -1, np.int64)
    band = 0
    for each in range(_BANDS):
        label[good & (step == each)] = band
        inside = label == band
        if inside.sum() >= _LEAST_PIXELS and mean[inside].sum() * images >= _LEAST_COUNTS:
            band += 1
    label[label == band] = max(0, band - 1)  # these pixels are too few for a band of their own
    return label


def _correlation(residual: NDArray[np.float32], sd: Floats, offsets: list[tuple[int, int]]) -> float:
    """Correlation of pairs of pixels: covariance over product of standard deviations, each summed over all pairs."""
    covariance = scale = 0.0
    for offset in offsets:
        here, there = _partners(residual, offset)
        covariance += float(np.einsum("tij,tij->", here, there, dtype=np.float64)) / (len(residual) - 1)
        scale += float(np.multiply(*_partners(sd, offset)).sum())
    return covariance / scale if scale > 0 else 0.0


def _partners(
    values: NDArray[np.floating], offset: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The values (..., H, W) of pixels that have a partner at `offset`, and those of the partners."""
    down, right = offset
    height, width = values.shape[-2:]
    here = values[..., : height - down, max(0, -right) : width - max(0, right)]
    return here, values[..., down:, max(0, right) : width - max(0, -right)]
