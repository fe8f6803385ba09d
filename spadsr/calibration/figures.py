"""Figures of a calibration: what was measured beside what the calibrated sensor predicts."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.calibration.fitted_law import FittedLaw
from noise_model.estimates import Estimate
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, GAP, HOT, NOISY, UNDER_RESPONDING, USER, Exposure, Sensor
from spadsr.pictures.plots import MODEL, SERIES, SOFT, cloud, curves, limit, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from noise_model.calibration.calibrate import Calibration

_STEPS = (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e4, 1e5)
_MASK = (
    (GAP, "gap", "#000000"),
    (DEAD, "dead", "#3b3b3b"),
    (UNDER_RESPONDING, "under-responding", "#7b4b94"),
    (NOISY, "noisy", "#e9a23b"),
    (HOT, "hot", "#c0392b"),
    (USER, "by hand", "#2a9d8f"),
)


def map_panels(calibration: "Calibration") -> "Figure":
    """Maps of dark count rate and relative PDE, of their intervals, and of the pixel mask."""
    from matplotlib.colors import LogNorm

    sensor = calibration.sensor
    dark, pde = _array(sensor.dark_count_rate), _array(sensor.pde / sensor.mean_pde)
    figure, axes = _panels(sensor.shape, 5)
    floor = max(float(np.quantile(dark[dark > 0], 0.01)), 1e-3) if (dark > 0).any() else 1e-3
    norm = LogNorm(floor, max(float(dark.max()), 2 * floor))
    _picture(axes[0], "dark count rate, cps", dark.clip(floor), "inferno", norm=norm)
    ratio = calibration.dark_high / np.maximum(calibration.dark_low, 1e-3)
    norm = LogNorm(1, max(1.1, float(np.quantile(ratio, 0.99))))
    _picture(axes[1], "its 95 % interval,\nupper / lower end", ratio, "Blues", ticks=_STEPS, norm=norm)
    reach = float(np.quantile(np.abs(pde - 1), 0.99)) or 0.01
    _picture(axes[2], "PDE / mean PDE", pde, "RdBu_r", vmin=1 - reach, vmax=1 + reach)
    half = 50 * (calibration.pde_high - calibration.pde_low)
    _picture(axes[3], "half its 95 % interval, %", half, "Blues", vmin=0, vmax=float(np.quantile(half, 0.99)) or 1.0)
    _mask(axes[4], sensor)
    return figure


def dark_curve(calibration: "Calibration") -> "Figure":
    """Dark count rates of the pixels in ascending order, with their intervals and the spread fitted to them."""
    figure, axes = plot()
    rate = _array(calibration.sensor.dark_count_rate).ravel()
    order = np.argsort(rate)
    share = (np.arange(rate.size) + 0.5) / rate.size * 100
    low, high = (one.ravel()[order] for one in (calibration.dark_low, calibration.dark_high))
    axes.fill_between(share, low, high, color=SOFT, alpha=0.6, lw=0, label="95 % interval of each pixel")
    axes.plot(share, rate[order], color=SERIES[0], lw=1.8, label="pixels, in order of their rate")
    fitted = _fitted_spread(calibration.estimates)
    if fitted is not None:
        axes.plot(*fitted, color=MODEL, lw=1.2, ls="--", label="fitted spread: bulk and hot tail, log-normal")
    bottom = float(np.quantile(low, 0.01))
    axes.set(yscale="log", xlim=(0, 100), ylim=(max(bottom / 2, 1e-3), 2 * float(high.max())))
    axes.set(xlabel="share of pixels with a lower rate, %", ylabel="dark count rate, cps")
    axes.legend(loc="upper left")
    return figure


def fano_curve(calibration: "Calibration") -> "Figure":
    """Fano factor (variance over mean) of the pixels of each flat against their mean, and the model's curve."""
    figure, axes = plot()
    good, ends = calibration.sensor.good.numpy(), []
    for colour, flat in zip(_cycle(), calibration.flats, strict=False):
        mean, variance = flat.mean[good], flat.variance[good]
        fano = variance / np.maximum(mean, 1e-30)
        cloud(axes, mean, fano, colour)
        pooled = variance.sum() / mean.sum()
        axes.plot(mean.mean(), pooled, "o", color=colour, mec="white", ms=8, zorder=4, label=flat.name)
        ends.append(np.quantile(fano, [0.005, 0.995]))
    limit(axes, np.array(ends))
    most = max(float(flat.mean[good].max()) for flat in calibration.flats)
    exposures = {flat.exposure for flat in calibration.flats}
    laws = [FittedLaw(ForwardModel(calibration.sensor, exposure), 1.2 * most) for exposure in exposures]
    curves(axes, [(law.mean[1:], law.variance[1:] / law.mean[1:]) for law in laws], "calibrated sensor")
    axes.set(xlabel="mean counts of an image", ylabel="variance / mean (Fano factor)")
    axes.legend(loc="best")
    return figure


def kernel(calibration: "Calibration") -> "Figure":
    """The crosstalk kernel: the chance of each neighbour to fire, with its interval."""
    figure, axes = plot(5.6, 4.8)
    value, low, high = calibration.crosstalk
    shown = np.maximum(value, 0) * 1e3
    image = axes.imshow(np.ma.masked_equal(shown, 0), cmap="Blues", vmin=0, vmax=shown.max() or 1)
    for (row, column), chance in np.ndenumerate(shown):
        words = f"{chance:.2g}\n[{1e3 * low[row, column]:.2g}, {1e3 * high[row, column]:.2g}]"
        centre = (row, column) == (len(value) // 2, len(value) // 2)
        dark = chance > 0.5 * shown.max()
        axes.text(
            column,
            row,
            "fires" if centre else words,
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark and not centre else "#222222",
        )
    reach = len(value) // 2
    offsets = [f"{offset:+d}" if offset else "0" for offset in range(-reach, reach + 1)]
    axes.set_xticks(range(len(value)), offsets)
    axes.set_yticks(range(len(value)), offsets)
    axes.set(xlabel="columns away", ylabel="rows away")
    figure.colorbar(image, ax=axes, label="chance to fire this neighbour, per mille", shrink=0.85)
    return figure


def memory(calibration: "Calibration") -> "Figure":
    """Correlation of images with later ones, and the correlation that the calibrated afterpulses predict."""
    figure, axes = plot()
    lags, value, error = calibration.autocorrelation
    axes.axhline(0, color="#888888", lw=0.8)
    axes.errorbar(lags, value, error, fmt="o", ms=5, color=SERIES[0], capsize=3, label="flats, one standard error")
    axes.plot(lags, _expected_memory(calibration, lags), color=MODEL, lw=1.4, label="calibrated sensor")
    axes.set(xscale="log", xlabel="images later", ylabel="correlation of a pixel with itself")
    axes.set_xticks(lags, [str(lag) for lag in lags])
    axes.minorticks_off()
    axes.legend(loc="best")
    return figure


def residuals(calibration: "Calibration") -> "Figure":
    """Histograms of each flat: pixels less their mean over all flats, in standard deviations of their photon noise."""
    from scipy.stats import norm

    figure, axes = plot()
    grid = np.linspace(-5, 5, 51)
    for colour, flat, values in zip(_cycle(), calibration.flats, _residuals(calibration), strict=False):
        inside = values[np.abs(values) < 5]
        label = f"{flat.name}: sd {inside.std():.2f}, {values.size - inside.size} beyond 5"
        axes.hist(inside, grid.tolist(), density=True, histtype="step", lw=1.5, color=colour, label=label)
    axes.plot(grid, norm.pdf(grid), color=MODEL, lw=1.4, ls="--", label="photon noise alone")
    axes.set(xlabel="(pixel in this flat - pixel in all flats) / standard deviation", ylabel="density", xlim=(-5, 5))
    axes.legend(loc="upper left", fontsize=8)
    return figure


def _residuals(calibration: "Calibration") -> Iterator[Floats]:
    """Residuals of the good pixels, for each flat."""
    good = calibration.sensor.good.numpy()
    relative, weight = [], []
    for flat, flux in zip(calibration.flats, calibration.flux, strict=True):
        whole = Exposure(flat.exposure.count_time, flat.frames)
        rate, sd = ForwardModel(calibration.sensor, whole).detection_rate(torch.from_numpy(flat.total))
        relative.append(rate.double().numpy()[good] / flux.value)
        weight.append((flux.value / sd.double().numpy()[good]) ** 2)
    total = np.sum(weight, axis=0)
    mean = np.sum([w * value for w, value in zip(weight, relative, strict=True)], axis=0) / total
    yield from ((value - mean) / np.sqrt(1 / w - 1 / total) for w, value in zip(weight, relative, strict=True))


def _expected_memory(calibration: "Calibration", lags: NDArray[np.int64]) -> Floats:
    """The correlation of images that the calibrated sensor predicts.

    Between binary frames afterpulses make it fall by the same factor a frame; images of counting arrays are
    independent. Subtracting the mean of n images, as in the measurement, lowers the correlation by 1 / n.
    """
    curves, sensor = [], calibration.sensor
    for flat in calibration.flats:
        mean = flat.mean[sensor.good.numpy()]
        law = FittedLaw(ForwardModel(sensor, flat.exposure), float(mean.max()))
        next_image = law.memory(law.row(mean)).sum() / law.spread(mean).sum()
        full, a = float(np.mean(mean)) / flat.exposure.cycles, sensor.afterpulse_probability
        rho = a * (1 - full) / (1 - a * full)  # a (1 - p), for the chance p that gives this share of full frames
        curves.append(next_image * rho ** (flat.exposure.cycles * (lags - 1.0)) - 1 / flat.images)
    return np.asarray(np.mean(curves, axis=0))


def _fitted_spread(estimates: dict[str, Estimate]) -> tuple[Floats, Floats] | None:
    """Share of pixels (%) below a rate, and that rate, by the two log-normals fitted to them."""
    from scipy.stats import norm

    names = ("dark_bulk", "dark_bulk_sigma", "dark_hot_fraction", "dark_hot_median", "dark_hot_sigma")
    if any(name not in estimates for name in names):
        return None
    bulk, bulk_sigma, hot, median, sigma = (estimates[name].value for name in names)
    rate = np.geomspace(bulk * np.exp(-4 * bulk_sigma), max(bulk, median) * np.exp(4 * sigma), 800)
    below = (1 - hot) * norm.cdf(np.log(rate / bulk) / bulk_sigma) + hot * norm.cdf(np.log(rate / median) / sigma)
    return 100 * below, rate


def _panels(shape: tuple[int, int], count: int) -> tuple["Figure", list["Axes"]]:
    """Axes for pictures of an array: a row of them if it is tall, else two rows."""
    from matplotlib.figure import Figure

    rows = 1 if shape[0] > 1.4 * shape[1] else 2
    columns = -(-count // rows)
    across = 2.4 if rows == 1 else 3.6
    height = rows * min(0.7 * across * shape[0] / shape[1] + 1.1, 5.2)
    figure = Figure(figsize=(columns * across, height), layout="constrained", facecolor="white")
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def _picture(
    axes: "Axes", title: str, values: Floats, colours: str, ticks: Sequence[float] | None = None, **scale: Any
) -> None:
    image = axes.imshow(values, cmap=colours, interpolation="nearest", **scale)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    bar = axes.inset_axes((1.05, 0, 0.06, 1))
    colours_there = axes.get_figure(root=True).colorbar(image, cax=bar, extend="neither")  # type: ignore[union-attr]
    if ticks is not None:
        lowest, highest = image.get_clim()
        within = [tick for tick in ticks if (lowest or 0) <= tick <= (highest or 0)]
        colours_there.set_ticks(within, labels=[f"{tick:g}" for tick in within])
        bar.minorticks_off()
    bar.tick_params(labelsize=7)


def _mask(axes: "Axes", sensor: Sensor) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    bits = np.zeros(sensor.shape, np.int32) if sensor.pixel_mask is None else sensor.pixel_mask.numpy()
    kind = np.zeros(sensor.shape, np.int32)
    for place, (bit, _, _) in enumerate(_MASK):
        kind[(bits & bit) > 0] = place + 1
    colours = ["#eef2f5", *(colour for _, _, colour in _MASK)]
    axes.imshow(kind, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(_MASK) + 0.5, interpolation="nearest")
    there = [(name, colour, int(((bits & bit) > 0).sum())) for bit, name, colour in _MASK]
    patches = [Patch(color=colour, label=f"{name}: {pixels}") for name, colour, pixels in there if pixels]
    axes.set_title(f"pixel mask, {int((bits == 0).sum())} good", fontsize=9)
    axes.tick_params(labelsize=7)
    if patches:
        axes.legend(handles=patches, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.05), frameon=False)


def _cycle() -> Iterator[str]:
    while True:
        yield from SERIES


def _array(values: Any) -> Floats:
    return np.asarray(values.numpy(), dtype=np.float64)
