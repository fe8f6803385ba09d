"""An evaluation on paper: all rows as CSV, means as Markdown, curves as PNG, and what made them as JSON."""

import csv
import json
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from noise_model.files import whole_file
from spadsr.evaluation import Condition, Evaluation, Row
from spadsr.versions import versions

_MEASURING = ("scikit-image", "opencv-python-headless")


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its standard error (NaN for a single picture)."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}" if np.isfinite(self.error) else f"{self.value:.2f}"


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
        _write_csv(evaluation.rows, partial)
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
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in header.items() if value not in (None, "", {})]
    for series in _series(summaries):
        lines += ["", f"## {_title(series)}", "", *_table(series)]
    return "\n".join(lines) + "\n"


#: Headings for a narrow screen. Lead: dB over the best other method; total: how far the total rate is off, %; tenth:
#: the worst tenth of the answer's values, % of white; 68 %, 95 %: share of the truth inside these intervals, %.
COLUMNS = ("N", "flux", "method", "PSNR", "SSIM", "lead", "total", "tenth", "68 %", "95 %")


def rows_of(summary: Summary) -> list[str]:
    """A summary as the cells of `COLUMNS`."""
    return [
        f"{summary.condition.frames}",
        f"{summary.condition.flux:g}",
        summary.method,
        f"{summary.psnr.value:.2f}",
        f"{summary.ssim.value:.3f}",
        f"{summary.lead.value:+.2f}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.1f}",
        *(f"{100 * share:.1f}" if share is not None else "" for share in (summary.within_68, summary.within_95)),
    ]


_PRINTED_COLUMNS = (
    *COLUMNS[:3],
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
    cells = rows_of(summary)
    lead = f"{summary.lead.value:+.2f} ± {summary.lead.error:.2f}" if summary.lead else ""
    return [*cells[:3], str(summary.psnr), f"{summary.ssim.value:.4f}", lead, *cells[6:]]


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
    return f"x{first.condition.scale}, {first.condition.mode} array, {first.pictures} pictures"


def _table(series: Sequence[Summary]) -> list[str]:
    cells = [_PRINTED_COLUMNS, ["---"] * len(COLUMNS), *map(_printed, series)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "image",
                "mode",
                "scale",
                "flux",
                "frames",
                "method",
                "psnr",
                "ssim",
                "total_ratio",
                "within_68",
                "within_95",
            ]
        )
        for row in rows:
            taken = row.condition
            shares = ["" if share is None else f"{share:.5f}" for share in (row.within_68, row.within_95)]
            figures = [f"{row.psnr:.4f}", f"{row.ssim:.5f}", f"{row.total_ratio:.5f}", *shares]
            writer.writerow([row.image, taken.mode, taken.scale, taken.flux, taken.frames, row.method, *figures])


def _plot(summaries: Sequence[Summary], path: Path, header: Mapping[str, Any]) -> None:
    """A panel for every mode and scale: PSNR against what varies most, a curve for every method (and flux or N)."""
    from matplotlib.figure import Figure

    panels = _series(summaries)
    figure = Figure(figsize=(4.8 * len(panels), 4.0), layout="constrained")
    for axes, series in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        by_frames = len({s.condition.frames for s in series}) >= len({s.condition.flux for s in series})
        for label, curve in _curves(series, by_frames).items():
            x = [s.condition.frames if by_frames else s.condition.flux for s in curve]
            bars = np.nan_to_num([s.psnr.error for s in curve])
            axes.errorbar(x, [s.psnr.value for s in curve], bars, marker="o", markersize=4, capsize=3, label=label)
        ticks = sorted({s.condition.frames if by_frames else s.condition.flux for s in series})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("hardware frames summed, N" if by_frames else "mean counts of white in a frame")
        axes.set_ylabel("mean PSNR, dB")
        axes.set_title(_title(series), fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(
        path,
        dpi=150,
        metadata={"Software": f"spadsr {versions()['spadsr']}", "Comment": json.dumps(header, default=str)},
    )


def _curves(series: Sequence[Summary], by_frames: bool) -> dict[str, list[Summary]]:
    several = len({s.condition.flux if by_frames else s.condition.frames for s in series}) > 1
    curves: defaultdict[str, list[Summary]] = defaultdict(list)
    for summary in series:
        other = f"flux {summary.condition.flux:g}" if by_frames else f"N = {summary.condition.frames}"
        curves[f"{summary.method}, {other}" if several else summary.method].append(summary)
    return curves


def _tenths(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Mean truth minus mean answer, in % of white, in tenths of the answer's values from low to high."""
    return [
        {"condition": condition.__dict__, "method": method, "percent": [round(100 * t, 3) for t in sums.tenths()]}
        for (condition, method), sums in evaluation.radiometry.items()
    ]


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | versions() | {name: version(name) for name in _MEASURING}


def _plain(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
