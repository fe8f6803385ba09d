"""The picture of an experiment: what methods made of each condition, above curves of what was measured."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spadsr.experiments.experiment import OURS, Measure, Outcome, Panel, Row, measures_of
from spadsr.pictures.plots import MODEL, SERIES, figure_type, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL, _LEFT = 1.6, 0.4  # inches: least width of a picture, room for the labels of lines
_TALLEST = 2.6  # inches, of a picture
_PLOT, _CURVE = 3.2, 3.1  # inches: width and height of a plot
_MOST_CURVES = 4
_DEEPEST = 15.0  # dB below the best: what is worse is not drawn
_WIDE = 20  # ratio of errors from which their scale is logarithmic
_MARKERS = "os^Dv<>"


def drawn(outcome: Outcome) -> "Figure":
    """The pictures, a line of them for each label, above curves over N: one plot for each condition and measure."""
    lines, columns, plots = len(outcome.pictures), _columns(outcome.pictures), _plots(outcome.rows)
    width = max(_LEFT + _PANEL * len(columns), _PLOT * len(plots))
    shapes = [panel.picture.shape for line in outcome.pictures.values() for panel in line.values()]
    tall = (width - _LEFT) / max(1, len(columns)) * max((height / wide for height, wide in shapes), default=1.0)
    tall = min(tall, _TALLEST)
    above = lines * (tall + 0.05) + 0.3 if lines else 0.0
    figure = figure_type()(figsize=(width, above + _CURVE), layout="constrained", facecolor="white")
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[max(above, 1e-3), _CURVE])).tolist()
    if lines:
        _draw_pictures(top, outcome.pictures, columns)
    colours = _colours(outcome.rows)
    for axes, (measure, rows) in zip(np.ravel(bottom.subplots(1, max(1, len(plots)))), plots, strict=False):
        _draw_curves(axes, rows, measure, colours)
    _draw_legend(bottom)
    return figure


def _columns(pictures: Mapping[str, Mapping[str, Panel]]) -> list[str]:
    """The headings of all lines in one order: that of the longest line, and what it lacks."""
    longest = max(pictures.values(), key=len, default={})
    return list(dict.fromkeys([*longest, *(heading for line in pictures.values() for heading in line)]))


def _plots(rows: Sequence[Row]) -> list[tuple[Measure, list[Row]]]:
    """The rows of every condition with several N, for each measure that was taken."""
    found = []
    for condition in dict.fromkeys(row.condition for row in rows):
        for measure in measures_of(rows):
            taken = [r for r in rows if r.condition == condition and np.isfinite(r.values.get(measure, np.nan))]
            found += [(measure, taken)] if taken else []
    return found[:_MOST_CURVES]


def _colours(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every method."""
    methods = dict.fromkeys(row.method for row in rows)
    return {
        method: (MODEL if method == OURS else SERIES[place % len(SERIES)], _MARKERS[place % len(_MARKERS)])
        for place, method in enumerate(methods)
    }


def _draw_pictures(figure: Any, pictures: Mapping[str, Mapping[str, Panel]], columns: Sequence[str]) -> None:
    grid = figure.subplots(len(pictures), len(columns), squeeze=False)
    named = set[str]()
    for line, (label, panels) in zip(grid, pictures.items(), strict=True):
        line[0].set_ylabel(label, fontsize=9)
        for axes, heading in zip(line, columns, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if heading not in panels:
                continue
            panel = panels[heading]
            axes.imshow(panel.picture, cmap="gray", vmin=panel.low, vmax=panel.high, interpolation="nearest")
            if panel.marks is not None and len(panel.marks):
                axes.plot(panel.marks[:, 1], panel.marks[:, 0], "o", ms=5, mfc="none", mec="#e9a23b", mew=0.8)
            if heading not in named:
                axes.set_title(heading, fontsize=9, pad=3)
                named.add(heading)


def _draw_curves(axes: "Axes", rows: Sequence[Row], measure: Measure, colours: Mapping[str, tuple[str, str]]) -> None:
    plain(axes)
    for method, (colour, marker) in colours.items():
        if curve := sorted((row.frames, row.values[measure]) for row in rows if row.method == method):
            axes.plot(*zip(*curve, strict=True), color=colour, marker=marker, ms=4, lw=1.3, label=method)
    values = [row.values[measure] for row in rows]
    if measure.unit == "dB":
        axes.set_ylim(bottom=max(axes.get_ylim()[0], max(values) - _DEEPEST))
    if not measure.more and 0 < min(values) < max(values) / _WIDE:
        axes.set_yscale("log")
    axes.set_xscale("log", base=2)
    ticks = sorted({row.frames for row in rows})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.xaxis.minorticks_off()
    axes.set_xlabel("hardware frames summed, N", fontsize=9)
    axes.set_ylabel(measure.heading, fontsize=9)
    axes.set_title(rows[0].condition, fontsize=9)
    axes.grid(alpha=0.25)


def _draw_legend(figure: Any) -> None:
    """The methods of all plots, once, below them."""
    named = dict[str, Any]()
    for axes in figure.axes:
        named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if named:
        figure.legend(
            named.values(), named.keys(), loc="outside lower center", ncols=len(named), frameon=False, fontsize=9
        )
