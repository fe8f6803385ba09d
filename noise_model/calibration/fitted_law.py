"""The law of counts by its mean: rates fitted to mean counts, and the histograms, spread and memory they imply."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.response import expected_counts, photon_rate
from noise_model.sampling import count_law, sample_counts
from noise_model.sensor import Exposure, Sensor

Floats = NDArray[np.float64]
_PASSES = 4  # to take crosstalk out; each shrinks the error by the crosstalk


class FittedLaw:
    """The law of the counts of one image under a sensor, for a grid of rates.

    A pixel's law is named by its row of the grid, in fractions.

    Attributes:
        x: (R,) r T of the grid.
        mean, variance: (R,) of the counts of one image.
        most: one more than the largest count.
    """

    def __init__(self, exposure: Exposure, sensor: Sensor) -> None:
        self.exposure, self.sensor = exposure, sensor
        self._alone = replace(sensor, crosstalk=torch.zeros(1, 1))
        law = count_law(exposure, sensor)
        self.x: Floats = law.x.numpy()
        self._pmf = np.diff(law.cdf.numpy().astype(np.float64), axis=1, prepend=0.0)
        self.mean: Floats = np.maximum.accumulate(law.mean.numpy())  # it falls only where a counter wraps
        self._counts = law.first.numpy().astype(np.int64)[:, None] + np.arange(self._pmf.shape[1])
        offset = self._counts - (self._pmf * self._counts).sum(axis=1, keepdims=True)
        self.variance: Floats = (self._pmf * offset**2).sum(axis=1)
        self.most = max(int(self._counts.max()), sensor.saturation_value(exposure.cycles)) + 1

    def row(self, mean: Floats) -> Floats:
        """Rows whose laws have these means. A count by crosstalk is taken for one of the pixel's own: for binary frames
        without afterpulses that is exact, and elsewhere next to it."""
        return np.asarray(np.interp(mean, self.mean, np.arange(len(self.mean))))

    def rates(self, mean: Floats) -> torch.Tensor:
        """(H, W) photon rates at which mean counts are these (H, W), crosstalk included.

        They lie on the grid, so that the sampler need not mix two of its rows: that adds up to 0.25 % to the variance,
        which a long capture can tell from none. The rates are fitted to the captures drawn, so a shift is no matter.
        """
        seen = own = torch.from_numpy(mean)
        for _ in range(_PASSES):
            rate = torch.from_numpy(self._x(own.numpy()) / self.exposure.count_time)
            with_crosstalk, without = (
                expected_counts(rate, self.exposure, each) for each in (self.sensor, self._alone)
            )
            own = (seen - (with_crosstalk - without)).clamp(min=0)
        rate = torch.from_numpy(self._x(own.numpy()) / self.exposure.count_time)
        return photon_rate(rate.float(), self.sensor)

    def _x(self, mean: Floats) -> Floats:
        """r T of the row next to the law with this mean."""
        return self.x[np.rint(self.row(mean)).astype(np.int64)]

    def draw(self, rates: torch.Tensor, images: int, generator: torch.Generator) -> NDArray[np.int32]:
        """(images, H, W) independent images at photon rates (H, W)."""
        drawn = sample_counts(rates.expand(images, *rates.shape), self.exposure, self.sensor, generator)
        return np.asarray(drawn.numpy())

    def spread(self, mean: Floats) -> Floats:
        """Variance of the law with this mean."""
        return np.asarray(np.interp(mean, self.mean, self.variance))

    def histogram(self, row: Floats) -> Floats:
        """(most,) expected number of pixels with 0, 1, 2, ... counts, given the rows (n,) of their laws."""
        lower = np.minimum(row.astype(np.int64), len(self.x) - 2)
        share = np.bincount(lower, lower + 1 - row, len(self.x)) + np.bincount(lower + 1, row - lower, len(self.x))
        used = np.flatnonzero(share)
        weights = share[used, None] * self._pmf[used]
        return np.asarray(np.bincount(self._counts[used].ravel(), weights.ravel(), self.most))

    def memory(self, row: Floats) -> Floats:
        """Covariance of images that follow on each other, given the rows of their laws: afterpulses between binary
        frames, whose correlation falls by rho a frame. Images of a counting array forget each other."""
        if not self.sensor.binary:
            return np.zeros_like(row)
        a, n = self.sensor.afterpulse_probability, self.exposure.cycles
        p = -np.expm1(-np.interp(row, np.arange(len(self.x)), self.x))
        rho = a * (1 - p)
        full = p / (1 - rho)
        return np.asarray(full * (1 - full) * rho * ((1 - rho**n) / (1 - rho)) ** 2)
