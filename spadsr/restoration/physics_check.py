"""Whether a restored image explains the counts: what the sensor did count beside what such rates would make it count.

The restored rates are put back through the sensor: their block means are the native rates, and the exact law of counts
in the exposure, with every effect of the sensor that is known, gives the mean and the variance that such rates lead to.
The residual (k - mean)^2 / variance is Pearson's. In its mean over pixels those with next to no counts expected weigh
less, since a single one of them would outweigh all others. Whatever the weights, it is 1 on average for the true rates.

The more counts, the smaller an error of the rates shows; but no answer is more exact than the sensor is known and the
network computes. So the variance has a floor: that of counts whose rates are 5 % off, each by itself. With more than a
hundred counts a pixel chi-squared of the true rates is then below 1.

Source: Pearson, Phil. Mag. 50 (1900) 157; Anscombe, Biometrika 35 (1948) 246 for counts of equal spread.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from spadsr.restoration.hot_pixels import hot_pixels

#: A restored image contradicts its counts if chi-squared is above 2 or the counts are 20 % off, and over 5 standard
#: errors from what chance explains. Images that are right but for what no sensor file says (a fixed pattern, faint hot
#: pixels) stay below that: chi-squared up to 1.8, counts 0.86 to 1.12 of those expected, simulated and real.
STANDARD_ERRORS, LARGEST_CHI_SQUARED, LARGEST_IMBALANCE = 5.0, 2.0, 0.2

#: Error of each native rate that is no contradiction, over the mean rate of the 5x5 pixels around, whose multiples the
#: network computes. Efficiencies differ by some 3 % between pixels of an array that is not calibrated, up to 6 % in
#: training. Of even and textured scenes with 70,000 counts a pixel the network's own error is 2 to 3 % of the rate
#: beyond shot noise (standard deviation), and 12 to 20 % in the dark beside what is bright.
MODEL_ERROR = 0.05

_ORDINARY = 1.0  # counts squared: pixels of less variance weigh less than others
_LEAST_COUNTS = 0.5  # of a whole image: no fewer are expected
_NAMED = 5  # images named in a warning, at most


@dataclass(frozen=True, eq=False)
class PhysicsCheck:
    """The counts beside those that restored rates lead to, of B images of H x W native pixels, or of one without B.

    Attributes:
        residual: (B, H, W) float32, (counts - expected) / sqrt(variance + 1): in standard deviations where there are
            many counts, in counts where there are none; 0 for pixels not used.
        chi_squared: (B,) weighted mean of (counts - expected)^2 / variance over the pixels used, that of an error of
            the rates by 5 % included: about 1; less where they follow the noise, or counts are many; more where they
            contradict the counts.
        spread: (B,) standard deviation that `chi_squared` would have if the rates were the true ones.
        balance: (B,) all counts of the pixels used over those expected of them: about 1.
        balance_spread: (B,) standard deviation that `balance` would have if the rates were the true ones.
        hot: (B,) int64, number of pixels far above both the restored image and their neighbours: not used.
    """

    residual: NDArray[np.float32]
    chi_squared: Floats
    spread: Floats
    balance: Floats
    balance_spread: Floats
    hot: NDArray[np.int64]

    @property
    def contradicts(self) -> NDArray[np.bool_]:
        """(B,) whether the restored rates do not explain the counts."""
        excess, off = self.chi_squared - 1, np.abs(self.balance - 1)
        too_far = (self.chi_squared > LARGEST_CHI_SQUARED) & (excess > STANDARD_ERRORS * self.spread)
        unbalanced = (off > LARGEST_IMBALANCE) & (off > STANDARD_ERRORS * self.balance_spread)
        return np.asarray(too_far | unbalanced)


def physics_check(counts: Tensor, rate: Tensor, model: ForwardModel) -> PhysicsCheck:
    """Compares counts with those that restored rates would make the sensor count.

    Pixels of the sensor's mask are left out, those that never looked, and those that look hot. Saturated ones are used:
    the law of counts ends at saturation. What the sensor file does not say (a fixed pattern, faint hot
    pixels) adds to the residuals.

    Args:
        counts: (B, H, W) whole numbers, as recorded.
        rate: (B, s H, s W) restored photon detection rate, counts/s per native pixel area, any device.
        model: as the rates were restored with; maps (H, W), on the CPU.
    """
    scale = rate.shape[-1] // counts.shape[-1]
    native = F.avg_pool2d(rate[:, None].float(), scale)[:, 0].cpu()
    (mean, off), (shot, _), (fourth, _) = (each.reshape(2, *native.shape) for each in model.moments(_apart(native)))
    k = counts.cpu().double().numpy()
    shot = np.maximum(shot, _LEAST_COUNTS / k[0].size)
    variance = shot + np.square(off - mean)
    good = model.good.cpu().numpy()
    hot = hot_pixels(k, mean, variance, good)
    used = good & ~hot
    residual = np.where(used, (k - mean) / np.sqrt(variance + _ORDINARY), 0)
    weight = np.where(used, variance / (variance + _ORDINARY), 0)
    total = np.maximum(_sum(weight), np.finfo(np.float64).tiny)
    expected = np.maximum(_sum(np.where(used, mean, 0)), _LEAST_COUNTS)
    return PhysicsCheck(
        residual=residual.astype(np.float32),
        chi_squared=_sum(residual**2) / total,
        spread=np.sqrt(_sum(weight**2 * np.maximum(fourth - shot**2, 0) / variance**2)) / total,
        balance=_sum(np.where(used, k, 0)) / expected,
        balance_spread=np.sqrt(_sum(np.where(used, shot, 0))) / expected,
        hot=hot.sum(axis=(1, 2)),
    )


def _apart(rate: Tensor) -> Tensor:
    """Rates (B, H, W), and after them the same with the error that is no contradiction."""
    around = F.avg_pool2d(rate[:, None], 5, stride=1, padding=2, count_include_pad=False)[:, 0]
    return torch.cat([rate, rate + MODEL_ERROR * around])


def _sum(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=(1, 2)))


class CheckSummary:
    """Collects the physics checks of a recording: a summary in words, and warnings. Keeps three numbers an image."""

    def __init__(self) -> None:
        self._chi_squared: list[Floats] = []
        self._balance: list[Floats] = []
        self._contradicts: list[NDArray[np.bool_]] = []

    def add(self, check: PhysicsCheck) -> None:
        """Takes in the checks of the next images."""
        self._chi_squared.append(check.chi_squared)
        self._balance.append(check.balance)
        self._contradicts.append(check.contradicts)

    @property
    def sentence(self) -> str:
        """Median and worst chi-squared per pixel, in words."""
        return summary(np.concatenate(self._chi_squared))

    def warnings(self) -> list[str]:
        """One line if the restored rates of any image contradict its counts, else none."""
        chi_squared, balance = np.concatenate(self._chi_squared), np.concatenate(self._balance)
        bad = np.concatenate(self._contradicts)
        if not bad.any():
            return []
        images = np.flatnonzero(bad)
        named = ", ".join(map(str, images[:_NAMED])) + (", ..." if len(images) > _NAMED else "")
        off = balance[images[np.abs(balance[images] - 1).argmax()]]
        return [
            f"the answer contradicts the counts of {len(images)} of {len(bad)} images ({named}): chi-squared per pixel"
            f" up to {chi_squared[bad].max():.3g}, {off:.2f} times the counts it implies; expected are 1 and 1"
        ]


def summary(chi_squared: Floats) -> str:
    """Median and worst of the chi-squared per pixel of n images, (n,), in words."""
    if len(chi_squared) == 1:
        return f"chi-squared per pixel {chi_squared[0]:.2f}"
    worst = int(chi_squared.argmax())
    return f"chi-squared per pixel {np.median(chi_squared):.2f}, at most {chi_squared[worst]:.2f} (image {worst})"
