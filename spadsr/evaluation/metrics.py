"""Metrics of an answer against the truth: fidelity, radiometry, coverage of its intervals. Rates are over white."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Picture


def psnr(rate: Picture, truth: Picture) -> float:
    """Peak signal to noise ratio, dB; the peak is white. Rates below zero count as zero; those above white stay."""
    error = np.mean(np.square(np.maximum(rate, 0).astype(np.float64) - truth))
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def ssim(rate: Picture, truth: Picture) -> float:
    """Structural similarity as published (Gaussian window of sigma 1.5, 11 x 11), data range = white."""
    from skimage.metrics import structural_similarity

    value = structural_similarity(  # type: ignore[no-untyped-call]
        np.maximum(rate, 0).astype(np.float64),
        truth.astype(np.float64),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def coverage(rate: Picture, uncertainty: Picture, truth: Picture, factor: float) -> float:
    """Share of the pixels whose truth lies within `factor` uncertainties of the answer."""
    return float(np.mean(np.abs(truth - rate) <= factor * uncertainty))


@dataclass
class Radiometry:
    """Answer and truth summed over the pixels of many pictures, sorted by the answer's value, to find its bias.

    Values are sorted into bins of 1/512 of white; a bin that straddles two tenths is shared in proportion.
    """

    _BINS = 2048

    pixels: NDArray[np.float64] = field(default_factory=lambda: np.zeros(Radiometry._BINS))
    answer: NDArray[np.float64] = field(default_factory=lambda: np.zeros(Radiometry._BINS))
    truth: NDArray[np.float64] = field(default_factory=lambda: np.zeros(Radiometry._BINS))

    def add(self, rate: Picture, truth: Picture) -> None:
        """Adds a picture, unclipped: an average must keep what is below zero."""
        place = np.clip((rate.ravel() + 1) * 512, 0, self._BINS - 1).astype(np.int64)  # -1 to 3 whites
        for total, values in ((self.pixels, None), (self.answer, rate.ravel()), (self.truth, truth.ravel())):
            total += np.bincount(place, values, minlength=self._BINS)

    def join(self, other: Self) -> None:
        """Takes over the pixels of other pictures."""
        self.pixels += other.pixels
        self.answer += other.answer
        self.truth += other.truth

    @property
    def total_ratio(self) -> float:
        """Total detected rate of the answers over that of the truth."""
        return float(self.answer.sum() / self.truth.sum())

    def tenths(self) -> NDArray[np.float64]:
        """Bias (10,): mean truth minus mean answer, over white, in each tenth of the answer's values, lowest first."""
        pixels = np.cumsum(self.pixels)
        edges = np.linspace(0, pixels[-1], 11)
        excess = np.interp(edges, np.append(0, pixels), np.append(0, np.cumsum(self.truth - self.answer)))
        return np.asarray(np.diff(excess) / np.diff(edges))


def block_mean(image: Picture, side: int) -> Picture:
    """Means over blocks of side x side pixels."""
    height, width = image.shape
    blocks = image.reshape(height // side, side, width // side, side)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))
