"""The law of counts given their mean: rates fitted to mean counts, and the histograms and variances they lead to."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.laws import root_grid
from noise_model.moments import window_moments

_MOST_ENTRIES = 1 << 22  # of the table: bounds the memory


class FittedLaw:
    """The law of the counts of one image under a sensor, for a grid of rates.

    A pixel's law is given by its row in the grid, a fraction where it lies between two.

    Attributes:
        x: (R,) r T of the grid.
        mean, variance: (R,) of the counts of one image.
        most: one more than the largest count.
    """

    def __init__(self, model: ForwardModel, largest_mean: float) -> None:
        """The law for pixels of up to `largest_mean` counts an image on average."""
        self.model = model
        x = _grid(model, largest_mean)
        first, pmf = (torch.cat(parts) for parts in zip(*model.process.windows(x), strict=True))
        self.x: Floats = x.numpy()
        self._first, self._pmf = first.numpy(), (pmf / pmf.sum(dim=1, keepdim=True)).numpy()
        mean, variance, _ = (each.numpy() for each in window_moments(first, pmf))
        self.mean: Floats = np.maximum.accumulate(mean)  # it falls only where a counter wraps
        self.variance: Floats = variance
        largest = int(self._first[-1]) + self._pmf.shape[1] - 1
        self.most = max(largest, model.sensor.saturation_value(model.exposure.most_cycles)) + 1

    def row(self, mean: Floats) -> Floats:
        """Rows of the laws that have these means; crosstalk counts as a higher rate of the pixel itself."""
        return np.asarray(np.interp(mean, self.mean, np.arange(len(self.mean))))

    def rates(self, mean: Floats) -> torch.Tensor:
        """Photon rates (H, W) that lead to these mean counts (H, W), crosstalk included.

        They lie on the grid, so that the sampler does not mix two of its rows: mixing adds up to 0.25 % to the
        variance, enough to be seen in a long capture. The shift does no harm, as rates are fitted anew to every drawn
        capture.
        """
        rows = np.arange(len(self.x))
        fired = self.model.sensor.fired_by_neighbours(torch.from_numpy(mean / self.model.exposure.cycles)).numpy()
        own = np.interp(self.row(mean), rows, self.x) - fired
        x = self.x[np.rint(np.interp(own, self.x, rows)).astype(np.int64)]
        return self.model.sensor.photon_rate(torch.from_numpy(x / self.model.exposure.count_time).float())

    def draw(self, rates: torch.Tensor, images: int, generator: torch.Generator) -> NDArray[np.int32]:
        """Random independent images (images, H, W) at photon rates (H, W)."""
        return np.asarray(self.model.sample(rates.expand(images, *rates.shape), generator).numpy())

    def spread(self, mean: Floats) -> Floats:
        """Variances of the counts that have these means."""
        return np.asarray(np.interp(mean, self.mean, self.variance))

    def histogram(self, row: Floats) -> Floats:
        """Expected number of pixels (most,) with 0, 1, 2, ... counts, given the rows (n,) of their laws."""
        lower = np.minimum(row.astype(np.int64), len(self.x) - 2)
        share = np.bincount(lower, lower + 1 - row, len(self.x)) + np.bincount(lower + 1, row - lower, len(self.x))
        used = np.flatnonzero(share)
        counts, weights = self._first[used, None] + np.arange(self._pmf.shape[1]), share[used, None] * self._pmf[used]
        return np.asarray(np.bincount(counts.ravel(), weights.ravel(), self.most))

    def memory(self, row: Floats) -> Floats:
        """Covariance of successive images that afterpulses cause, given the rows of their laws.

        The correlation of binary frames falls by rho a frame. Images of a counting array are independent.
        """
        if not self.model.sensor.binary:
            return np.zeros_like(row)
        a, n = self.model.sensor.afterpulse_probability, self.model.exposure.cycles
        p = -np.expm1(-np.interp(row, np.arange(len(self.x)), self.x))
        rho = a * (1 - p)
        full = p / (1 - rho)
        return np.asarray(full * (1 - full) * rho * ((1 - rho**n) / (1 - rho)) ** 2)


def _grid(model: ForwardModel, largest_mean: float) -> torch.Tensor:
    """Rates of the sampler's own grid up to this mean: all of them, unless the table would be too large.

    Histograms of sums of thousands of frames then come out wider, those expected of the capture and of draws alike.
    """
    process, exposure = model.process, model.exposure
    grid = root_grid(process.largest_x, process.rows)
    means = exposure.cycles * model.mean_per_frame(grid / exposure.count_time)
    stop = int(torch.searchsorted(means, largest_mean)) + 2
    stride = math.ceil(stop * process.width / _MOST_ENTRIES)
    return grid[: stop + stride : stride]
