"""What experiments write: rows as CSV, pictures and curves as PNG, what made them as JSON; and sentences on who won."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noise_model.files import checksum, whole_file
from spadsr.evaluation.tables import write_csv
from spadsr.experiments.experiment import OURS, Measure, Outcome, Row, measures_of
from spadsr.experiments.figure import drawn
from spadsr.pictures.plots import save_png

_LARGE = 1 << 30  # bytes


def write_outcome(name: str, outcome: Outcome, folder: Path, header: Mapping[str, Any]) -> list[Path]:
    """Writes NAME.csv, NAME.png and NAME.json into a folder, each whole or not at all, and gives their paths.

    Args:
        header: the command, versions, seed, checksums and whatever else made the figures.

    Raises:
        InputError: the folder cannot be written to.
    """
    table, picture, record = (folder / f"{name}.{ending}" for ending in ("csv", "png", "json"))
    measures = measures_of(outcome.rows)
    columns = " ".join(["condition", "frames", "method", *(_column(measure) for measure in measures)])
    write_csv(table, {}, columns, (_cells_of_csv(row, measures) for row in outcome.rows))
    with whole_file(picture) as partial:
        save_png(drawn(outcome), partial, 110, {"Comment": json.dumps(header, default=str)})
    made = {
        **header,
        **outcome.facts,
        "notes": outcome.notes,
        "said": outcome.said,
        "rows": [_plain(row) for row in outcome.rows],
    }
    with whole_file(record) as partial:
        partial.write_text(json.dumps(made, indent=1, default=str) + "\n", encoding="utf-8", errors="backslashreplace")
    return [table, picture, record]


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of every row."""
    measures, conditions = measures_of(rows), any(row.condition for row in rows)
    headings = [*(["condition"] if conditions else []), "N", "method", *(measure.heading for measure in measures)]
    body = [
        [
            *([row.condition] if conditions else []),
            f"{row.frames:,}",
            row.method,
            *(f"{row.values[each]:.{each.digits}f}" if each in row.values else "" for each in measures),
        ]
        for row in rows
    ]
    return headings, body


def who_won(rows: Sequence[Row], measure: Measure, ours: str = OURS) -> str:
    """Who won in a measure, N by N: the best of ours or the best of all others, by how much; or nobody.

    Args:
        ours: what the names of our methods begin with.
    """
    several = len({row.condition for row in rows}) > 1
    won: dict[str, list[tuple[str, float, str]]] = {}  # winner -> where, by how much, over whom
    for condition, frames in dict.fromkeys((row.condition, row.frames) for row in rows):
        group = [row for row in rows if (row.condition, row.frames) == (condition, frames)]
        mine, other = (_best([r for r in group if r.method.startswith(ours) == who], measure) for who in (True, False))
        if mine is None or other is None:
            continue
        lead = (mine.values[measure] - other.values[measure]) * (1 if measure.more else -1)
        winner, loser = (mine, other) if lead > 0 else (other, mine)
        name = "nobody" if abs(lead) <= measure.tie else winner.method
        place = f"{condition} {frames:,}".strip() if several else f"{frames:,}"
        won.setdefault(name, []).append((place, abs(lead), loser.method))
    parts = []
    for name in sorted(won, key=lambda name: (not name.startswith(ours), name == "nobody")):
        places, leads, losers = zip(*won[name], strict=True)
        over = f"by {_span(leads, measure)} over {' or '.join(dict.fromkeys(losers))}"
        how = f"(within {measure.tie:g}{_unit(measure)})" if name == "nobody" else over
        parts.append(f"{name} wins at N = {', '.join(places)} {how}")
    return f"{measure.name}: {'; '.join(parts) or 'not compared'}"


def checksums(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file of a folder, by name; the size alone of what takes long to read."""
    inside = {path.name: path} if path.is_file() else {e.relative_to(path).as_posix(): e for e in path.rglob("*")}
    sizes = {name: each.stat().st_size for name, each in sorted(inside.items()) if each.is_file()}
    return {name: checksum(inside[name]) if size <= _LARGE else f"{size} bytes" for name, size in sizes.items()}


def _best(rows: Sequence[Row], measure: Measure) -> Row | None:
    taken = [row for row in rows if np.isfinite(row.values.get(measure, np.nan))]
    return max(taken, key=lambda row: row.values[measure] * (1 if measure.more else -1), default=None)


def _span(leads: Sequence[float], measure: Measure) -> str:
    low, high = (f"{lead:.{measure.digits}f}" for lead in (min(leads), max(leads)))
    return (low if low == high else f"{low} to {high}") + _unit(measure)


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""


def _column(measure: Measure) -> str:
    return "_".join(measure.heading.lower().replace(",", "").replace("/", "_").split())


def _cells_of_csv(row: Row, measures: Sequence[Measure]) -> list[object]:
    values = [round(row.values[each], each.digits + 2) if each in row.values else "" for each in measures]
    return [row.condition, row.frames, row.method, *values]


def _plain(row: Row) -> dict[str, object]:
    values = {each.heading: value if np.isfinite(value) else None for each, value in row.values.items()}
    return {"condition": row.condition, "frames": row.frames, "method": row.method, **values}
