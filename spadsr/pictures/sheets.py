"""Sheets of pictures for people: recorded and restored side by side, on one scale, in counts/s."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hardware.settings import in_seconds
from noise_model.arrays import Counts, Picture
from noise_model.forward_model import ForwardModel
from spadsr.pictures.plots import figure_type, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

Stretch: TypeAlias = Literal["auto", "linear", "asinh"]

_DPI = 100
_PANEL, _LARGEST = 768, 2048  # pixels on the longer side: small pictures are enlarged up to it, larger ones averaged
_EDGE, _TOP, _GAP = 24, 64, 16  # pixels
_NARROWEST, _SHORTEST_BAR = 320, 384  # least width of a panel's column, least height for the bar's labels
_LONGEST_NAME = 80  # characters of a headline that say the name of the recording
_DECADES = 3  # of uncertainties, from black to white, at most
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
    frames: NDArray[np.integer[Any]] | None = None,
    name: str = "",
    remark: str = "",
    notes: Mapping[str, str] | None = None,
    stretch: Stretch = "auto",
) -> None:
    """Writes a PNG: the recorded image beside the restored one, at one rate scale, its uncertainty, and the residual.

    The recorded image is the inverse response of every pixel by itself. The bar has two sides: counts/s, and the
    counts that such a rate gives in one recorded image. The uncertainty has a scale of its own, logarithmic, and is a
    mean over the area of a native pixel around each place: the pitch of the array, of which it depends, hides the rest.
    Every restored pixel is drawn as one or more of the screen, or, above 2048 on a side, averaged with its neighbours.

    Args:
        rate, uncertainty: (s H, s W), counts/s per native pixel area.
        model: the exposure, and an array of pixels that are all alike.
        counts: (H, W) of the recorded image, where it is known.
        residual: (H, W), counts less those that the restored rates lead to, in standard deviations: red where there are
            more.
        frames: (H, W), hardware frames of each pixel, where they are of interest: black is none.
        name: of the recording, for the headline; `remark` follows there.
        notes: goes into the file's metadata: seed, checksum of the weights.
        stretch: `asinh` shows faint things beside bright ones; `auto` takes it where bright things are rare.
    """
    from matplotlib.colors import Normalize
    from matplotlib.ticker import EngFormatter

    scale, norm = rate.shape[0] // model.sensor.shape[0], rate_scale(rate, stretch)
    together = -(-max(rate.shape) // _LARGEST)
    drawn = block_means(rate, together)
    averaged = f", drawn {together} x {together} as one" if together > 1 else ""
    panels = [(f"restored x{scale}, {_size(rate)}{averaged}", drawn, norm, "gray")]
    if counts is not None:
        recorded, _ = model.detection_rate(torch.from_numpy(counts.astype(np.float32)))
        panels.insert(0, (f"recorded, {_size(counts)}", recorded.numpy(), norm, "gray"))
    if uncertainty is not None:
        smooth = block_means(_over_native_pixels(uncertainty, scale), together)
        own = _decades(smooth)
        span = " to ".join(f"{EngFormatter(places=0, sep='')(level or 0)}" for level in (own.vmin, own.vmax))
        panels.append((f"standard deviation, {span} counts/s (log)", smooth, own, "gray"))
    if residual is not None:
        panels.append((_RESIDUAL, residual, Normalize(-_MOST_SD, _MOST_SD, clip=True), "RdBu_r"))
    if frames is not None:
        used = f"frames used, {frames.min():,} to {frames.max():,}"
        panels.append((used, frames.astype(np.float32), Normalize(0, float(frames.max())), "gray"))
    figure, axes, bar = _laid_out(drawn.shape, [heading for heading, *_ in panels])
    for place, (_, picture, shades, colours) in zip(axes, panels, strict=True):
        extent = (0, drawn.shape[1], drawn.shape[0], 0)  # recorded pixels are as large as what they were restored to
        place.imshow(picture, cmap=colours, norm=shades, interpolation="antialiased", extent=extent, aspect="auto")
    _rate_bar(bar, norm, model)
    exposure = f"N = {model.exposure.frames} x {in_seconds(model.exposure.count_time)}"
    headline = "   ·   ".join(filter(None, (_short(name), exposure, remark)))
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
    (height, width), columns = _largest(strips), min(columns, len(strips))
    scales = [rate_scale(list(strip.rates.values())[-1], stretch) for strip in strips]
    labels = [
        f"{strip.label}   white = {in_units(norm.vmax)}{stretch_of(norm)}"
        for strip, norm in zip(strips, scales, strict=True)
    ]
    headings = [heading for strip in strips for heading in (*strip.rates, *strip.references)]
    pitch = max(width + 2, *(text_width(heading, 8) + 4 for heading in headings))
    panels = max(len(strip.rates) + len(strip.references) for strip in strips)
    cell = (max(panels * pitch, *(text_width(label, 8) for label in labels)) + _GAP, height + 56)
    pixels = columns * cell[0] + _GAP, math.ceil(len(strips) / columns) * cell[1] + _GAP
    figure = figure_type()(figsize=(pixels[0] / _DPI, pixels[1] / _DPI), dpi=_DPI, facecolor="white")
    for index, (strip, norm, label) in enumerate(zip(strips, scales, labels, strict=True)):
        row, column = divmod(index, columns)
        left, top = _GAP + column * cell[0], row * cell[1] + 28
        for panel, (heading, picture, scale) in enumerate(_panels(strip, norm)):
            axes = _axes(figure, left + panel * pitch, top, width, height)
            axes.set_title(heading, fontsize=8, pad=3)
            axes.imshow(picture, cmap="gray", norm=scale, interpolation="nearest")
        place = (left / pixels[0], 1 - (top + height + 6) / pixels[1])
        figure.text(*place, label, fontsize=8, va="top")
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


def block_means(picture: Picture, side: int) -> Picture:
    """Means over blocks of side x side pixels, (H, W) to (H / side, W / side); what fills no block is cut off."""
    rows, columns = (length // side for length in picture.shape)
    blocks = picture[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return picture if side == 1 else blocks.mean(axis=(1, 3))


def enlarged(picture: Picture, scale: int) -> Picture:
    """A picture in which every pixel became scale x scale equal ones."""
    return picture.repeat(scale, axis=-2).repeat(scale, axis=-1)


def _laid_out(shape: Sequence[int], headings: Sequence[str]) -> tuple["Figure", list["Axes"], "Axes"]:
    """A figure with a panel for each heading, a whole number of screen pixels per picture pixel, and room for a bar."""
    height, width = (side * max(1, _PANEL // max(shape)) for side in shape)
    column = max(width, _NARROWEST, *(text_width(heading, 10) + _GAP for heading in headings))
    tall = max(height, _SHORTEST_BAR)
    across = 2 * _EDGE + len(headings) * (column + _GAP) - _GAP + _LEFT_OF_BAR + _BAR + _RIGHT_OF_BAR
    down = _TOP + tall + _EDGE
    figure = figure_type()(figsize=(across / _DPI, down / _DPI), dpi=_DPI, facecolor="white")
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
    axes.set_axis_off()
    return axes


def _rate_bar(bar: "Axes", norm: "Normalize", model: ForwardModel) -> None:
    """The scale of all rates: counts/s on its right, the counts of one image on its left."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.ticker import EngFormatter

    colours = Colorbar(bar, ScalarMappable(norm, "gray"), extend="max", extendfrac=0.03)
    white = float(norm.vmax or 1)
    rates = np.linspace(0, white, 2048)
    means = (model.exposure.most_cycles * model.mean_per_frame(torch.from_numpy(rates))).numpy()
    ticks, label = _ticks(white, lambda rate: float(norm(rate))), EngFormatter(sep="\N{THIN SPACE}")
    colours.set_ticks(ticks, labels=[label(tick) for tick in ticks])
    colours.set_label(f"photon detection rate, counts/s per native pixel{stretch_of(norm)}", fontsize=9)
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


def _over_native_pixels(picture: Picture, scale: int) -> Picture:
    """Means over scale x scale pixels around each: what repeats with the pitch of the array is gone."""
    around = (scale // 2, (scale - 1) // 2)
    padded = F.pad(torch.from_numpy(picture)[None, None], 2 * around, mode="replicate")
    return np.asarray(F.avg_pool2d(padded, scale, stride=1)[0, 0])


def _decades(uncertainty: Picture) -> "Normalize":
    """Brightness scale of uncertainties: logarithmic, over the middle 99 % of them and three decades at most."""
    from matplotlib.colors import LogNorm

    low, high = np.percentile(uncertainty, (0.5, 99.5))
    white = float(high) if high > 0 else 1.0
    black = min(max(float(low), white / 10**_DECADES), 0.5 * white)
    return LogNorm(black, white, clip=True)


def text_width(text: str, size: float) -> int:
    """Pixels that a line of text takes on a sheet, at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _height, _descent = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return math.ceil(width * _DPI / 72)


def _short(name: str) -> str:
    """A name without its middle where it is too long for a headline."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


def in_units(rate: float | None) -> str:
    """A rate with a prefix, such as 86.6 kcounts/s."""
    from matplotlib.ticker import EngFormatter

    return str(EngFormatter(unit="counts/s", places=1)(rate or 0.0))


def stretch_of(norm: "Normalize") -> str:
    """What a brightness scale is, in brackets after its white level; nothing where it is linear."""
    from matplotlib.colors import AsinhNorm

    return " (asinh scale)" if isinstance(norm, AsinhNorm) else ""


def _size(picture: Picture) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"


def _save(figure: "Figure", file: Path | IO[bytes], notes: Mapping[str, str] | None) -> None:
    metadata = {"Software": f"spadsr {version('spadsr')}", **(notes or {})}
    save_png(figure, file, _DPI, metadata)
