"""The command line. Each command imports what it needs when it runs, so that `--help` is instant."""

import json
import os
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from noise_model.errors import InputError
from noise_model.files import whole_file
from spadsr.console import err, out, plain_errors, progress, status_line, table, warn
from spadsr.provenance import command_line

app = typer.Typer(
    help="From single-photon counts to pictures, in counts/s, with their uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
bench = typer.Typer(help="Measure speed, as ratios within one run.", no_args_is_help=True)
app.add_typer(bench, name="bench")
emulate = typer.Typer(help="Pretend to be a camera, to try things without one.", no_args_is_help=True)
app.add_typer(emulate, name="emulate")

Number = TypeVar("Number", int, float)


class Mode(Enum):
    """Kinds of array."""

    binary = "binary"
    counting = "counting"


class ModelFormat(Enum):
    """Of exported networks."""

    onnx = "onnx"
    bioimageio = "bioimageio"


class Compression(Enum):
    """Of recordings."""

    none = "none"
    gzip = "gzip"
    lz4 = "lz4"


#: Exit code of a recording that is not all that was ordered.
INCOMPLETE = 3

Device = Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")]
Weights = Annotated[Path | None, typer.Option(help="weight file made by `spadsr train`; default: the one shipped")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="also write the figures to this file")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same counts")]
CountTime = Annotated[float | None, typer.Option(help="exposure of one hardware frame, s, where the file does not say")]
Cycles = Annotated[int | None, typer.Option(help="hardware frames in one image, where the file does not say")]
DeadTime = Annotated[float | None, typer.Option(help="s; 0 for a binary array, where the file does not say")]
Array = Annotated[str | None, typer.Option(help="name or number of the array, of a file that holds several")]
Layout = Annotated[str | None, typer.Option(help="how an array lies: counts, packed, images-first or images-last")]
Bits = Annotated[int | None, typer.Option(help="of the in-pixel counter; 1 = binary, where the file does not say")]


class ManyFlats(typer.core.TyperCommand):
    """Takes `--flat A B C` for `--flat A --flat B --flat C`."""

    many = "--flat"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Every argument after a flat, up to the next option, is a flat."""
        spelt: list[str] = []
        for place, word in enumerate(args):
            before = args[place - 1] if place else ""
            if not word.startswith("-") and len(spelt) > 1 and spelt[-2] == self.many and before != self.many:
                spelt.append(self.many)
            spelt.append(word)
        return super().parse_args(ctx, spelt)


class ManyPeers(ManyFlats):
    """The same of `--peers`."""

    many = "--peers"


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
    options = _options(count_time, cycles, dead_time, bits, array, layout)
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
    options = _options(count_time, cycles, dead_time, bits, array, layout)
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


def _options(
    count_time: float | None,
    cycles: int | None,
    dead_time: float | None,
    bits: int | None,
    array: str | None,
    layout: str | None,
) -> dict[str, Any]:
    """Keywords of `open_capture`."""
    taken = {"count_time": count_time, "cycles": cycles, "dead_time": dead_time, "counter_bits": bits}
    return taken | {"array": array, "layout": layout}


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
    `torchrun --nproc-per-node 4 -m spadsr train gpu --device cuda`
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
    sums = _numbers(frames, int) if bits is None else _numbers(bits, lambda bit: 1 << int(bit))
    conditions = conditions_of(mode.value, _numbers(scales, int), _numbers(flux, float), sums)
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

    for name, value in describe(file, **_options(count_time, cycles, dead_time, bits, array, layout)):
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

    options = _options(count_time, cycles, dead_time, bits, array, layout)
    with progress(source.name) as report:
        done = convert_capture(source, target, options, report)
    for note in done.notes:
        warn(note)
    out.print(f"{done.path}  {' x '.join(map(str, done.shape))}", markup=False, soft_wrap=True)


@emulate.callback()
def emulate_camera() -> None:
    """Pretend to be a camera, to try things without one."""


@emulate.command("spad512")
def emulate_spad512(
    port: Annotated[int, typer.Option(help="of this machine; 0 takes a free one", min=0, max=65535)] = 9999,
    rate: Annotated[float, typer.Option(help="counts/s of the brightest pixels", min=0)] = 20_000.0,
    calibration: Annotated[float, typer.Option(help="s of calibration when a client connects", min=0)] = 0.0,
    seed: Seed = 0,
) -> None:
    """Serve a pretend SPAD512 on this machine, as Pi Imaging's program does, until Ctrl-C.

    Example: `spadsr emulate spad512`, and elsewhere `spadsr acquire --camera spad512 -o capture.h5`
    """
    import asyncio

    from hardware.spad512_server import Server

    server = Server(rate, seed, calibration)
    asyncio.run(server.serve(port, lambda taken: out.print(f"serving spad512:127.0.0.1,port={taken}", soft_wrap=True)))


@app.command()
def cameras() -> None:
    """List the cameras: which are usable here, how to name them, and why the rest is not."""
    from hardware.camera import cameras as known

    for each in known():
        out.print(f"{each.name:<10} {'usable' if each.usable else 'not usable':<11} {each.address}", soft_wrap=True)
        out.print(f"{'':<10} {each.why}", markup=False, soft_wrap=True)


@app.command()
def acquire(
    camera: Annotated[str, typer.Option(help="NAME, NAME:WHAT or NAME:WHAT,OPTION=VALUE,...; see `spadsr cameras`")],
    output: Annotated[Path, typer.Option("-o", "--output", help="`.h5` file, which must not be there yet")],
    frames: Annotated[int | None, typer.Option(help="images to record; default: until Ctrl-C")] = None,
    seconds: Annotated[float | None, typer.Option(help="how long to record; default: until Ctrl-C")] = None,
    dark: Annotated[
        bool, typer.Option("--dark", help="mark the images as dark (the shutter is yours to close)")
    ] = False,
    flat: Annotated[bool, typer.Option("--flat", help="mark the images as flat (even light)")] = False,
    count_time: Annotated[float, typer.Option(help="exposure of one hardware frame, s")] = 10.4e-6,
    cycles: Annotated[int, typer.Option(help="hardware frames the camera sums into one image")] = 1,
    bits: Annotated[int, typer.Option(help="of the in-pixel counter; 1 = binary")] = 8,
    dead_time: Annotated[float, typer.Option(help="s")] = 50e-9,
    frame_time: Annotated[float | None, typer.Option(help="s from image to image; default: as fast as it goes")] = None,
    correct: Annotated[bool, typer.Option("--correct", help="let the camera correct for dead time (pile-up)")] = False,
    compression: Annotated[
        Compression, typer.Option(help="lz4: fast, needs spadsr[lz4]; gzip: for slow cameras")
    ] = Compression.none,
    reconnect: Annotated[bool, typer.Option("--reconnect", help="open a lost camera again, and go on")] = False,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor that took it, to be noted in the file")] = None,
    infer: Annotated[
        bool, typer.Option("--infer", help="restore the newest images meanwhile: `<stem>.live.png`")
    ] = False,
    scale: Annotated[int, typer.Option(help="with --infer: 1, 2, 4, 8 or 16")] = 4,
    sum: Annotated[int, typer.Option(help="with --infer: consecutive images to add up before restoring")] = 1,
    weights: Weights = None,
    device: Device = "cpu",
) -> None:
    """Record every image of a camera, losing none.

    Whatever ends a recording, the file is readable. Exit code 3: it is not all that was ordered, or images were lost.
    docs/acquire.md tells more.

    Examples: `spadsr acquire --camera simulated -o capture.h5 --seconds 10` ·
    `spadsr acquire --camera spc3 --dark -o dark.h5 --frames 1000000`
    """
    from hardware.camera import CameraSettings
    from spadsr import acquiring
    from spadsr.live_painter import LiveOrder

    if dark and flat:
        raise InputError("--dark --flat: images are one or the other; record twice")
    if sum != 1 and not infer:
        raise InputError(f"--sum {sum}: recordings hold single images; it is for --infer, or for `spadsr infer`")
    live = LiveOrder(output, sum, scale, weights, device, sensor) if infer else None
    kind = acquiring.DARK if dark else acquiring.FLAT if flat else acquiring.SCENE
    with status_line() as show:
        state = acquiring.acquire(
            camera,
            output,
            CameraSettings(count_time, cycles, bits, dead_time, frame_time, correct),
            images=frames,
            seconds=seconds,
            image_key=kind,
            compression=compression.value,
            reconnect=reconnect,
            sensor=sensor,
            command=command_line(),
            live=live,
            look=lambda now: show(acquiring.progress_line(now, frames)),
            say=warn,
        )
    table(str(output), ["recorded", ""], acquiring.summary_rows(state, output))
    if live is not None and live.picture.exists():
        out.print(str(live.picture), markup=False, soft_wrap=True)
    done = state.recorded
    if done.failure:
        err.print(f"error: {done.failure}", style="red", markup=False, soft_wrap=True)
    elif done.lost:
        warn(f"{done.lost} images were lost; sequence_number says where")
    if not done.whole:
        raise typer.Exit(INCOMPLETE)


@bench.command("simulate")
def bench_simulate(
    generator: Annotated[
        Path | None, typer.Option(help="Python file with sample(photons, frames, rng), to measure beside ours")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Counts per second with all effects on, one thread, beside bare numpy Poisson numbers of the same means."""
    from spadsr.bench import as_rows, bench_random_numbers, load_generator
    from spadsr.bench import bench_simulate as run

    other = None if generator is None else load_generator(generator)
    measured = []
    with progress("sampling") as report:
        for speed in run(other):
            measured.append(speed)
            report(len(measured), 16)
    rows = [
        [
            each.array,
            "x".join(map(str, each.shape[1:])),
            str(each.frames),
            f"{each.counts_per_second:.3g}",
            f"{each.numpy_per_second:.3g}",
            f"{each.ratio:.2f}",
            f"{each.tables_seconds:.2f}",
            f"{each.tables_megabytes:.1f}",
            "" if each.others_per_second is None else f"{each.others_per_second:.3g}",
        ]
        for each in measured
    ]
    header = ["array", "pixels", "frames", "counts/s", "numpy Poisson/s", "ratio", "tables, s", "MB"]
    header.append("" if generator is None else f"{generator.stem}/s")
    table("sampling, one thread", header, rows)
    out.print(f"64-bit random numbers alone: {bench_random_numbers():.3g}/s")
    _write_json(json_file, as_rows(measured))


@bench.command("infer")
def bench_infer(weights: Weights = None, device: Device = "cpu", json_file: JsonFile = None) -> None:
    """Frames per second and share of the machine, 64x32 to 256x128, beside plain window-attention networks."""
    from dataclasses import asdict

    from spadsr.bench_networks import bench_infer as run
    from spadsr.restorer import load_restorer

    measured = run(load_restorer(weights, device))
    reference = measured.networks[0].frames_per_second
    rows = [
        [
            each.name,
            f"{each.parameters / 1e6:.2f}",
            f"{each.gmac:.2f}",
            str(each.batch),
            f"{each.frames_per_second:.2f}",
            f"{each.frames_per_second / reference:.3g}",
            f"{100 * each.peak_share:.1f}",
        ]
        for each in measured.networks
    ]
    header = ["network", "parameters, M", "GMAC", "batch", "frames/s", "times the first", "% of peak"]
    table(f"restoring 64x32 to 256x128, {measured.device}", header, rows)
    peak = 2 * measured.peak_gmac_per_second / 1e3
    out.print(f"peak: a large {measured.arithmetic} matrix product, {peak:.3g} TFLOP/s")
    _write_json(json_file, [asdict(measured)])


@bench.command("quality", cls=ManyPeers)
def bench_quality(
    images: Annotated[Path, typer.Argument(help="folder of pictures to measure on")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for Markdown, CSV and plots")] = Path(
        "quality"
    ),
    weights: Weights = None,
    peers: Annotated[
        list[Path] | None, typer.Option("--peers", metavar="FILE...", help="weight files of other networks")
    ] = None,
    baselines: Annotated[
        str, typer.Option(help="of bicubic, bm3d, nlm, tv, waifu2x, realesrgan; comma-separated")
    ] = "bicubic,bm3d,nlm,tv",
    scales: Annotated[str, typer.Option(help="comma-separated")] = "4",
    modes: Annotated[str, typer.Option(help="arrays: binary, counting; comma-separated")] = "binary",
    flux: Annotated[str, typer.Option(help="mean detections of a white pixel in one frame, comma-separated")] = "0.2",
    frames: Annotated[str, typer.Option(help="hardware frames summed, comma-separated")] = "1,4,16,64,256",
    bits: Annotated[str | None, typer.Option(help="bit depths b instead of frames: N = 2^b, comma-separated")] = None,
    limit: Annotated[int | None, typer.Option(help="use only so many pictures", min=1)] = None,
    device: Device = "cpu",
    seed: Seed = 0,
) -> None:
    """Every method on the same counts in one run: PSNR, SSIM, worst 5 %, time and size, side by side.

    Examples: `spadsr bench quality pictures/ --peers light.safetensors large.safetensors` ·
    `spadsr bench quality pictures/ --scales 8,16 --bits 1,4,8 --baselines bicubic`
    """
    from spadsr.evaluation import conditions_of
    from spadsr.quality import OURS, compare, distinct_names
    from spadsr.quality_tables import cost_table, quality_tables, write_comparison
    from spadsr.restorer import load_restorer

    files = distinct_names(peers or [])
    networks = {name: load_restorer(file, device) for name, file in files.items()}
    networks[OURS] = load_restorer(weights, device)
    sums = _numbers(frames, int) if bits is None else _numbers(bits, lambda bit: 1 << int(bit))
    conditions = [
        condition
        for mode in _modes(modes)
        for condition in conditions_of(mode.value, _numbers(scales, int), _numbers(flux, float), sums)
    ]
    names = [name.strip() for name in baselines.split(",") if name.strip()]
    with progress("measuring") as report:
        done = compare(images, conditions, names, networks, seed, limit, report)
    for path, reason in done.evaluation.skipped.items():
        warn(f"skipped {path}: {reason}")
    checksums = {name: restorer.checksum for name, restorer in networks.items()}
    header = {"command": command_line(), "seed": seed, "device": device, "sha256": checksums}
    summaries = write_comparison(done, output, header)
    for title, (head, *rows) in [("what they take", cost_table(done.costs)), *quality_tables(summaries)]:
        table(title, head, rows)
    out.print(f"{output / 'quality.md'}\n{output / 'summary.png'}", markup=False, soft_wrap=True)


def _modes(text: str) -> list[Mode]:
    known = [mode.value for mode in Mode]
    for name in text.split(","):
        if name not in known:
            raise InputError(f"--modes {name}: no such array; choose from {', '.join(known)}")
    return [Mode(name) for name in text.split(",")]


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
        from spadsr.provenance import versions

        with whole_file(path) as partial:
            partial.write_text(json.dumps({"versions": versions(), "rows": rows}, indent=1) + "\n")
