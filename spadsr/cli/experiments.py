"""The command that runs the published experiments."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise_model.errors import InputError
from noise_model.files import require_folder
from spadsr.cli.console import in_time, progress, say, table, warn
from spadsr.cli.options import Device, Quiet, Seed, Weights, numbers
from spadsr.provenance import command_line, versions

if TYPE_CHECKING:
    from spadsr.experiments.experiment import Outcome, Task


def experiment(
    name: Annotated[str | None, typer.Argument(help="which; without it all are listed")] = None,
    data: Annotated[
        Path | None, typer.Option(help="the files it takes, as the list says; without them a scene is drawn")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for NAME.csv, NAME.png, NAME.json")] = Path(
        "experiments"
    ),
    frames: Annotated[
        str | None, typer.Option(help="hardware frames summed, 1 to 1,000,000, comma-separated; default: its own")
    ] = None,
    weights: Weights = None,
    device: Device = "cpu",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Show what restoring brings to an application, beside honest baselines, on a drawn scene or on real data.

    Without a name it lists the experiments: what each shows, which data it takes, and where they are.
    Nothing is ever downloaded.

    Examples: `spadsr experiment` · `spadsr experiment rotation --frames 4,16 -o results/`
    """
    from spadsr.experiments.experiment import Task
    from spadsr.experiments.registry import experiment_named
    from spadsr.restoration.weights import load_restorer

    if name is None:
        _list()
        return
    chosen = experiment_named(name)
    if data is not None and chosen.data is None:
        raise InputError(f"{name} takes no data: {chosen.drawn} drawn", "data")
    if data is not None and chosen.data is not None and not data.exists():
        raise chosen.data.refused(data, "there is no such file or folder")
    sums = chosen.frames if frames is None else sorted(set(numbers(frames, int)))
    if min(sums) < 1:
        raise InputError(f"{min(sums)} frames: expected 1 or more hardware frames", "frames")
    require_folder(output)
    task = Task(data, sums, load_restorer(weights, device), seed)
    with progress(name) as report:
        outcome = chosen.run(replace(task, progress=report))
    tell(name, outcome, task, output)


def tell(name: str, outcome: "Outcome", task: "Task", output: Path) -> None:
    """Writes what an experiment found, prints its table, and says who won."""
    from spadsr.experiments.table import cells, checksums, write_outcome

    header = {
        "command": command_line(),
        "seed": task.seed,
        "weights": task.restorer.name,
        "weights_sha256": task.restorer.checksum,
        "versions": versions(),
        "data": str(task.data) if task.data else "drawn",
        "data_sha256": checksums(task.data) if task.data else {},
    }
    for note in outcome.notes:
        warn(note)
    written = write_outcome(name, outcome, output, header)
    headings, rows = cells(outcome.rows)
    table(f"{name}: {task.data or 'drawn scene'}", headings, rows)
    say(*outcome.said, *written)


def _list() -> None:
    """Says what there is."""
    from spadsr.experiments.registry import EXPERIMENTS

    for each in EXPERIMENTS.values():
        say(f"{each.name}: {each.shows}", f"  drawn: {each.drawn}; about {in_time(each.seconds)} on two cores")
        if data := each.data:
            say(
                f"  data: {data.what}",
                f"    from {data.source}",
                f"    {data.size}; {data.licence}; SHA-256 {data.sha256}",
            )
