"""The files of an evaluation: all rows as CSV, means as Markdown, curves as PNG, and what made them as JSON."""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from noise_model.files import whole_file
from spadsr.evaluation.evaluate import Evaluation, Row
from spadsr.evaluation.figures import figures
from spadsr.evaluation.summaries import Summary, by_scale, summarised, title
from spadsr.evaluation.tables import markdown_page, write_csv
from spadsr.pictures.plots import save_png
from spadsr.provenance import versions

_MEASURING = ("scikit-image", "opencv-python-headless", "bm3d")

_CSV_COLUMNS = "image mode scale flux frames method psnr ssim total_ratio within_68 within_95 sharpness"


def write_evaluation(evaluation: Evaluation, folder: Path, header: Mapping[str, Any]) -> list[Summary]:
    """Writes the files of an evaluation into a folder, each whole or not at all.

    They are rows.csv, summary.md, summary.png, evaluation.json and, where a method has error bars, coverage.png.

    Args:
        header: the command, the seed, the weights' checksum and whatever else made the figures; versions are added.

    Returns:
        The means, for printing.

    Raises:
        InputError: the folder cannot be written to.
    """
    summaries = summarised(evaluation)
    header = made_by(evaluation, header)
    write_csv(folder / "rows.csv", header, _CSV_COLUMNS, _csv_rows(evaluation.rows))
    with whole_file(folder / "summary.md") as partial:
        partial.write_text(markdown(summaries, header), encoding="utf-8", errors="backslashreplace")
    for name, figure in figures(summaries).items():
        with whole_file(folder / f"{name}.png") as partial:
            save_png(figure, partial, 150, _embedded(header))
    with whole_file(folder / "evaluation.json") as partial:
        partial.write_text(json.dumps({**header, "tenths": _tenths(evaluation)}, indent=1, default=str) + "\n")
    return summaries


def made_by(evaluation: Evaluation, header: Mapping[str, Any]) -> dict[str, Any]:
    """A header with the versions of what measured and the files that were skipped."""
    return {**header, "versions": _versions(), "skipped": evaluation.skipped}


def markdown(summaries: Sequence[Summary], header: Mapping[str, Any]) -> str:
    """A page with what made the figures, and a table for every mode and scale."""
    tables = [(title(series), [_COLUMNS, *map(_row, series)]) for series in by_scale(summaries)]
    return markdown_page("Evaluation", header, tables, numbers=False)


#: Headings for a screen of 80 columns; the first holds scale, flux and N. Lead: dB over the best other method; total:
#: how far the total rate is off, %; tenth: the worst tenth of the answer's values, % of white; 68/95 %: shares of the
#: truth inside these intervals, %.
SCREEN_COLUMNS = ["x   flux N", "method", "PSNR", "SSIM", "lead", "total", "tenth", "68/95 %"]


def screen_row(summary: Summary) -> list[str]:
    """A summary as the cells of `SCREEN_COLUMNS`."""
    condition, shares = summary.condition, (summary.within_68, summary.within_95)
    return [
        f"x{condition.scale:<3}{f'{condition.flux:g}':<5}{condition.frames}",
        summary.method,
        f"{summary.psnr.value:.2f}",
        f"{summary.ssim.value:.3f}",
        f"{summary.lead.value:+.2f}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.1f}",
        "/".join(f"{100 * share:.0f}" for share in shares if share is not None),
    ]


_COLUMNS = [
    "N",
    "flux",
    "method",
    "PSNR, dB",
    "worst 5 %, dB",
    "worst 1 %, dB",
    "SSIM",
    "over the best other, dB",
    "total rate off by, %",
    "worst tenth, % of white",
    "in the 68 % interval, %",
    "10th to 90th percentile of pictures, %",
    "in the 95 % interval, %",
    "mean uncertainty, % of white",
]


def _row(summary: Summary) -> list[str]:
    """A summary as the cells of `_COLUMNS`, with standard errors."""
    return [
        f"{summary.condition.frames}",
        f"{summary.condition.flux:g}",
        summary.method,
        str(summary.psnr),
        f"{summary.worst:.2f}",
        f"{summary.very_worst:.2f}",
        f"{summary.ssim.value:.4f}",
        f"{summary.lead:+}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.2f}",
        _percent(summary.within_68),
        spread_of_pictures(summary),
        _percent(summary.within_95),
        _percent(summary.sharpness),
    ]


def spread_of_pictures(summary: Summary) -> str:
    """The 10th to the 90th percentile over pictures of the share inside the 68 % interval, in percent."""
    return " to ".join(f"{100 * share:.0f}" for share in summary.within_68_of_pictures or ())


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _csv_rows(rows: Sequence[Row]) -> Iterator[list[object]]:
    for row in rows:
        condition = row.condition
        honesty = (row.within_68, row.within_95, row.sharpness)
        shares = ["" if share is None else round(share, 5) for share in honesty]
        figures = [round(row.psnr, 4), round(row.ssim, 5), round(row.total_ratio, 5), *shares]
        yield [row.image, condition.mode, condition.scale, condition.flux, condition.frames, row.method, *figures]


def _tenths(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Mean truth minus mean answer, in % of white, in tenths of the answer's values from low to high."""
    return [
        {"condition": condition.__dict__, "method": method, "percent": [round(100 * t, 3) for t in sums.tenths()]}
        for (condition, method), sums in evaluation.radiometry.items()
    ]


def _embedded(header: Mapping[str, Any]) -> dict[str, str]:
    return {"Software": f"spadsr {versions()['spadsr']}", "Comment": json.dumps(header, default=str)}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()} | versions()
    for name in _MEASURING:
        with suppress(PackageNotFoundError):  # bm3d is optional
            found[name] = version(name)
    return found
