"""What limits the counts of the public 64x32 camera: the spread of ten frames of one scene, a fan.

    python tests/noise_model/real_fano.py      # docs/images/real-fano.png, and the figures

Below a mean count of 7 most lit pixels lie where the blades pass, which adds to their spread. Of the brighter ones, a
share that is fitted too is taken for swept (any count as likely as any other), the others for still: ten independent
counts of one unknown mean, each mean as likely as any other.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from real_recordings import Counts, fan
from scipy import stats

from noise_model.estimates import Estimate
from noise_model.forward_model import ForwardModel
from noise_model.laws import frame_law
from noise_model.sensor import Exposure, Sensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STILL = 7.0  # counts
BANDS = (7.0, 7.5, 8.0, 8.5)
SWEPT_BANDS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
MOST = 18  # counts, in any frame of that camera
LARGEST = 24  # counts of a table
RATIOS = np.arange(13.0, 30.25, 0.25)  # exposure / dead time
LEVELS = 400  # mean counts of a table
MEDIAN_OF_VARIANCE = 0.927  # of ten normal numbers, over its mean

Law = NDArray[np.float64]  # (LEVELS, LARGEST + 1) chances of 0, 1, 2, ... counts, in the order of their means


@dataclass(frozen=True)
class Fit:
    """How well a law explains the still pixels. The log likelihood is the largest over the share of swept pixels."""

    log_likelihood: float
    swept: float


def counting(ratio: float) -> Law:
    """One frame of a pixel that is dead for 1 / `ratio` of it after each count."""
    one = torch.ones(1, 1)
    sensor = Sensor("counting", pde=one, dark_count_rate=one, dead_time=1 / ratio, counter_bits=9)
    level = torch.linspace(0.3, 12.5, LEVELS, dtype=torch.float64)
    rates = level / (1 - level / ratio)
    return _table(frame_law(rates, ForwardModel(sensor, Exposure(1.0)).process).numpy())


def binomial(frames: int) -> Law:
    """The sum of binary frames."""
    p = np.linspace(0.01, 0.8, LEVELS)
    return _table(np.asarray(stats.binom.pmf(np.arange(frames + 1), frames, p[:, None])))


def _table(pmf: NDArray[np.floating]) -> Law:
    table = np.zeros((LEVELS, LARGEST + 1))
    table[:, : pmf.shape[1]] = pmf[:, : LARGEST + 1]
    return table


def still(frames: Counts, low: float = STILL, high: float = np.inf) -> Counts:
    """(10, n) counts of the pixels whose mean is at least `low` and less than `high`."""
    mean = frames.mean(axis=0).round(9)
    return frames[:, (mean >= low) & (mean < high)]


def fit(counts: Counts, law: Law) -> Fit:
    """Of the law to counts (10, n) of still and swept pixels."""
    as_still = _still_chance(counts, law)
    as_swept = -len(counts) * np.log(MOST + 1)
    shares = np.linspace(0.001, 0.5, 500)[:, None]
    both = np.logaddexp(np.log1p(-shares) + as_still, np.log(shares) + as_swept).sum(axis=1)
    return Fit(float(both.max()), float(shares[both.argmax(), 0]))


def _still_chance(counts: Counts, law: Law) -> NDArray[np.float64]:
    """(n,) logarithm of the chance of a pixel's counts, averaged over mean counts of 3 to 12."""
    mean = law @ np.arange(LARGEST + 1)
    weight = np.where((mean > 3) & (mean < 12), np.gradient(mean), 0) / 9
    with np.errstate(divide="ignore"):
        chance = np.log(law)[:, counts].sum(axis=1) + np.log(weight)[:, None]
    return np.asarray(np.logaddexp.reduce(chance, axis=0))


def dead_time_ratio(counts: Counts) -> Estimate:
    """Exposure over dead time of largest likelihood, and where that falls by 1.92."""
    likelihood = np.array([fit(counts, counting(ratio)).log_likelihood for ratio in RATIOS])
    inside = RATIOS[likelihood > likelihood.max() - stats.chi2.ppf(0.95, 1) / 2]
    return Estimate(float(RATIOS[likelihood.argmax()]), float(inside[0]), float(inside[-1]))


def fano(counts: Counts) -> NDArray[np.float64]:
    """(n,) sample variance over mean of counts (10, n), such that the median is about the variance over the mean."""
    return np.asarray(counts.var(axis=0, ddof=1) / counts.mean(axis=0) / MEDIAN_OF_VARIANCE)


def medians(law: Law, mean: float, pixels: int, rng: np.random.Generator, trials: int = 2000) -> NDArray[np.float64]:
    """(trials,) medians of `fano` over so many still pixels of one mean, as the law draws them."""
    row = law[np.searchsorted(law @ np.arange(LARGEST + 1), mean)]
    drawn = rng.choice(LARGEST + 1, size=(10, trials, pixels), p=row / row.sum())
    return np.asarray(np.median(fano(drawn), axis=1))


def draw(frames: Counts, ratio: Estimate, path: Path) -> None:
    """Spread against mean: every pixel, medians of pixels of equal mean, and the laws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.subplots()
    lit = still(frames, SWEPT_BANDS[0])
    axes.plot(lit.mean(axis=0), fano(lit), ".", color="0.8", markersize=3, zorder=0, label="pixels")
    for edges, colour, where in ((SWEPT_BANDS, "0.5", "where blades pass"), ((*BANDS, 10), "black", "still")):
        at, middle, error = np.transpose([_band(still(frames, low, high)) for low, high in pairwise(edges)])
        axes.errorbar(
            at, middle, error, fmt="o", color=colour, markersize=4, capsize=2, lw=1, label=f"medians, {where}"
        )
    _draw_laws(axes, ratio)
    axes.set(xlim=(0, 10), ylim=(0, 2.6), xlabel="mean count over ten frames", ylabel="variance / mean")
    axes.legend(fontsize=8, loc="upper right", edgecolor="none")
    figure.savefig(path, dpi=150)


def _band(counts: Counts) -> tuple[float, float, float]:
    """Mean count, median Fano factor and its standard error by bootstrap."""
    each = fano(counts)
    again = np.random.default_rng(0).choice(each, size=(1000, each.size))
    return float(counts.mean()), float(np.median(each)), float(np.median(again, axis=1).std())


def _draw_laws(axes: "Axes", ratio: Estimate) -> None:
    mean, low, middle, high = np.linspace(0.3, 10, 200), *(counting(r) for r in (ratio.low, ratio.value, ratio.high))
    axes.plot(mean, _fano(middle, mean), color="C0", label=f"dead time, T / τ = {ratio.value:g}")
    axes.fill_between(mean, _fano(low, mean), _fano(high, mean), color="C0", alpha=0.2, linewidth=0)
    axes.plot(mean, _fano(binomial(MOST), mean), "--", color="C3", label=f"{MOST} binary frames")
    axes.axhline(1, color="0.6", linewidth=1, linestyle=":", label="Poisson")


def _fano(law: Law, at: NDArray[np.float64]) -> NDArray[np.float64]:
    count = np.arange(LARGEST + 1)
    mean = law @ count
    return np.interp(at, mean, (law @ count**2 - mean**2) / mean)


def main() -> None:
    root = Path(__file__).parents[2]
    frames = fan(root.parent / "shared")
    ratio = dead_time_ratio(still(frames))
    print(f"exposure / dead time = {ratio.value:g} ({ratio.low:g} to {ratio.high:g}), {still(frames).shape[1]} pixels")
    for name, law in (("dead time", counting(ratio.value)), (f"{MOST} binary frames", binomial(MOST))):
        each = fit(still(frames), law)
        print(f"{name}: log likelihood {each.log_likelihood:.1f}, {each.swept:.1%} of the pixels swept")
        for low, high in pairwise(BANDS):
            counts = still(frames, low, high)
            middle = medians(law, counts.mean(), counts.shape[1], np.random.default_rng(0))
            print(
                f"  {counts.shape[1]} pixels of mean {counts.mean():.2f}: {np.median(fano(counts)):.3f} measured, "
                f"{middle.mean():.3f} ± {middle.std():.3f} expected"
            )
    draw(frames, ratio, root / "docs" / "images" / "real-fano.png")


if __name__ == "__main__":
    main()
