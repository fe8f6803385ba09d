"""A real scene, restored from few binary frames and held against many: a SwissSPAD2, 256x192 pixels.

    python tests/spadsr/real_averages.py [WEIGHTS]      # prints the table

The public averages of n frames lie within that of 256 (`tests/noise_model/test_real_sensors.py`). So the reference of n
frames is the 256 - n others, whose noise has nothing to do with theirs: with the n among them, whoever copies counts
would be rewarded. White is the rate that one pixel in a thousand of the 256 frames exceeds. The reference is noisy
itself: `Score.perfect` is what the true rates would score, by counting noise alone.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor
from spadsr.evaluation.baselines import bicubic
from spadsr.restoration.hot_pixels import stands_out
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rates = NDArray[np.float64]

FOLDER = "data/real/swissspad2"
ALL, FEW = 256, (1, 4, 16, 64)
WHITE_PERCENTILE = 99.9
SIGMAS = np.geomspace(0.4, 12, 36)  # pixels


@dataclass(frozen=True)
class Frames:
    """How many of `frames` binary frames fired, (256, 192)."""

    counts: Counts
    frames: int

    @property
    def rate(self) -> Rates:
        """Detections a frame."""
        return np.asarray(-np.log1p(-self.counts / self.frames))

    @property
    def variance(self) -> float:
        """Of the rates, mean over the pixels: p / (1 - p) / frames."""
        p = self.counts / self.frames
        return float(np.mean(p / (1 - p)) / self.frames)


@dataclass(frozen=True)
class Score:
    """PSNR against a reference, dB: ours, the opponent's, and that of the true rates. `beyond_noise` is our lead with
    the reference's own noise taken off both errors."""

    scale: int
    frames: int
    ours: float
    opponent: float
    perfect: float
    beyond_noise: float

    @property
    def lead(self) -> float:
        return self.ours - self.opponent


def average(shared: Path, n: int) -> Frames:
    """The PNG holds round(255 k / n)."""
    levels = imread(shared / FOLDER / f"average{n:03d}_left.png").astype(np.float64)
    return Frames(np.rint(levels * (n / 255)).astype(np.int64), n)


def others(every: Frames, some: Frames) -> Frames:
    """The frames that `some` leaves. The public average of 64 was altered: a few pixels contradict that of 256."""
    rest = every.frames - some.frames
    return Frames(np.clip(every.counts - some.counts, 0, rest), rest)


def hot_pixels(every: Frames) -> Mask:
    """Those that stand out from all around them but one, in all frames together."""
    return stands_out(every.counts.astype(np.float64), np.ones(every.counts.shape, dtype=np.bool_))


def white(every: Frames) -> float:
    return float(np.percentile(every.rate, WHITE_PERCENTILE))


def native(few: Frames, reference: Frames, peak: float, restorer: Restorer, hot: Mask | None = None) -> Score:
    """Restored x1, beside the Gaussian blur that comes nearest to the reference: no one can know its width.

    Args:
        hot: pixels that the network is told not to look at.
    """
    ours = _restored(few.counts, few.frames, restorer, 1, hot)
    blurs = (-np.log1p(-np.minimum(_blurred(few, sigma), 1 - 0.5 / few.frames)) for sigma in SIGMAS)
    best = min(blurs, key=lambda rate: _error(rate, reference))
    return _score(1, few, ours, best, reference, peak)


def binned(few: Frames, reference: Frames, peak: float, restorer: Restorer) -> Score:
    """Counts of 4x4 pixels taken for those of one, restored x4, beside bicubic."""
    height, width = few.counts.shape
    counts = few.counts.reshape(height // 4, 4, width // 4, 4).sum(axis=(1, 3))
    frames = 16 * few.frames
    wide = bicubic(counts, ForwardModel(_sensor(counts.shape, None), Exposure(1.0, frames)), 4).astype(np.float64)
    return _score(4, few, _restored(counts, frames, restorer, 4), np.maximum(wide, 0), reference, peak)


def _restored(counts: Counts, frames: int, restorer: Restorer, scale: int, hot: Mask | None = None) -> Rates:
    image = torch.from_numpy(counts)[None]
    rate, *_ = restorer.answer(image, ForwardModel(_sensor(counts.shape, hot), Exposure(1.0, frames)), scale)
    return np.asarray(rate[0].double().cpu().numpy())


def _sensor(shape: tuple[int, ...], hot: Mask | None) -> Sensor:
    """A binary array of which nothing is known, or which pixels not to use."""
    rows, columns = shape
    mask = None if hot is None else torch.from_numpy(hot.astype(np.int32) * HOT)
    pde, dark = torch.full((rows, columns), 0.5), torch.zeros(rows, columns)
    return Sensor("SwissSPAD2", pde, dark, dead_time=0.0, counter_bits=1, pixel_mask=mask, measured=False)


def _blurred(few: Frames, sigma: float) -> Rates:
    return np.asarray(gaussian_filter(few.counts / few.frames, sigma, mode="reflect"))


def _error(rate: Rates, reference: Frames) -> float:
    return float(np.mean(np.square(rate - reference.rate)))


def _score(scale: int, few: Frames, ours: Rates, opponent: Rates, reference: Frames, peak: float) -> Score:
    mine, theirs = _error(ours, reference), _error(opponent, reference)
    noise = reference.variance
    lead = _decibels((mine - noise) / (theirs - noise))
    psnr = [_decibels(square / peak**2) for square in (mine, theirs, noise)]
    return Score(scale, few.frames, *psnr, beyond_noise=lead)


def _decibels(ratio: float) -> float:
    return float(-10 * np.log10(ratio))


def main() -> None:
    shared = Path(__file__).parents[3] / "shared"
    restorer, every = load_restorer(sys.argv[1] if len(sys.argv) > 1 else None), average(shared, ALL)
    hot, peak = hot_pixels(every), white(every)
    print(f"white = {peak:.3f} detections a frame; {hot.sum()} pixels look hot ({hot.mean():.3%})")
    print("reference    frames  scale   ours   opponent   lead   beyond noise   perfect")
    for n in FEW:
        few = average(shared, n)
        for name, reference in (("the others", others(every, few)), ("all 256", every)):
            scores = {"x1": native(few, reference, peak, restorer), "x4": binned(few, reference, peak, restorer)}
            scores["x1 mask"] = native(few, reference, peak, restorer, hot)
            for what, s in scores.items():
                print(
                    f"{name:<12} {n:5d}   {what:<7} {s.ours:5.2f} {s.opponent:8.2f} {s.lead:+8.2f} "
                    f"{s.beyond_noise:+10.2f} {s.perfect:12.2f}"
                )


if __name__ == "__main__":
    main()
