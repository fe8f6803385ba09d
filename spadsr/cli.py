"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from noise_model.errors import InputError
from spadsr.cli_bench import bench
from spadsr.cli_cameras import acquire, cameras, emulate
from spadsr.cli_options import (
    Array,
    Bits,
    CountTime,
    Cycles,
    DeadTime,
    Device,
    Layout,
    ManyFlats,
    Mode,
    ModelFormat,
    Seed,
    Weights,
    capture_options,
    numbers,
)
from spadsr.console import out, plain_errors, progress, table, warn
from spadsr.provenance import command_line

app = typer.Typer(
    help="From single-photon counts to pictures, in counts/s, with their uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """Entry point of the `spadsr` command."""
    with plain_errors():
        app(prog_name="spadsr")


@app.command()
def infer(
    captures: Annotated[list[Path], typer.Argument(help="recordings of any format in docs/formats.md")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="`.h5` file or folder; default: beside the capture")
    ] = None,
    scale: Annotated[int, typer.Option(help="resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16")] = 4,
    sum: Annotated[int, typer.Option(help="consecutive images to add up before restoring")] = 1,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = None,
    orientations: Annotated[
        int, typer.Option(help="average over so many turned and mirrored images, up to 8: better, and so much slower")
    ] = 1,
    weights: Weights = None,
    device: Device = "cpu",
    count_time: CountTime = None,
    cycles: Cycles = None,
    dead_time: DeadTime = None,
    bits: Bits = None,
    array: Array = None,
    layout: Layout = None,
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
    restorer = load_restorer(weights, device, orientations)
    said: dict[str, list[str]] = {}
    options = capture_options(count_time, cycles, dead_time, bits, array, layout)
    for path in captures:
        with (
            open_capture(path, **options) as capture,
            progress(path.name) as report,
        ):
            done = restore_capture(capture.summed(sum), restorer, scale, known, output, report)
        for warning in done.warnings:
            said.setdefault(warning, []).append(path.name)
        said_of_it = f"{done.images} image{'s' * (done.images > 1)}, x{scale}, {done.check}"
        out.print(f"{done.result}  {said_of_it}\n{done.picture}", markup=False, soft_wrap=True)
    for warning, names in said.items():
        warn(f"{names[0] if len(names) == 1 else f'{len(names)} captures'}: {warning}")


@app.command(cls=ManyFlats)
def calibrate(
    darks: Annotated[list[Path] | None, typer.Argument(metavar="DARK", help="recordings in the dark")] = None,
    flats: Annotated[
        list[Path] | None, typer.Option("--flat", metavar="FLAT...", help="recordings of even light")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="`.yaml` of the sensor (sensor.yaml); of a check, its `.html`")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="recording of a still scene: is it what --sensor would count?")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="numbers for what the recordings do not tell; of a check, the sensor checked")
    ] = None,
    count_time: CountTime = None,
    cycles: Cycles = None,
    dead_time: DeadTime = None,
    bits: Bits = None,
    array: Array = None,
    layout: Layout = None,
) -> None:
    """Estimate a sensor from dark and flat recordings, or check one against a recording.

    Writes the sensor (YAML, and NPZ with its maps) and an HTML report beside it. Images that a recording itself marks
    as dark or flat are used as such. docs/calibrate.md says what to record.

    Examples: `spadsr calibrate dark.h5 --flat dim.h5 bright.h5 -o sensor.yaml` ·
    `spadsr calibrate --check scene.h5 --sensor sensor.yaml`
    """
    options = capture_options(count_time, cycles, dead_time, bits, array, layout)
    command = command_line()
    if check is not None:
        _check(check, sensor, output, options, command)
        return
    if not darks and not flats:
        raise InputError("give recordings: DARK... --flat FLAT..., or --check CAPTURE --sensor SENSOR")
    from spadsr.calibrating import calibrate_captures
    from spadsr.calibration_report import ESTIMATES, assumed, estimate_rows

    done = calibrate_captures(
        darks or [], flats or [], sensor, output or Path("sensor.yaml"), options, command, progress
    )
    table("calibrated", list(ESTIMATES), estimate_rows(done.calibration.estimates))
    for line in assumed(done.calibration.estimates):
        out.print(line, markup=False, soft_wrap=True)
    for note in (*done.calibration.remarks, *done.notes):
        warn(note)
    out.print(f"{done.sensor}\n{done.report}", markup=False, soft_wrap=True)


def _check(capture: Path, sensor: str | None, output: Path | None, options: Mapping[str, Any], command: str) -> None:
    from noise_model.calibration.goodness import reasons
    from spadsr.calibration_report import CHECKS, check_rows, verdict
    from spadsr.checking import check_capture

    if sensor is None:
        raise InputError("--check needs --sensor: the sensor file to check")
    done = check_capture(capture, sensor, output, options, command, progress)
    table(f"{capture.name} under {sensor}", list(CHECKS), check_rows(done.found))
    for line in (verdict(done.found), *reasons(done.found), str(done.report)):
        out.print(line, markup=False, soft_wrap=True)
    for note in done.notes:
        warn(note)


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

    Examples: `spadsr train` · `spadsr train smoke` · `spadsr train photos scenes.photos=DIR --device cuda` ·
    `spadsr train tune scenes.photos=DIR` · `torchrun --nproc-per-node 4 -m spadsr train gpu --device cuda`
    """
    from spadsr.distributed import leads
    from spadsr.runs import run_training

    if recipe is not None and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    shown = leads()
    with progress("preparing scenes", shown=shown) as report, progress("training", shown=shown) as report_steps:
        finished = run_training(recipe, overrides or [], output, device, resume, report, report_steps)
    if finished is None:  # another process speaks for all
        return
    _say_skipped(finished.skipped)
    out.print(f"{finished.weights}\n{finished.curves}", markup=False, soft_wrap=True)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="default: base_x4.onnx, or .zip")] = None,
    format: Annotated[ModelFormat, typer.Option(help="one ONNX file, or a BioImage.IO package")] = ModelFormat.onnx,
    scale: Annotated[int, typer.Option(help="resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16")] = 4,
    weights: Weights = None,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = None,
    bits: Annotated[int | None, typer.Option(help="of the in-pixel counter; 1 = binary")] = None,
    dead_time: Annotated[float | None, typer.Option(help="s, of a counting array")] = None,
    count_time: Annotated[float | None, typer.Option(help="exposure of one hardware frame, s; of a package")] = None,
    cycles: Annotated[int | None, typer.Option(help="hardware frames in one image; of a package", min=1)] = None,
) -> None:
    """Write the network for other programs, counts in and rates out, and prove that it agrees with this one.

    The kind of array is fixed in the file. An ONNX file takes exposure and sensor maps as inputs; a BioImage.IO package
    takes counts alone.

    Examples: `spadsr export --sensor spc3 -o base_x4.onnx` ·
    `spadsr export --format bioimageio --bits 1 --cycles 64 --count-time 1e-5 -o base_x4.zip`
    """
    from noise_model.sensor import Exposure
    from spadsr.model_export import export_onnx, sensor_to_export
    from spadsr.model_package import export_package
    from spadsr.restorer import load_restorer

    known, restorer = sensor_to_export(sensor, dead_time, bits), load_restorer(weights)
    suffix = "onnx" if format is ModelFormat.onnx else "zip"
    path = output or Path(f"{restorer.name}_x{scale}.{suffix}")
    if format is ModelFormat.onnx:
        if (count_time, cycles) != (None, None):
            raise InputError("--count-time and --cycles are inputs of an ONNX file; only a package fixes them")
        done = export_onnx(restorer, known, scale, path)
    elif count_time is None or cycles is None:
        raise InputError("a BioImage.IO package is for one exposure: give --count-time and --cycles")
    else:
        done = export_package(restorer, known, scale, Exposure(count_time, cycles), path)
    out.print(f"{done.path}: within {done.difference:.1e} of white of the network", markup=False, soft_wrap=True)


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
    methods: Annotated[
        str, typer.Option(help="of bicubic, bm3d, nlm, tv, waifu2x, realesrgan, spadsr; comma-separated")
    ] = "bicubic,bm3d,spadsr",
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
    sums = numbers(frames, int) if bits is None else numbers(bits, lambda bit: 1 << int(bit))
    conditions = conditions_of(mode.value, numbers(scales, int), numbers(flux, float), sums)
    named = methods_named([name.strip() for name in methods.split(",")], {"spadsr": restorer})
    with progress("measuring") as report:
        measured = run(images, conditions, named, seed, limit, lambda done, total, row: report(done, total))
    for path, reason in measured.skipped.items():
        warn(f"skipped {path}: {reason}")
    header = {"command": command_line(), "seed": seed, "weights": restorer.name, "sha256": restorer.checksum}
    summaries = write_evaluation(measured, output, header)
    table(f"{mode.value}, mean over pictures", list(COLUMNS), [rows_of(summary) for summary in summaries])
    out.print(f"{output / 'summary.md'}\n{output / 'summary.png'}\n{output / 'rows.csv'}", markup=False, soft_wrap=True)


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="capture, folder of images, result, weight file or simulated set")],
    count_time: CountTime = None,
    cycles: Cycles = None,
    dead_time: DeadTime = None,
    bits: Bits = None,
    array: Array = None,
    layout: Layout = None,
) -> None:
    """Say what a file is."""
    from spadsr.describe import describe

    for name, value in describe(file, **capture_options(count_time, cycles, dead_time, bits, array, layout)):
        out.print(f"{name:<24} {value}", markup=False, soft_wrap=True)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="recording, or folder of numbered PNG images")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="`.h5`, `.npy`, `.tif` (ImageJ) or `.ome.tif`")],
    count_time: CountTime = None,
    cycles: Cycles = None,
    dead_time: DeadTime = None,
    bits: Bits = None,
    array: Array = None,
    layout: Layout = None,
) -> None:
    """Write a recording in another format. docs/formats.md says what is read, written and assumed.

    Examples: `spadsr convert run.spc3 run.h5` · `spadsr convert cube.npy cube.h5 --count-time 1e-5`
    """
    from spadsr.converting import convert_capture

    options = capture_options(count_time, cycles, dead_time, bits, array, layout)
    with progress(source.name) as report:
        done = convert_capture(source, target, options, report)
    for note in done.notes:
        warn(note)
    out.print(f"{done.path}  {' x '.join(map(str, done.shape))}", markup=False, soft_wrap=True)


app.command()(cameras)
app.command()(acquire)
app.add_typer(bench, name="bench")
app.add_typer(emulate, name="emulate")


def _say_skipped(files: list[Path]) -> None:
    if files:
        named = ", ".join(str(path) for path in files[:3]) + (", ..." if len(files) > 3 else "")
        warn(f"skipped {len(files)} files that are not readable images: {named}")
