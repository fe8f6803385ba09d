"""A comparison on paper: a table of costs, and for every array, resolution and flux one of each figure over N."""

import csv
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noise_model.files import whole_file
from spadsr.bench.quality import Comparison, Cost
from spadsr.evaluation.summaries import Summary
from spadsr.evaluation.tables import made_by, said, write_evaluation

#: What is told of a method under a condition, and how.
FIGURES: Mapping[str, Callable[[Summary], str]] = {
    "PSNR, dB": lambda summary: f"{summary.psnr.value:.2f}",
    "SSIM": lambda summary: f"{summary.ssim.value:.3f}",
    "worst 5 %: PSNR, dB": lambda summary: f"{summary.worst:.2f}",
}
_COSTS = ("parameters, M", "GMAC", "s/image")
_COLUMNS = "method mode scale flux frames pictures psnr psnr_error worst ssim seconds parameters gmac"

Table = list[list[str]]


def write_comparison(comparison: Comparison, folder: Path, header: Mapping[str, Any]) -> list[Summary]:
    """Writes quality.md and quality.csv beside what `write_evaluation` does (rows, means, plots), each whole or not at
    all.

    Raises:
        InputError: the folder cannot be written to.
    """
    made = made_by(comparison.evaluation, header)
    summaries = write_evaluation(comparison.evaluation, folder, header)
    with whole_file(folder / "quality.md") as partial:
        partial.write_text(markdown(summaries, comparison.costs, made), encoding="utf-8")
    with whole_file(folder / "quality.csv") as partial:
        _write_csv(summaries, comparison.costs, partial, made)
    return summaries


def markdown(summaries: Sequence[Summary], costs: Mapping[str, Cost], header: Mapping[str, Any]) -> str:
    """What made the figures, what each method takes, and the tables of `quality_tables`."""
    lines = ["# Quality", "", *(f"- {line}" for line in said(header)), "", "Means over pictures; N frames summed."]
    lines += ["", "GMAC at 64x32 x4; seconds are medians of this run.", "", *_lines(cost_table(costs))]
    for title, table in quality_tables(summaries):
        lines += ["", f"## {title}", "", *_lines(table)]
    return "\n".join(lines) + "\n"


def cost_table(costs: Mapping[str, Cost]) -> Table:
    """A heading, and a row for every method."""
    return [["method", *_COSTS], *([name, *_cost(cost)] for name, cost in costs.items())]


def quality_tables(summaries: Sequence[Summary]) -> list[tuple[str, Table]]:
    """Titled tables: a column for every N, below a heading, and a row for every method."""
    series: defaultdict[str, list[Summary]] = defaultdict(list)
    for summary in summaries:
        taken = summary.condition
        series[f"x{taken.scale}, {taken.mode}, white {taken.flux:g}, {summary.pictures} pictures"].append(summary)
    return [
        (f"{title}: {name}", _table(part, show)) for title, part in series.items() for name, show in FIGURES.items()
    ]


def _table(series: Sequence[Summary], show: Callable[[Summary], str]) -> Table:
    shown = {(summary.method, summary.condition.frames): show(summary) for summary in series}
    methods, frames = (list(dict.fromkeys(names)) for names in zip(*shown, strict=True))
    return [["N", *map(str, frames)], *([method, *(shown[method, n] for n in frames)] for method in methods)]


def _cost(cost: Cost) -> list[str]:
    size = "" if cost.parameters is None else f"{cost.parameters / 1e6:.2f}"
    return [size, "" if cost.gmac is None else f"{cost.gmac:.2f}", f"{cost.seconds:.2g}"]


def _lines(table: Table) -> list[str]:
    head, *rows = table
    ruled = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(row) + " |" for row in ruled]


def _write_csv(summaries: Sequence[Summary], costs: Mapping[str, Cost], path: Path, header: Mapping[str, Any]) -> None:
    """A line for every method and condition, below what made them in lines that begin with #."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in said(header))
        file.write(_COLUMNS.replace(" ", ",") + "\n")
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        for summary in summaries:
            taken, cost = summary.condition, costs[summary.method]
            means = (summary.psnr.value, summary.psnr.error, summary.worst, summary.ssim.value, cost.seconds)
            rounded = [round(value, 5) for value in means]
            size = ["" if value is None else value for value in (cost.parameters, cost.gmac)]
            place = [taken.mode, taken.scale, taken.flux, taken.frames, summary.pictures]
            writer.writerow([summary.method, *place, *rounded, *size])
