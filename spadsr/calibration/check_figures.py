"""Figures of a check: the counts of a capture beside those that the sensor would give."""

from typing import TYPE_CHECKING

import numpy as np

from noise_model.calibration.goodness import Goodness
from spadsr.pictures.plots import MODEL, SERIES, SOFT, cloud, curves, limit, plain, plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fano(found: Goodness) -> "Figure":
    """Variance over mean of every pixel and band of brightness, and where 95 % of captures by the sensor would lie."""
    figure, axes = plot()
    there = found.mean > 0
    cloud(axes, found.mean[there], found.variance[there] / found.mean[there], SERIES[0])
    mean, fano, low, high = np.array([[band.mean, band.fano, band.low, band.high] for band in found.bands]).T
    ends = np.quantile(found.variance[there] / found.mean[there], [0.005, 0.995])
    limit(axes, np.concatenate([ends, low, high, fano]))
    middle = (low + high) / 2
    axes.errorbar(
        mean, middle, (high - low) / 2, fmt="none", color=MODEL, capsize=4, lw=1.5, label="sensor, 95 % of captures"
    )
    axes.plot(
        mean, fano, "o", ms=6, color=SERIES[2], mec="black", mew=0.6, zorder=4, label="this capture, pixels of a band"
    )
    if np.nanmax(found.mean) > 8 * np.median(found.mean[there]):
        axes.set_xscale("log")
    curves(axes, [found.curve], "sensor")
    axes.set(xlabel="mean counts of an image", ylabel="variance / mean (Fano factor)")
    axes.legend(loc="best")
    return figure


def histograms(found: Goodness) -> "Figure":
    """Histogram of the counts of each band of brightness, and what the sensor predicts."""
    from matplotlib.figure import Figure

    columns = min(3, len(found.bands))
    rows = -(-len(found.bands) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.5 * rows), layout="constrained", facecolor="white")
    for place, band in enumerate(found.bands):
        axes = figure.add_subplot(rows, columns, place + 1)
        plain(axes)
        shown = np.flatnonzero(np.maximum(band.seen, band.model) > 1e-6)
        bins = np.arange(shown.min(), shown.max() + 1)
        axes.bar(bins * band.width, band.seen[bins], band.width, align="edge", color=SOFT, label="this capture")
        axes.stairs(
            band.model[bins], np.arange(bins[0], bins[-1] + 2) * band.width, color=MODEL, lw=1.3, label="sensor"
        )
        axes.set_title(f"mean {band.mean:.3g}, {int(band.pixels.sum())} pixels", fontsize=9)
        axes.set(yscale="log", ylim=(0.5 / (band.pixels.sum() * found.images), 1), xlabel="counts of an image")
    axes.legend(fontsize=8)
    return figure
