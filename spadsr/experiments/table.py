"""What experiments write: rows as CSV, pictures and curves as PNG, what made them as JSON; and the sentence who won."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noise_model.files import checksum, whole_file
from spadsr.evaluation.tables import write_csv
from spadsr.experiments.experiment import OURS, Measure, Outcome, Panel, Row
from spadsr.pictures.plots import MODEL, SERIES, figure_type, plain, save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL, _CURVE, _LEFT = 1.6, 2.9, 1.0  # inches: side of a picture, height of the curves, room for the labels of lines
_MOST_CURVES = 4
_DEEPEST = 15.0  # dB below the best: what is worse is not drawn
_WIDE = 20  # ratio of errors from which their scale is logarithmic
_LARGE = 1 << 30  # bytes
_MARKERS = "os^Dv<>"


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
    made = {**header, **outcome.facts, "sentence": outcome.sentence, "rows": [_plain(row) for row in outcome.rows]}
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


def measures_of(rows: Sequence[Row]) -> list[Measure]:
    """The measures that were taken, in the order in which they came."""
    return list(dict.fromkeys(measure for row in rows for measure in row.values))


def checksums(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file of a folder, by name; the size alone of what takes long to read."""
    inside = {path.name: path} if path.is_file() else {e.relative_to(path).as_posix(): e for e in path.rglob("*")}
    sizes = {name: each.stat().st_size for name, each in sorted(inside.items()) if each.is_file()}
    return {name: checksum(inside[name]) if size <= _LARGE else f"{size} bytes" for name, size in sizes.items()}


def drawn(outcome: Outcome) -> "Figure":
    """The pictures, a line of them for each label, above curves over N: one plot for each condition and measure."""
    lines = len(outcome.pictures)
    across = max((len(line) for line in outcome.pictures.values()), default=1)
    shapes = [panel.picture.shape for line in outcome.pictures.values() for panel in line.values()]
    tall = _PANEL * max((height / width for height, width in shapes), default=1.0)
    plots = _plots(outcome.rows)
    width = max(_LEFT + across * (_PANEL + 0.1), 3.4 * len(plots))
    above = lines * (tall + 0.1) + 0.3 if lines else 0.0
    figure = figure_type()(figsize=(width, above + _CURVE), layout="constrained", facecolor="white")
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[max(above, 1e-3), _CURVE])).tolist()
    if lines:
        _draw_pictures(top, outcome.pictures, across)
    methods = list(dict.fromkeys(row.method for row in outcome.rows))
    for axes, (measure, rows) in zip(np.ravel(bottom.subplots(1, max(1, len(plots)))), plots, strict=False):
        _draw_curves(axes, rows, measure, methods)
    return figure


def _plots(rows: Sequence[Row]) -> list[tuple[Measure, list[Row]]]:
    """The rows of every condition in which a measure was taken."""
    found = []
    for condition in dict.fromkeys(row.condition for row in rows):
        for measure in measures_of(rows):
            taken = [r for r in rows if r.condition == condition and np.isfinite(r.values.get(measure, np.nan))]
            found += [(measure, taken)] if taken else []
    return found[:_MOST_CURVES]


def _draw_pictures(figure: Any, pictures: Mapping[str, Mapping[str, Panel]], across: int) -> None:
    grid = figure.subplots(len(pictures), across, squeeze=False)
    for place, (line, (label, panels)) in enumerate(zip(grid, pictures.items(), strict=True)):
        for axes in line:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(label, fontsize=9)
        for axes, (heading, panel) in zip(line, panels.items(), strict=False):
            axes.imshow(panel.picture, cmap="gray", vmin=panel.low, vmax=panel.high, interpolation="nearest")
            if panel.marks is not None and len(panel.marks):
                axes.plot(panel.marks[:, 1], panel.marks[:, 0], "o", ms=5, mfc="none", mec="#e9a23b", mew=0.8)
            if place == 0 or list(panels) != list(next(iter(pictures.values()))):
                axes.set_title(heading, fontsize=9, pad=3)


def _draw_curves(axes: "Axes", rows: Sequence[Row], measure: Measure, methods: Sequence[str]) -> None:
    plain(axes)
    for place, method in enumerate(methods):
        if curve := sorted((row.frames, row.values[measure]) for row in rows if row.method == method):
            colour = MODEL if method == OURS else SERIES[place % len(SERIES)]
            axes.plot(*zip(*curve, strict=True), color=colour, marker=_MARKERS[place % 7], ms=4, lw=1.3, label=method)
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
    axes.legend(frameon=False, fontsize=7)


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
