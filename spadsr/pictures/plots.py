"""The look that all plots share, and how figures become files."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from noise_model.arrays import Floats
from noise_model.plain_text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MODEL, SOFT = "#c0392b", "#9fb3c8"
SERIES = ("#1f4e79", "#2a9d8f", "#e9a23b", "#7b4b94", "#5c6b73", "#8ab17d")

_DPI = 110
_MOST_POINTS = 4000  # of a scatter plot


def png(figure: "Figure") -> bytes:
    """A figure as the content of a PNG file."""
    file = io.BytesIO()
    save_png(figure, file, _DPI)
    return file.getvalue()


def save_png(figure: "Figure", file: Path | IO[bytes], dpi: int, notes: Mapping[str, str] | None = None) -> None:
    """Writes a figure as a PNG, its words as they are: a `$` in a name begins no mathematics, an odd byte is escaped.

    Args:
        notes: goes into the file's metadata.
    """
    from matplotlib.axis import Tick
    from matplotlib.text import Text

    powers = {label for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}  # are mathematics
    for words in set(figure.findobj(Text)) - powers:
        words.set_parse_math(False)
        words.set_text(_shown(words.get_text()))
    metadata = {name: _shown(note) for name, note in (notes or {}).items()}
    figure.savefig(file, dpi=dpi, format="png", metadata=metadata)


def _shown(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def figure_type() -> type["Figure"]:
    """Matplotlib's figure, loaded without the manual of its hundred classes, which takes half of the time."""
    from matplotlib import artist

    manual = artist.kwdoc
    setattr(artist, "kwdoc", lambda _: "")  # noqa: B010 (a function of a module)
    try:
        from matplotlib.figure import Figure
    finally:
        setattr(artist, "kwdoc", manual)  # noqa: B010
    return Figure


def plot(width: float = 6.4, height: float = 4.2) -> tuple["Figure", "Axes"]:
    """An empty figure and its axes; width and height in inches."""
    figure = figure_type()(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    plain(axes)
    return figure, axes


def plain(axes: "Axes") -> None:
    """Takes away the frame of axes above and to the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)


def cloud(axes: "Axes", x: Floats, y: Floats, colour: str) -> None:
    """Draws faint points (x, y); an even share of them where there are too many."""
    step = -(-x.size // _MOST_POINTS)
    axes.plot(x.ravel()[::step], y.ravel()[::step], ".", ms=2, alpha=0.35, color=colour, mew=0, rasterized=True)


def limit(axes: "Axes", values: Floats) -> None:
    """Sets the limits of the y axis to those of some values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 0.1
    axes.set_ylim(low - margin, high + margin)


def curves(axes: "Axes", lines: Sequence[tuple[Floats, Floats]], label: str) -> None:
    """Draws the model's lines (x, y), and keeps the limits of what is drawn already."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for place, (x, y) in enumerate(lines):
        axes.plot(x, y, color=MODEL, lw=1.4, label=label if place == 0 else None, zorder=3)
    axes.set(xlim=(left, right), ylim=(bottom, top))
