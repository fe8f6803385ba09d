"""An evaluation on paper: all rows as CSV, means as Markdown, curves as PNG, and what made them as JSON."""

import csv
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
from spadsr.provenance import versions

_MEASURING = ("scikit-image", "opencv-python-headless", "bm3d")


def write_evaluation(evaluation: Evaluation, folder: Path, header: Mapping[str, Any]) -> list[Summary]:
    """Writes rows.csv, summary.md, summary.png, coverage.png (with error bars) and evaluation.json into `folder`, each
    whole or not at all.

    Args:
        header: the command, the seed, the weights' checksum and whatever else made the figures; versions are added.

    Returns:
        The means, for printing.

    Raises:
        InputError: the folder cannot be written to.
    """
    summaries = summarised(evaluation)
    header = made_by(evaluation, header)
    with whole_file(folder / "rows.csv") as partial:
        _write_csv(evaluation.rows, partial, header)
    with whole_file(folder / "summary.md") as partial:
        partial.write_text(markdown(summaries, header), encoding="utf-8")
    for name, figure in figures(summaries).items():
        with whole_file(folder / f"{name}.png") as partial:
            figure.savefig(partial, format="png", dpi=150, metadata=_embedded(header))
    with whole_file(folder / "evaluation.json") as partial:
        partial.write_text(json.dumps({**header, "tenths": _tenths(evaluation)}, indent=1, default=str) + "\n")
    return summaries


def made_by(evaluation: Evaluation, header: Mapping[str, Any]) -> dict[str, Any]:
    """The header with versions and skipped files."""
    return {**header, "versions": _versions(), "skipped": evaluation.skipped}


def markdown(summaries: Sequence[Summary], header: Mapping[str, Any]) -> str:
    """A header of what made the figures, and a table for every mode, scale and series of conditions."""
    lines = ["# Evaluation", "", *(f"- {line}" for line in said(header))]
    for series in by_scale(summaries):
        lines += ["", f"## {title(series)}", "", *_table(series)]
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
    "worst 5 %, dB",
    "SSIM",
    "over the best other, dB",
    "total rate off by, %",
    "worst tenth, % of white",
    "in the 68 % interval, %",
    "in the 95 % interval, %",
    "mean uncertainty, % of white",
)


def _printed(summary: Summary) -> list[str]:
    """A summary as the cells of `_PRINTED_COLUMNS`, with standard errors."""
    honesty = (summary.within_68, summary.within_95, summary.sharpness)
    return [
        f"{summary.condition.frames}",
        f"{summary.condition.flux:g}",
        summary.method,
        str(summary.psnr),
        f"{summary.worst:.2f}",
        f"{summary.ssim.value:.4f}",
        f"{summary.lead:+}" if summary.lead else "",
        f"{100 * (summary.total_ratio - 1):+.2f}",
        f"{100 * summary.worst_tenth:.2f}",
        *(f"{100 * share:.1f}" if share is not None else "" for share in honesty),
    ]


def _table(series: Sequence[Summary]) -> list[str]:
    cells = [_PRINTED_COLUMNS, ["---"] * len(_PRINTED_COLUMNS), *map(_printed, series)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _write_csv(rows: Sequence[Row], path: Path, header: Mapping[str, Any]) -> None:
    """A line for every row, below what made them in lines that begin with #. Text is quoted, numbers are not."""
    names = "image mode scale flux frames method psnr ssim total_ratio within_68 within_95 sharpness"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in said(header))
        file.write(names.replace(" ", ",") + "\n")
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        for row in rows:
            taken = row.condition
            honesty = (row.within_68, row.within_95, row.sharpness)
            shares = ["" if share is None else round(share, 5) for share in honesty]
            figures = [round(row.psnr, 4), round(row.ssim, 5), round(row.total_ratio, 5), *shares]
            writer.writerow([row.image, taken.mode, taken.scale, taken.flux, taken.frames, row.method, *figures])


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


def said(header: Mapping[str, Any]) -> Iterator[str]:
    """Lines of text; what is empty is left out, zero is not."""
    for name, value in header.items():
        if value not in (None, "", {}):
            items = value.items() if isinstance(value, dict) else []
            yield f"{name}: " + (", ".join(f"{key} {item}" for key, item in items) or str(value))
