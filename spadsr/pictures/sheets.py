"""Sheets of pictures for people: recorded and restored side by side, on one scale, in counts/s."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.settings import in_seconds
from noise_model.arrays import Counts, Picture
from noise_model.forward_model import ForwardModel
from spadsr.pictures.plots import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

Stretch: TypeAlias = Literal["auto", "linear", "asinh"]

_DPI = 100
_PANEL = 768  # pixels on the longer side of a panel, at most
_EDGE, _TOP, _GAP = 24, 64, 16  # pixels
_HEADING, _SHORTEST_BAR = 320, 384  # least width for a panel's heading, least height for the bar's labels
_MOST_SD = 4  # standard deviations, at the ends of the colours of residuals
_RESIDUAL = f"counts beside the answer, blue -{_MOST_SD} to red +{_MOST_SD} sd"
_BAR, _LEFT_OF_BAR, _RIGHT_OF_BAR = 18, 64, 80


def sheet(
    file: Path | IO[bytes],
    rate: Picture,
    uncertainty: Picture | None,
    model: ForwardModel,
    *,
    counts: Counts | None = None,
    residual: Picture | None = None,
    name: str = "",
    remark: str = "",
    notes: Mapping[str, str] | None = None,
    stretch: Stretch = "auto",
) -> None:
    """Writes a PNG: the recorded image beside the restored one, at one rate scale, its uncertainty, and the residual.

    The recorded image is the inverse response of every pixel by itself. The bar has two sides: counts/s, and the
    counts that such a rate gives in one recorded image. The uncertainty has a scale of its own, linear.

    Args:
        rate, uncertainty: (s H, s W), counts/s per native pixel area.
        model: the exposure, and an array of pixels that are all alike.
        counts: (H, W) of the recorded image, where it is known.
        residual: (H, W), counts less those that the restored rates lead to, in standard deviations: red where there are
            more.
        name: of the recording, for the headline; `remark` follows there.
        notes: goes into the file's metadata: seed, checksum of the weights.
        stretch: `asinh` shows faint things beside bright ones; `auto` takes it where bright things are rare.
    """
    from matplotlib.colors import Normalize

    scale, norm = rate.shape[0] // model.sensor.shape[0], rate_scale(rate, stretch)
    panels = [(f"restored x{scale}, {_size(rate)}", rate, norm, "gray")]
    if counts is not None:
        recorded, _ = model.detection_rate(torch.from_numpy(counts.astype(np.float32)))
        panels.insert(0, (f"recorded, {_size(counts)}", enlarged(recorded.numpy(), scale), norm, "gray"))
    if uncertainty is not None:
        own = rate_scale(uncertainty, "linear")
        panels.append((f"standard deviation, white = {_in_units(own.vmax)}", uncertainty, own, "gray"))
    if residual is not None:
        panels.append((_RESIDUAL, enlarged(residual, scale), Normalize(-_MOST_SD, _MOST_SD, clip=True), "RdBu_r"))
    figure, axes, bar = _laid_out(rate.shape, [heading for heading, *_ in panels])
    for place, (_, picture, shades, colours) in zip(axes, panels, strict=True):
        place.imshow(picture, cmap=colours, norm=shades, interpolation="antialiased")  # smooths only what it shrinks
    _rate_bar(bar, norm, model)
    exposure = f"N = {model.exposure.cycles} x {in_seconds(model.exposure.count_time)}"
    headline = "   ·   ".join(filter(None, (name, exposure, remark)))
    figure.suptitle(headline, fontsize=12, x=0.5, y=1 - 20 / figure.bbox.height)
    _save(figure, file, notes)


@dataclass(frozen=True)
class Strip:
    """Pictures of one scene side by side in a contact sheet, each with its heading.

    Attributes:
        label: printed below, beside the white level.
        rates: counts/s; all at the scale of the last of them.
        references: pictures of other origin, in their own units, each drawn from 0 to a level that one pixel in 500
            exceeds.
    """

    label: str
    rates: Mapping[str, Picture]
    references: Mapping[str, NDArray[Any]]


def contact_sheet(
    strips: Sequence[Strip],
    path: Path,
    columns: int = 6,
    notes: Mapping[str, str] | None = None,
    stretch: Stretch = "auto",
) -> None:
    """Writes a PNG of many strips, `columns` beside each other. All pictures are drawn at the size of the largest."""
    from matplotlib.figure import Figure

    height, width = _largest(strips)
    panels = max(len(strip.rates) + len(strip.references) for strip in strips)
    columns = min(columns, len(strips))
    cell = (panels * (width + 2) + _GAP, height + 56)
    pixels = columns * cell[0] + _GAP, math.ceil(len(strips) / columns) * cell[1] + _GAP
    figure = Figure(figsize=(pixels[0] / _DPI, pixels[1] / _DPI), dpi=_DPI, facecolor="white")
    for index, strip in enumerate(strips):
        row, column = divmod(index, columns)
        left, top = _GAP + column * cell[0], row * cell[1] + 28
        norm = rate_scale(list(strip.rates.values())[-1], stretch)
        for panel, (heading, picture, scale) in enumerate(_panels(strip, norm)):
            axes = _axes(figure, left + panel * (width + 2), top, width, height)
            axes.set_title(heading, fontsize=8, pad=3)
            axes.imshow(picture, cmap="gray", norm=scale, interpolation="nearest")
        place = (left / pixels[0], 1 - (top + height + 6) / pixels[1])
        figure.text(*place, f"{strip.label}   white = {_in_units(norm.vmax)}{_stretch_of(norm)}", fontsize=8, va="top")
    _save(figure, path, notes)


def rate_scale(rate: Picture, stretch: Stretch = "auto") -> "Normalize":
    """Brightness scale of a picture: from 0 to a level that one pixel in 500 exceeds, linear or asinh."""
    from matplotlib.colors import AsinhNorm, Normalize

    white = float(np.percentile(rate, 99.8)) or float(rate.max()) or 1.0
    if stretch == "auto":
        stretch = "asinh" if np.median(rate) < 0.05 * white else "linear"
    if stretch == "asinh":
        return AsinhNorm(white / 10, vmin=0, vmax=white, clip=True)
    return Normalize(0, white, clip=True)


def enlarged(picture: Picture, scale: int) -> Picture:
    """A picture in which every pixel became scale x scale equal ones."""
    return picture.repeat(scale, axis=-2).repeat(scale, axis=-1)


def _laid_out(shape: Sequence[int], headings: Sequence[str]) -> tuple["Figure", list["Axes"], "Axes"]:
    """A figure with a panel for each heading, a whole number of screen pixels per picture pixel, and room for a bar."""
    from matplotlib.figure import Figure

    zoom = _PANEL / max(shape)
    height, width = (max(1, round(side * (math.floor(zoom) if zoom >= 1 else zoom))) for side in shape)
    column, tall = max(width, _HEADING), max(height, _SHORTEST_BAR)
    across = 2 * _EDGE + len(headings) * (column + _GAP) - _GAP + _LEFT_OF_BAR + _BAR + _RIGHT_OF_BAR
    down = _TOP + tall + _EDGE
    figure = Figure(figsize=(across / _DPI, down / _DPI), dpi=_DPI, facecolor="white")
    axes = []
    for place, heading in enumerate(headings):
        left = _EDGE + place * (column + _GAP) + (column - width) // 2
        axes.append(_axes(figure, left, _TOP, width, height))
        axes[-1].set_title(heading, fontsize=10)
    bar = figure.add_axes((1 - (_EDGE + _RIGHT_OF_BAR + _BAR) / across, _EDGE / down, _BAR / across, tall / down))
    return figure, axes, bar


def _axes(figure: "Figure", left: int, top: int, width: int, height: int) -> "Axes":
    """Axes without ticks, at exact pixels of the figure from its upper left."""
    across, down = figure.bbox.width, figure.bbox.height
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _rate_bar(bar: "Axes", norm: "Normalize", model: ForwardModel) -> None:
    """The scale of all rates: counts/s on its right, the counts of one image on its left."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.ticker import EngFormatter

    colours = Colorbar(bar, ScalarMappable(norm, "gray"), extend="max", extendfrac=0.03)
    white = float(norm.vmax or 1)
    rates = np.linspace(0, white, 2048)
    means = (model.exposure.cycles * model.mean_per_frame(torch.from_numpy(rates))).numpy()
    ticks, label = _ticks(white, lambda rate: float(norm(rate))), EngFormatter(sep="\N{THIN SPACE}")
    colours.set_ticks(ticks, labels=[label(tick) for tick in ticks])
    colours.set_label(f"photon detection rate, counts/s per native pixel{_stretch_of(norm)}", fontsize=9)
    counts = _ticks(float(means[-1]), lambda mean: float(norm(np.interp(mean, means, rates))))
    other = bar.secondary_yaxis("left")
    other.set_yticks(np.interp(counts, means, rates).tolist(), [f"{count:g}" for count in counts])
    other.set_ylabel("mean counts of one image", fontsize=9)
    for axis in (bar, other):
        axis.minorticks_off()
        axis.tick_params(labelsize=8)


def _ticks(largest: float, place: Callable[[float], float]) -> list[float]:
    """Round numbers from 0 to `largest`, as many as fit on a bar where a number stands at `place`, 0 to 1."""
    from matplotlib.ticker import MaxNLocator

    decade = 10.0 ** math.floor(math.log10(largest))
    small = [digit * decade / 10**down for down in range(3) for digit in (5, 2, 1)]
    ticks = [0.0]
    for tick in [*reversed(MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, largest)), *small]:
        if 0 < tick <= largest and all(abs(place(tick) - place(other)) > 0.06 for other in ticks):
            ticks.append(float(tick))
    return sorted(ticks)


def _panels(strip: Strip, norm: "Normalize") -> Iterator[tuple[str, Picture, "Normalize"]]:
    for heading, picture in strip.rates.items():
        yield heading, picture, norm
    for heading, picture in strip.references.items():
        yield heading, picture, rate_scale(picture, "linear")


def _largest(strips: Sequence[Strip]) -> tuple[int, int]:
    shapes = [
        picture.shape for strip in strips for part in (strip.rates, strip.references) for picture in part.values()
    ]
    return max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)


def _in_units(rate: float | None) -> str:
    from matplotlib.ticker import EngFormatter

    return str(EngFormatter(unit="counts/s", places=1)(rate or 0.0))


def _stretch_of(norm: "Normalize") -> str:
    from matplotlib.colors import AsinhNorm

    return " (asinh scale)" if isinstance(norm, AsinhNorm) else ""


def _size(picture: Picture) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"


def _save(figure: "Figure", file: Path | IO[bytes], notes: Mapping[str, str] | None) -> None:
    metadata = {"Software": f"spadsr {version('spadsr')}", **(notes or {})}
    save_png(figure, file, _DPI, metadata)
