"""An evaluation as curves: how good the answers are, and how well their intervals cover the truth."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spadsr.evaluation.summaries import Summary, by_scale, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES, _MARKERS = ("-", "--", ":", "-."), "osD^v"
_BANDS = {0.68: (0.65, 0.71), 0.95: (0.93, 0.97)}  # coverage within these bounds counts as calibrated


def figures(summaries: Sequence[Summary]) -> dict[str, "Figure"]:
    """The figures of an evaluation by name: `summary`, and `coverage` where a method has error bars."""
    with_intervals = [summary for summary in summaries if summary.within_68 is not None]
    coverage = {"coverage": _coverage(with_intervals)} if with_intervals else {}
    return {"summary": _quality(summaries)} | coverage


def _quality(summaries: Sequence[Summary]) -> "Figure":
    """A panel for every mode and scale: PSNR against N or flux, whichever varies most; a dash for each of the other."""
    figure, panels = _panels(summaries)
    for axes, series in panels:
        _draw_quality(axes, series)
        _finish(axes, series, "PSNR, dB: mean and its standard error")
    return figure


def _coverage(summaries: Sequence[Summary]) -> "Figure":
    """A panel for every mode and scale: shares of the truth inside the intervals, and the bands they should be in."""
    figure, panels = _panels(summaries)
    for axes, series in panels:
        for level, (low, high) in _BANDS.items():
            axes.axhspan(100 * low, 100 * high, color="0.9", zorder=0)
            axes.axhline(100 * level, color="0.6", linewidth=0.8)
        _draw_coverage(axes, series)
        axes.set_ylim(50, 100)
        _finish(axes, series, "share of pixels inside the interval, %")
    return figure


def _panels(summaries: Sequence[Summary]) -> tuple["Figure", list[tuple["Axes", list[Summary]]]]:
    from matplotlib.figure import Figure

    panels = by_scale(summaries)
    figure = Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    return figure, list(zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True))


def _by_frames(series: Sequence[Summary]) -> bool:
    conditions = [summary.condition for summary in series]
    return len({each.frames for each in conditions}) >= len({each.flux for each in conditions})


def _draw_quality(axes: "Axes", series: Sequence[Summary]) -> None:
    by_frames = _by_frames(series)
    methods, others = (list(dict.fromkeys(names)) for names in zip(*_curves(series, by_frames), strict=True))
    for (method, other), curve in _curves(series, by_frames).items():
        axes.errorbar(
            [_along(summary, by_frames) for summary in curve],
            [summary.psnr.value for summary in curve],
            np.nan_to_num([summary.psnr.error for summary in curve]),
            color=f"C{methods.index(method)}",
            linestyle=_DASHES[others.index(other) % len(_DASHES)],
            marker=_MARKERS[methods.index(method) % len(_MARKERS)],
            markersize=5,
            elinewidth=1,
            capsize=2,
            label=f"{method}, {other}" if len(others) > 1 else method,
        )


def _draw_coverage(axes: "Axes", series: Sequence[Summary]) -> None:
    by_frames = _by_frames(series)
    for at, ((method, other), curve) in enumerate(_curves(series, by_frames).items()):
        places = [_along(summary, by_frames) for summary in curve]
        for level, shares in (
            ("68 %", [summary.within_68 for summary in curve]),
            ("95 %", [summary.within_95 for summary in curve]),
        ):
            percent = [100 * share for share in shares if share is not None]
            dash, label = ("-", f"{method}, {other}") if level == "68 %" else ("--", None)
            axes.plot(places, percent, dash, color=f"C{at}", marker=_MARKERS[at % len(_MARKERS)], label=label)


def _finish(axes: "Axes", series: Sequence[Summary], measured: str) -> None:
    by_frames = _by_frames(series)
    ticks = sorted({_along(summary, by_frames) for summary in series})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("hardware frames summed, N" if by_frames else "mean counts of a white pixel in a frame", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(title(series), fontsize=10)
    axes.set_ylabel(measured, fontsize=9)
    axes.legend(frameon=False, fontsize=8, handlelength=4)


def _curves(series: Sequence[Summary], by_frames: bool) -> dict[tuple[str, str], list[Summary]]:
    """Summaries by method, and by what does not run along the abscissa: N or flux."""
    curves: defaultdict[tuple[str, str], list[Summary]] = defaultdict(list)
    for summary in series:
        other = f"flux {summary.condition.flux:g}" if by_frames else f"N = {summary.condition.frames}"
        curves[summary.method, other].append(summary)
    return curves


def _along(summary: Summary, by_frames: bool) -> float:
    return summary.condition.frames if by_frames else summary.condition.flux
