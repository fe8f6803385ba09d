"""The files of a comparison: costs of the methods, and each figure over N for every array, resolution and flux."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from noise_model.files import whole_file
from spadsr.bench.quality import Comparison, Cost
from spadsr.evaluation.output import made_by, spread_of_pictures, write_evaluation
from spadsr.evaluation.summaries import Summary
from spadsr.evaluation.tables import Table, markdown_page, markdown_table, write_csv

#: The figures of a method under a condition, and how each is written.
FIGURES: Mapping[str, Callable[[Summary], str]] = {
    "PSNR, dB": lambda summary: f"{summary.psnr.value:.2f}",
    "SSIM": lambda summary: f"{summary.ssim.value:.3f}",
    "worst 5 %: PSNR, dB": lambda summary: f"{summary.worst:.2f}",
    "in the 68 % interval, 10th to 90th percentile of pictures, %": spread_of_pictures,
}
_COSTS = ("parameters, M", "GMAC", "s/image")
_CSV_COLUMNS = "method mode scale flux frames pictures psnr psnr_error worst ssim seconds parameters gmac"


def write_comparison(comparison: Comparison, folder: Path, header: Mapping[str, Any]) -> list[Summary]:
    """Writes quality.md and quality.csv, and the files of `write_evaluation` (rows, means, plots).

    Each file is written whole or not at all.

    Raises:
        InputError: the folder cannot be written to.
    """
    made = made_by(comparison.evaluation, header)
    summaries = write_evaluation(comparison.evaluation, folder, header)
    with whole_file(folder / "quality.md") as partial:
        partial.write_text(markdown(summaries, comparison.costs, made), encoding="utf-8", errors="backslashreplace")
    write_csv(folder / "quality.csv", made, _CSV_COLUMNS, _csv_rows(summaries, comparison.costs))
    return summaries


def markdown(summaries: Sequence[Summary], costs: Mapping[str, Cost], header: Mapping[str, Any]) -> str:
    """A page with how the figures were made, the cost of each method, and the tables of `quality_tables`."""
    introduction = ["", "Means over pictures; N frames summed."]
    introduction += ["", "GMAC at 64x32 x4; seconds are medians of this run."]
    introduction += ["", *markdown_table(cost_table(costs), numbers=True)]
    return markdown_page("Quality", header, quality_tables(summaries), numbers=True, introduction=introduction)


def cost_table(costs: Mapping[str, Cost]) -> Table:
    """The cost of each method: headings, and a row for every method."""
    return [["method", *_COSTS], *([name, *_cost(cost)] for name, cost in costs.items())]


def quality_tables(summaries: Sequence[Summary]) -> list[tuple[str, Table]]:
    """Tables with their titles: a column for every N, and a row for every method."""
    series: defaultdict[str, list[Summary]] = defaultdict(list)
    for summary in summaries:
        at = summary.condition
        series[f"x{at.scale}, {at.mode}, white {at.flux:g}, {summary.pictures} pictures"].append(summary)
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


def _csv_rows(summaries: Sequence[Summary], costs: Mapping[str, Cost]) -> Iterator[list[object]]:
    for summary in summaries:
        condition, cost = summary.condition, costs[summary.method]
        means = (summary.psnr.value, summary.psnr.error, summary.worst, summary.ssim.value, cost.seconds)
        rounded = [round(value, 5) for value in means]
        size = ["" if value is None else value for value in (cost.parameters, cost.gmac)]
        place = [condition.mode, condition.scale, condition.flux, condition.frames, summary.pictures]
        yield [summary.method, *place, *rounded, *size]
