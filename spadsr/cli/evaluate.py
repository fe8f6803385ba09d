"""The command that measures methods: on pictures, or on the frames of a recording that are left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noise_model.errors import InputError
from noise_model.files import require_folder
from spadsr.cli.console import progress, say, table, warn, write_json
from spadsr.cli.options import (
    Device,
    First,
    JsonFile,
    Last,
    Mode,
    Quiet,
    Scheduler,
    Seed,
    Sharers,
    Weights,
    executor_for,
    frames_of,
    numbers,
)
from spadsr.provenance import command_line

if TYPE_CHECKING:
    from spadsr.evaluation.methods import Method

#: Options that say nothing where frames of a recording are left out.
_OF_PICTURES = ("scales", "bits", "flux", "mode", "methods", "limit", "workers", "scheduler", "json_file")


def evaluate(
    context: typer.Context,
    images: Annotated[Path, typer.Argument(help="folder of pictures to measure on; with --left-out, a recording")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for CSV, Markdown and plot")] = Path(
        "evaluation"
    ),
    scales: Annotated[str, typer.Option(help="of 1, 2, 4, 8, 16; comma-separated")] = "4",
    frames: Annotated[
        str, typer.Option(help="hardware frames summed, 1 to 1,000,000, comma-separated")
    ] = "1,4,16,64,256",
    bits: Annotated[
        str | None, typer.Option(help="bit depths b, 0 to 16, instead of frames: N = 2^b, comma-separated")
    ] = None,
    flux: Annotated[
        str, typer.Option(help="mean detections of a white pixel in one frame, from 1e-6; comma-separated")
    ] = "0.2",
    mode: Annotated[Mode, typer.Option(help="the array: binary, or counting with T / dead time = 17.5")] = Mode.binary,
    methods: Annotated[
        str, typer.Option(help="of bicubic, bm3d, nlm, tv, waifu2x, realesrgan, spadsr; comma-separated")
    ] = "bicubic,tv,spadsr",
    limit: Annotated[int | None, typer.Option(help="use only so many pictures", min=1, max=1_000_000)] = None,
    left_out: Annotated[
        bool,
        typer.Option(
            "--left-out",
            help="measure on a recording, without a truth: some of its images predict the others",
        ),
    ] = False,
    first: First = None,
    last: Last = None,
    weights: Weights = None,
    workers: Sharers = 1,
    scheduler: Scheduler = None,
    device: Device = "cpu",
    seed: Seed = 0,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Measure PSNR, SSIM, radiometry and interval coverage over bit depth, flux and scale, beside baselines.

    A folder of pairs of the Single Photon Challenge (`SCENE/FRAME.npy`, `SCENE/FRAME.png`) is measured as it does:
    `--frames`, `--methods` and `--limit` say how. A recording of your own is measured with `--left-out`.

    Examples: `spadsr evaluate pictures/` · `spadsr evaluate pictures/ --mode counting --flux 0.3,2,8 --frames 1` ·
    `spadsr evaluate train/ --frames 16,64 --limit 10` · `spadsr evaluate capture.h5 --left-out`
    """
    require_folder(output)
    given = [name for name in (*_OF_PICTURES, "first", "last") if _said(context, name)]
    if left_out:
        _refuse([name for name in given if name in _OF_PICTURES], "nothing is simulated where frames are left out")
        _left_out(images, output, numbers(frames, int), {"first": first, "last": last}, weights, device, seed)
        return
    _refuse([name for name in given if name not in _OF_PICTURES], "pictures of a folder are measured, all of them")
    from spadsr.evaluation.challenge import pairs
    from spadsr.evaluation.conditions import conditions_of
    from spadsr.evaluation.evaluate import evaluate as run
    from spadsr.evaluation.methods import methods_named
    from spadsr.evaluation.output import SCREEN_COLUMNS, screen_row, write_evaluation
    from spadsr.restoration.weights import load_restorer

    restorer = load_restorer(weights, device)
    sums = numbers(frames, int) if bits is None else frames_of(bits)
    header = {"command": command_line(), "seed": seed, "weights": restorer.name, "sha256": restorer.checksum}
    conditions = conditions_of(mode.value, numbers(scales, int), numbers(flux, float), sums)
    named = methods_named([name.strip() for name in methods.split(",")], {"spadsr": restorer})
    if pairs(images):
        _challenge(images, sums, named, limit, output, header, json_file)
        return
    with executor_for(workers, scheduler) as executor, progress("measuring") as report:
        measured = run(images, conditions, named, seed, limit, report, executor)
    for path, reason in measured.skipped.items():
        warn(f"skipped {path}: {reason}")
    summaries = write_evaluation(measured, output, header)
    write_json(json_file, summaries)
    table(f"{mode.value}, mean over pictures", SCREEN_COLUMNS, [screen_row(summary) for summary in summaries])
    say(output / "summary.md", output / "summary.png", output / "rows.csv")


def _said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _refuse(names: Sequence[str], why: str) -> None:
    if names:
        raise InputError(why, *("json" if name == "json_file" else name for name in names))


def _left_out(
    recording: Path,
    output: Path,
    sums: Sequence[int],
    part: Mapping[str, int | None],
    weights: Path | None,
    device: str,
    seed: int,
) -> None:
    """Measures on a recording, from sums of so many of its images."""
    from hardware.captures.capture import open_capture
    from spadsr.cli.experiments import tell
    from spadsr.experiments.experiment import Task
    from spadsr.experiments.left_out import LEFT_OUT
    from spadsr.experiments.left_out import left_out as run
    from spadsr.restoration.weights import load_restorer

    with open_capture(recording, first=part["first"], last=part["last"]) as capture, progress("measuring") as report:
        task = Task(recording, sums, load_restorer(weights, device), seed, report)
        outcome = run(capture, task)
    tell(LEFT_OUT.name, outcome, task, output)


def _challenge(
    folder: Path,
    frames: Sequence[int],
    methods: "Mapping[str, Method]",
    limit: int | None,
    output: Path,
    header: Mapping[str, Any],
    json_file: Path | None,
) -> None:
    from spadsr.evaluation.challenge import COLUMNS, scores, write_scores
    from spadsr.evaluation.challenge import table as rows_of

    with progress("measuring") as report:
        found = scores(folder, frames, methods, limit, report)
    write_scores(found, output, header)
    write_json(json_file, found)
    table("sRGB, mean and low quantiles over pictures", COLUMNS, rows_of(found))
    say(output / "challenge.md", output / "challenge.csv")
