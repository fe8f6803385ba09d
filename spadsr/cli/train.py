"""Commands that make training pairs and train."""

from pathlib import Path
from typing import Annotated

import typer

from noise_model.errors import InputError
from noise_model.files import in_bytes
from spadsr.cli.console import LARGE, progress, remark, say, warn
from spadsr.cli.options import Device, Part, Quiet, Scheduler, Seed, Workers, executor_for, part_of


def simulate(
    scenes: Annotated[int, typer.Option(help="how many", min=1, max=10_000_000)] = 1000,
    images: Annotated[Path | None, typer.Option(help="folder of photographs; default: drawn scenes")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of the set")] = Path("simulated"),
    sensor: Annotated[str, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = "spc3",
    recipe: Annotated[str, typer.Option(help="simulation recipe YAML, or a shipped one by name")] = "default",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="complete an interrupted set")] = False,
    part: Part = "1/1",
    workers: Workers = None,
    scheduler: Scheduler = None,
    webdataset: Annotated[bool, typer.Option("--webdataset", help="and as tar files, when it is whole")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="look whether the set is whole and unchanged")] = False,
    quiet: Quiet = False,
) -> None:
    """Make training pairs on disk: counts at ten bit depths and three fluxes, with targets at five resolutions.

    The layout is described in docs/dataset.md.
    Examples: `spadsr simulate --scenes 1000` · `spadsr simulate --images photos/ -o set/` ·
    `spadsr simulate --scenes 17250 -o set/ --part 3/16` · `spadsr simulate --verify -o set/`
    """
    if verify:
        _verify(output)
        return
    from noise_model.executors import SchedulerLost
    from noise_model.sensor import Sensor
    from simulate.dataset import WHOLE, SimulatedSet
    from simulate.recipe import SimulationRecipe
    from simulate.scenes import ProceduralScenes, SceneSource, photographs
    from simulate.shards import SceneMaker

    settled = SimulationRecipe.load(recipe)
    source: SceneSource = ProceduralScenes(seed)
    skipped: list[Path] = []
    if images is not None:
        source, skipped = photographs(images, seed, settled.squared_share)
    _say_skipped(skipped)
    maker = SceneMaker(source, settled, settled.sensor(Sensor.load(sensor)), seed)
    made, wanted = SimulatedSet(output, maker, scenes), part_of(part)
    if made.most_bytes > LARGE:
        remark(f"{output}: {scenes:,} scenes take at most {in_bytes(made.most_bytes)}")
    total, done = made.scenes_of(wanted), 0
    with executor_for(workers, scheduler) as executor, progress("scenes") as report:
        try:
            for done in made.write(resume, executor, wanted):
                report(done, total)
        except SchedulerLost as lost:
            lost.add_note(f"{done} of {total} scenes are done; go on with --resume")
            raise
    if webdataset:
        _write_tars(output)
    say(f"{output}: {total} scenes" + (f" of part {part}" if wanted != WHOLE else ""))


def _write_tars(folder: Path) -> None:
    from simulate.webdataset import write_tars

    with progress("tar files") as report:
        write_tars(folder, report)


def _verify(folder: Path) -> None:
    from simulate.dataset import verify_set

    with progress("looking") as report:
        wrong = verify_set(folder, report)
    for sentence in wrong:
        warn(sentence)
    if wrong:
        raise InputError(f"{folder}: {len(wrong)} faults; delete these files and resume, or simulate the set again")
    say(f"{folder}: whole and unchanged")


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="recipe YAML or the name of a shipped one; default: drawn scenes")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. steps=1000 scenes.photos=DIR")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="run folder")] = Path("runs/train"),
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="go on from the run folder's last checkpoint")] = False,
    quiet: Quiet = False,
) -> None:
    """Train the network. The run folder gets a checkpoint every minute, the curves, and `weights.safetensors`.

    Examples: `spadsr train` · `spadsr train smoke` · `spadsr train photos scenes.photos=DIR --device cuda` ·
    `spadsr train tune scenes.photos=DIR` · `torchrun --nproc-per-node 4 -m spadsr train gpu --device cuda`
    """
    from noise_model.interrupts import Interrupted
    from spadsr.training.distributed import leads
    from spadsr.training.run import run_training

    if recipe is not None and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    shown = leads()
    with (
        progress("preparing scenes", shown=shown) as report,
        progress("training", shown=shown) as report_steps,
        progress("measuring intervals", shown=shown) as report_intervals,
    ):
        try:
            finished = run_training(
                recipe, overrides or [], output, device, resume, report, report_steps, report_intervals
            )
        except Interrupted as stop:
            stop.add_note(f"to go on: spadsr train -o {output} --resume")
            raise
    if finished is None:  # another process speaks for all
        return
    _say_skipped(finished.skipped)
    say(finished.weights, finished.curves)


def _say_skipped(files: list[Path]) -> None:
    if files:
        named = ", ".join(str(path) for path in files[:3]) + (", ..." if len(files) > 3 else "")
        warn(f"skipped {len(files)} files that are not readable images: {named}")
