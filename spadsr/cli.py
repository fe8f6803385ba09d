"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

import json
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from noise_model.files import whole_file
from spadsr.console import out, plain_errors, progress, table, warn

app = typer.Typer(
    help="From single-photon counts to pictures, in counts/s, with their uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
bench = typer.Typer(help="Measure speed, as ratios within one run.", no_args_is_help=True)
app.add_typer(bench, name="bench")

Number = TypeVar("Number", int, float)


class Mode(Enum):
    """Kinds of array."""

    binary = "binary"
    counting = "counting"


Device = Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")]
Weights = Annotated[Path | None, typer.Option(help="weight file made by `spadsr train`; default: the one shipped")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="also write the figures to this file")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same counts")]


def main() -> None:
    """Entry point of the `spadsr` command."""
    with plain_errors():
        app(prog_name="spadsr")


@app.command()
def infer(
    captures: Annotated[list[Path], typer.Argument(help="recordings: .h5, TIFF stacks, .npy, peak-normalised frames")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="`.h5` file or folder; default: beside the capture")
    ] = None,
    scale: Annotated[int, typer.Option(help="resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16")] = 4,
    sum: Annotated[int, typer.Option(help="consecutive images to add up before restoring")] = 1,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = None,
    weights: Weights = None,
    device: Device = "cpu",
    count_time: Annotated[
        float | None, typer.Option(help="exposure of one hardware frame, s, where the file does not say")
    ] = None,
    cycles: Annotated[
        int | None, typer.Option(help="hardware frames in one image, where the file does not say")
    ] = None,
    dead_time: Annotated[
        float | None, typer.Option(help="s; 0 for a binary array, where the file does not say")
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="of the in-pixel counter; 1 = binary, where the file does not say")
    ] = None,
) -> None:
    """Restore recordings: rates in counts/s at up to sixteen times the resolution.

    Writes `<stem>.sr.h5` (rates and their standard deviation, every image) and a PNG sheet of the first image.

    Examples: `spadsr infer capture.h5` · `spadsr infer frames.tif --sum 64 --scale 8 -o results/`
    """
    from hardware.capture import open_capture
    from noise_model.sensor import Sensor
    from spadsr.inference import distinct_results, restore_capture
    from spadsr.restorer import load_restorer

    distinct_results(captures, output)
    known = Sensor.load(sensor) if sensor is not None else None
    restorer = load_restorer(weights, device)
    said: dict[str, list[str]] = {}
    for path in captures:
        with (
            open_capture(path, count_time=count_time, cycles=cycles, dead_time=dead_time, counter_bits=bits) as capture,
            progress(path.name) as report,
        ):
            done = restore_capture(capture.summed(sum), restorer, scale, known, output, report)
        for warning in done.warnings:
            said.setdefault(warning, []).append(path.name)
        out.print(f"{done.result}  {done.images} images, x{scale}\n{done.picture}", markup=False, soft_wrap=True)
    for warning, names in said.items():
        warn(f"{names[0] if len(names) == 1 else f'{len(names)} captures'}: {warning}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="folder")] = Path("spadsr-demo"),
    seed: Seed = 0,
) -> None:
    """Simulate a capture of a 64x32 SPC3 from a known picture, restore it x4, and compare with the truth."""
    from spadsr.demo import run_demo

    with progress("demo") as report:
        result = run_demo(output, seed, report)
    for path in (result.capture, result.restored, result.picture):
        out.print(str(path), soft_wrap=True)
    rows = [[name, f"{psnr:.2f}"] for name, psnr in result.psnr.items()]
    table(f"{result.frames} frames of 64x32 against the truth at x4", ["method", "PSNR, dB"], rows)


@app.command()
def simulate(
    scenes: Annotated[int, typer.Option(help="how many", min=1)] = 1000,
    images: Annotated[Path | None, typer.Option(help="folder of photographs; default: drawn scenes")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of the set")] = Path("simulated"),
    sensor: Annotated[str, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = "spc3",
    recipe: Annotated[str, typer.Option(help="simulation recipe YAML, or a shipped one by name")] = "default",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="complete an interrupted set")] = False,
    workers: Annotated[int | None, typer.Option(help="processes; default: one a core")] = None,
) -> None:
    """Make training pairs on disk: counts at ten bit depths and three fluxes, with targets at five resolutions.

    The layout is described in docs/dataset.md.
    Examples: `spadsr simulate --scenes 1000` · `spadsr simulate --images photos/ -o set/`
    """
    from noise_model.sensor import Sensor
    from simulate.dataset import SimulatedSet
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
    with progress("scenes") as report:
        for done in SimulatedSet(output, maker, scenes).write(resume, workers or os.cpu_count() or 1):
            report(done, scenes)
    out.print(f"{output}: {scenes} scenes", markup=False, soft_wrap=True)


@app.command()
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="recipe YAML or the name of a shipped one; default: drawn scenes")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, e.g. steps=1000 scenes.photos=DIR")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="run folder")] = Path("runs/train"),
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="go on from the run folder's last checkpoint")] = False,
) -> None:
    """Train the network. The run folder gets a checkpoint every minute, the curves, and `weights.safetensors`.

    Examples: `spadsr train` · `spadsr train smoke` · `spadsr train photos scenes.photos=DIR --device cuda`
    """
    from spadsr.runs import run_training

    if recipe is not None and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    with progress("preparing scenes") as report, progress("training") as report_steps:
        finished = run_training(recipe, overrides or [], output, device, resume, report, report_steps)
    _say_skipped(finished.skipped)
    out.print(f"{finished.weights}\n{finished.curves}", markup=False, soft_wrap=True)


@app.command()
def evaluate(
    images: Annotated[Path, typer.Argument(help="folder of pictures to measure on")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for CSV, Markdown and plot")] = Path(
        "evaluation"
    ),
    scales: Annotated[str, typer.Option(help="comma-separated")] = "4",
    frames: Annotated[str, typer.Option(help="hardware frames summed, comma-separated")] = "1,4,16,64,256",
    bits: Annotated[str | None, typer.Option(help="bit depths b instead of frames: N = 2^b, comma-separated")] = None,
    flux: Annotated[str, typer.Option(help="mean detections of a white pixel in one frame, comma-separated")] = "0.2",
    mode: Annotated[Mode, typer.Option(help="the array: binary, or counting with T / dead time = 17.5")] = Mode.binary,
    methods: Annotated[str, typer.Option(help="of bicubic, bm3d, spadsr; comma-separated")] = "bicubic,bm3d,spadsr",
    limit: Annotated[int | None, typer.Option(help="use only so many pictures", min=1)] = None,
    weights: Weights = None,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Measure PSNR, SSIM, radiometry and interval coverage over bit depth, flux and scale, beside baselines.

    Examples: `spadsr evaluate pictures/` · `spadsr evaluate pictures/ --mode counting --flux 0.3,2,8 --frames 1`
    """
    from spadsr.evaluation import conditions_of, methods_named
    from spadsr.evaluation import evaluate as run
    from spadsr.restorer import load_restorer
    from spadsr.tables import COLUMNS, rows_of, write_evaluation

    restorer = load_restorer(weights, device)
    sums = _numbers(frames, int) if bits is None else _numbers(bits, lambda bit: 1 << int(bit))
    conditions = conditions_of(mode.value, _numbers(scales, int), _numbers(flux, float), sums)
    named = methods_named([name.strip() for name in methods.split(",")], restorer)
    with progress("measuring") as report:
        measured = run(images, conditions, named, seed, limit, lambda done, total, row: report(done, total))
    for path, reason in measured.skipped.items():
        warn(f"skipped {path}: {reason}")
    header = {"command": " ".join(sys.argv), "seed": seed, "weights": restorer.name, "sha256": restorer.checksum}
    summaries = write_evaluation(measured, output, header)
    table(f"{mode.value}, mean over pictures", list(COLUMNS), [rows_of(summary) for summary in summaries])
    out.print(f"{output / 'summary.md'}\n{output / 'summary.png'}\n{output / 'rows.csv'}", markup=False, soft_wrap=True)


@app.command()
def info(file: Annotated[Path, typer.Argument(help="capture, result, weight file or simulated set")]) -> None:
    """Say what a file is."""
    from spadsr.describe import describe

    for name, value in describe(file):
        out.print(f"{name:<24} {value}", markup=False, soft_wrap=True)


@bench.command("simulate")
def bench_simulate(json_file: JsonFile = None) -> None:
    """Counts per second with all effects on, one thread, beside bare numpy Poisson numbers of the same means."""
    from spadsr.bench import as_rows
    from spadsr.bench import bench_simulate as run

    measured = list(run())
    rows = [
        [
            each.array,
            str(each.frames),
            f"{each.counts_per_second:.3g}",
            f"{each.numpy_per_second:.3g}",
            f"{each.ratio:.2f}",
        ]
        for each in measured
    ]
    table("sampling, one thread", ["array", "frames", "counts/s", "numpy Poisson/s", "ratio"], rows)
    _write_json(json_file, as_rows(measured))


@bench.command("infer")
def bench_infer(weights: Weights = None, device: Device = "cpu", json_file: JsonFile = None) -> None:
    """Frames per second, 64x32 to 256x128, beside a network of the published size."""
    from spadsr.bench import as_rows
    from spadsr.bench import bench_infer as run
    from spadsr.restorer import load_restorer

    measured = run(load_restorer(weights, device))
    reference = measured[-1].frames_per_second
    rows = [
        [
            each.name,
            f"{each.parameters / 1e6:.2f} M",
            f"{each.gmac:.2f}",
            str(each.batch),
            f"{each.frames_per_second:.2f}",
            f"{each.frames_per_second / reference:.1f}",
        ]
        for each in measured
    ]
    header = ["network", "parameters", "GMAC", "batch", "frames/s", "times the published size"]
    table("restoring 64x32 to 256x128", header, rows)
    _write_json(json_file, as_rows(measured))


def _say_skipped(files: list[Path]) -> None:
    if files:
        named = ", ".join(str(path) for path in files[:3]) + (", ..." if len(files) > 3 else "")
        warn(f"skipped {len(files)} files that are not readable images: {named}")


def _numbers(text: str, kind: Callable[[str], Number]) -> list[Number]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text}: expected numbers separated by commas") from error


def _write_json(path: Path | None, rows: list[dict[str, object]]) -> None:
    if path is not None:
        from spadsr.versions import versions

        with whole_file(path) as partial:
            partial.write_text(json.dumps({"versions": versions(), "rows": rows}, indent=1) + "\n")
