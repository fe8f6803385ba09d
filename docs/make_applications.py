"""The figures and pictures of docs/applications.md.

python docs/make_applications.py [DATA [LABEL...]]  # writes docs/images/applications_*.png and tables into the page

DATA is a folder with the public files that the page names, in folders or files called as in SHOWN; what is not there
is left as it is. LABELs choose some of SHOWN.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from make_limits import put

from spadsr.evaluation.tables import markdown_table
from spadsr.experiments.experiment import Outcome, Row, Task, measures_of
from spadsr.experiments.figure import drawn
from spadsr.experiments.registry import EXPERIMENTS
from spadsr.pictures.plots import save_png
from spadsr.restoration.weights import load_restorer

DOCS = Path(__file__).parent


@dataclass(frozen=True)
class Shown:
    """An experiment on the page.

    Attributes:
        label: of its table and picture.
        name: of the experiment.
        data: file or folder in DATA; empty for a drawn scene.
    """

    label: str
    name: str
    data: str = ""
    frames: tuple[int, ...] = ()


SHOWN = (
    Shown("fan-left-out", "leftout", "fan", (1, 2, 4)),
    Shown("scene-left-out", "leftout", "swissspad2"),
    Shown("nuclei", "nuclei", "nuclei"),
    Shown("flow", "flow", "flow"),
    Shown("particles", "particles"),
    Shown("rotation", "rotation"),
    Shown("fpm", "fpm", "ptychography"),
)


def tables(rows: Sequence[Row]) -> list[str]:
    """For every condition and measure a table: a column for each N, a line for each method."""
    lines = []
    for condition in dict.fromkeys(row.condition for row in rows):
        part = [row for row in rows if row.condition == condition]
        if len({row.frames for row in part}) == 1:
            lines += [*_at_one_n(part), ""]
            continue
        for measure in measures_of(part):
            taken = [row for row in part if measure in row.values]
            frames = sorted({row.frames for row in taken})
            value = {(r.method, r.frames): f"{r.values[measure]:.{measure.digits}f}" for r in taken}
            head = [", ".join(filter(None, (condition, measure.heading))), *(f"N = {n:,}" for n in frames)]
            methods = dict.fromkeys(row.method for row in taken)
            body = [[method, *(value.get((method, n), "") for n in frames)] for method in methods]
            lines += [*markdown_table([head, *body], numbers=True), ""]
    return lines


def _at_one_n(rows: Sequence[Row]) -> list[str]:
    """A table with a column for each measure."""
    measures = measures_of(rows)
    head = [f"{rows[0].condition}, N = {rows[0].frames:,}".removeprefix(", "), *(each.heading for each in measures)]
    body = [[r.method, *(f"{r.values[m]:.{m.digits}f}" if m in r.values else "" for m in measures)] for r in rows]
    return markdown_table([head, *body], numbers=True)


def written(shown: Shown, outcome: Outcome) -> None:
    """Puts an outcome into the page, and its picture beside."""
    put(DOCS / "applications.md", shown.label, [*tables(outcome.rows), *(f"* {each}" for each in outcome.said)])
    save_png(drawn(outcome), DOCS / "images" / f"applications_{shown.label}.png", 80)


def main(data: Path | None, labels: Sequence[str]) -> None:
    torch.set_num_threads(1)
    restorer = load_restorer(None)
    for shown in SHOWN:
        files = data / shown.data if data and shown.data else None
        if (labels and shown.label not in labels) or (shown.data and not (files and files.exists())):
            continue
        experiment, began = EXPERIMENTS[shown.name], time.process_time()
        outcome = experiment.run(Task(files, shown.frames or experiment.frames, restorer))
        written(shown, outcome)
        print(f"{shown.label}, {time.process_time() - began:.0f} s", *outcome.said, outcome.facts, sep="\n", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, sys.argv[2:])
