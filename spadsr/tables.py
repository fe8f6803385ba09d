"""An evaluation on paper: all rows as CSV, means as Markdown, curves as PNG, and what made them as JSON."""

import csv
import json
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noise_model.files import whole_file
from spadsr.evaluation import Condition, Evaluation, Row
from spadsr.versions import versions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURING = ("scikit-image", "opencv-python-headless", "bm3d")
_DASHES, _MARKERS = ("-", "--", ":", "-."), "osD^v"


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its standard error (NaN for a single picture)."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self}"

    def __format__(self, sign: str) -> str:
        value = f"{self.value:{sign}.2f}"
        return f"{value} ± {self.error:.2f}" if np.isfinite(self.error) else value


@dataclass(frozen=True)
class Summary:
    """One method under one condition, over all pictures.

    Attributes:
        psnr, ssim: means; dB and 0 to 1.
        lead: PSNR minus that of the best of the other methods (the one with the highest mean), picture by picture, dB.
        total_ratio: total detected rate over the truth's.
        worst_tenth: largest |mean truth - mean answer| among the tenths of the answer's values, share of white.
        within_68, within_95: share of pixels inside the intervals; None without error bars.
    """

    condition: Condition
    method: str
    pictures: int
    psnr: Mean
    ssim: Mean
    lead: Mean | None
    total_ratio: float
    worst_tenth: float
    within_68: float | None
    within_95: float | None


def write_evaluation(evaluation: Evaluation, folder: Path, header: Mapping[str, Any]) -> list[Summary]:
    """Writes rows.csv, summary.md, summary.png and evaluation.json into `folder`, each whole or not at all.

    Args:
        header: the command, the seed, the weights' checksum and whatever else made the figures; versions are added.

    Returns:
        The means, for printing.

    Raises:
        InputError: the folder cannot be written to.
    """
    summaries = summarised(evaluation)
    header = {**header, "versions": _versions(), "skipped": evaluation.skipped}
    with whole_file(folder / "rows.csv") as partial:
        _write_csv(evaluation.rows, partial, header)
    with whole_file(folder / "summary.md") as partial:
        partial.write_text(markdown(summaries, header), encoding="utf-8")
    with whole_file(folder / "summary.png") as partial:
        _plot(summaries, partial, header)
    with whole_file(folder / "evaluation.json") as partial:
        partial.write_text(json.dumps({**header, "tenths": _tenths(evaluation)}, indent=1, default=str) + "\n")
    return summaries


def summarised(evaluation: Evaluation) -> list[Summary]:
    """Means over pictures, in the order in which conditions and methods came."""
    groups: defaultdict[Condition, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in evaluation.rows:
        groups[row.condition][row.method].append(row)
    return [
        _summary(evaluation, rows, groups[row.condition])
        for group in groups.values()
        for rows in group.values()
        for row in rows[:1]
    ]


def markdown(summaries: Sequence[Summary], header: Mapping[str, Any]) -> str:
    """A header of what made the figures, and a table for every mode, scale and series of conditions."""
    lines = ["# Evaluation", "", *(f"- {line}" for line in _said(header))]
    for series in _series(summaries):
        lines += ["", f"## {_title(series)}", "", *_table(series)]
    return "\n".join(lines) + "\n"


#: Headings for a screen of 80 columns; the first holds scale, flux and N. Lead: dB over the best other method; total:
#: how far the total rate is off, %; tenth: the worst tenth of the answer's values, % of white; 68/95 %: shares of the
#: truth inside these intervals, %.
COLUMNS = ("x   flux N", "method", "PSNR", "SSIM", "lead", "total", "tenth", "68/95 %")


def rows_of(summary: Summary) -> list[str]:
    """A summary as the cells of `COLUMNS`."""
    taken, shares = summary.condition, (summary.within_68, summary.within_95)
    return [
        f"x{taken.scale:<3}{f'{taken.flux:g}':<5}{taken.frames}",
        summary.method,
        f"{summary.psnr.value:.2f}",
        f"{summary.ssim.value:.3f}",
        f"{summary.lead.value:+.2f}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.1f}",
        "/".join(f"{100 * share:.0f}" for share in shares if share is not None),
    ]


_PRINTED_COLUMNS = (
    "N",
    "flux",
    "method",
    "PSNR, dB",
    "SSIM",
    "over the best other, dB",
    "total rate off by, %",
    "worst tenth, % of white",
    "in the 68 % interval, %",
    "in the 95 % interval, %",
)


def _printed(summary: Summary) -> list[str]:
    """A summary as the cells of `_PRINTED_COLUMNS`, with standard errors."""
    shares = (summary.within_68, summary.within_95)
    return [
        f"{summary.condition.frames}",
        f"{summary.condition.flux:g}",
        summary.method,
        str(summary.psnr),
        f"{summary.ssim.value:.4f}",
        f"{summary.lead:+}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.2f}",
        *(f"{100 * share:.1f}" if share is not None else "" for share in shares),
    ]


def _summary(evaluation: Evaluation, rows: Sequence[Row], group: Mapping[str, Sequence[Row]]) -> Summary:
    condition, method = rows[0].condition, rows[0].method
    radiometry = evaluation.radiometry[condition, method]
    rivals = [np.array([row.psnr for row in other]) for name, other in group.items() if name != method]
    own = np.array([row.psnr for row in rows])
    best = max(rivals, key=lambda rival: float(rival.mean()), default=None)
    return Summary(
        condition,
        method,
        len(rows),
        _mean(own),
        _mean(np.array([row.ssim for row in rows])),
        None if best is None else _mean(own - best),
        radiometry.total_ratio,
        float(np.abs(radiometry.tenths()).max()),
        _share(row.within_68 for row in rows),
        _share(row.within_95 for row in rows),
    )


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> Mean:
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")
    return Mean(float(values.mean()), error)


def _share(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _series(summaries: Sequence[Summary]) -> list[list[Summary]]:
    """Summaries of equal mode and scale, in order."""
    groups: defaultdict[tuple[str, int], list[Summary]] = defaultdict(list)
    for summary in summaries:
        groups[summary.condition.mode, summary.condition.scale].append(summary)
    return list(groups.values())


def _title(series: Sequence[Summary]) -> str:
    first = series[0]
    return (
        f"x{first.condition.scale}, {first.condition.mode} array, {first.pictures} picture{'s' * (first.pictures > 1)}"
    )


def _table(series: Sequence[Summary]) -> list[str]:
    cells = [_PRINTED_COLUMNS, ["---"] * len(_PRINTED_COLUMNS), *map(_printed, series)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _write_csv(rows: Sequence[Row], path: Path, header: Mapping[str, Any]) -> None:
    """A line for every row, below what made them in lines that begin with #. Text is quoted, numbers are not."""
    names = "image mode scale flux frames method psnr ssim total_ratio within_68 within_95"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in _said(header))
        file.write(names.replace(" ", ",") + "\n")
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        for row in rows:
            taken = row.condition
            shares = ["" if share is None else round(share, 5) for share in (row.within_68, row.within_95)]
            figures = [round(row.psnr, 4), round(row.ssim, 5), round(row.total_ratio, 5), *shares]
            writer.writerow([row.image, taken.mode, taken.scale, taken.flux, taken.frames, row.method, *figures])


def _plot(summaries: Sequence[Summary], path: Path, header: Mapping[str, Any]) -> None:
    """A panel for every mode and scale: PSNR against what varies most; a colour for every method, a dash for every
    flux (or N)."""
    from matplotlib.figure import Figure

    panels = _series(summaries)
    figure = Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    for axes, series in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        _plot_series(axes, series)
        axes.set_title(_title(series), fontsize=10)
        axes.set_ylabel("PSNR, dB: mean and its standard error", fontsize=9)
        axes.legend(frameon=False, fontsize=8, handlelength=4)
    figure.savefig(
        path,
        dpi=150,
        metadata={"Software": f"spadsr {versions()['spadsr']}", "Comment": json.dumps(header, default=str)},
    )


def _plot_series(axes: "Axes", series: Sequence[Summary]) -> None:
    taken = [summary.condition for summary in series]
    by_frames = len({each.frames for each in taken}) >= len({each.flux for each in taken})
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
    ticks = sorted({_along(summary, by_frames) for summary in series})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("hardware frames summed, N" if by_frames else "mean counts of a white pixel in a frame", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _curves(series: Sequence[Summary], by_frames: bool) -> dict[tuple[str, str], list[Summary]]:
    """By method and what does not run along the abscissa."""
    curves: defaultdict[tuple[str, str], list[Summary]] = defaultdict(list)
    for summary in series:
        other = f"flux {summary.condition.flux:g}" if by_frames else f"N = {summary.condition.frames}"
        curves[summary.method, other].append(summary)
    return curves


def _along(summary: Summary, by_frames: bool) -> float:
    return summary.condition.frames if by_frames else summary.condition.flux


def _tenths(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Mean truth minus mean answer, in % of white, in tenths of the answer's values from low to high."""
    return [
        {"condition": condition.__dict__, "method": method, "percent": [round(100 * t, 3) for t in sums.tenths()]}
        for (condition, method), sums in evaluation.radiometry.items()
    ]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()} | versions()
    for name in _MEASURING:
        with suppress(PackageNotFoundError):  # bm3d is optional
            found[name] = version(name)
    return found


def _said(header: Mapping[str, Any]) -> Iterator[str]:
    """Lines of text; what is empty is left out, zero is not."""
    for name, value in header.items():
        if value not in (None, "", {}):
            items = value.items() if isinstance(value, dict) else []
            yield f"{name}: " + (", ".join(f"{key} {item}" for key, item in items) or str(value))
