"""Commands on recordings: restore them, say what they are, convert them."""

from pathlib import Path
from typing import Annotated

import typer

from spadsr.cli.console import options_with, progress, say, table, warn, with_options
from spadsr.cli.options import (
    Array,
    Bits,
    CountTime,
    Cycles,
    DeadTime,
    Device,
    Layout,
    Seed,
    Weights,
    capture_options,
)
from spadsr.provenance import command_line


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
    """Restore recordings: rates in counts/s at up to sixteen times the resolution (`spadsr restore` is the same).

    Writes `<stem>.sr.h5` (rates and their standard deviation, every image) and a PNG sheet of the first image.

    Examples: `spadsr infer capture.h5` · `spadsr infer frames.tif --sum 64 --scale 8 -o results/`
    """
    from hardware.captures.capture import open_capture
    from noise_model.sensor import Sensor
    from spadsr.restoration.recordings import distinct_results, restore_capture
    from spadsr.restoration.weights import load_restorer

    distinct_results(captures, output)
    known = Sensor.load(sensor) if sensor is not None else None
    restorer = load_restorer(weights, device, orientations)
    names_of: dict[str, list[str]] = {}  # of the captures, by what is to be said of them
    options = capture_options(count_time, cycles, dead_time, bits, array, layout)
    for path in captures:
        with open_capture(path, **options) as capture, progress(path.name) as report:
            done = restore_capture(capture.summed(sum), restorer, scale, known, output, report, command_line())
        for warning in done.warnings:
            names_of.setdefault(with_options(warning), []).append(path.name)
        summary = f"{done.images} image{'s' * (done.images > 1)}, x{scale}, {done.check}"
        say(f"{done.result}  {summary}", done.picture)
    for line, names in names_of.items():
        warn(f"{names[0] if len(names) == 1 else f'{len(names)} captures'}: {line}")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="folder")] = Path("spadsr-demo"),
    seed: Seed = 0,
) -> None:
    """Simulate a capture of a 64x32 SPC3 from a known picture, restore it x4, and compare with the truth."""
    from spadsr.demo import run_demo

    with progress("demo") as report:
        result = run_demo(output, seed, report, command_line())
    for path in (result.capture, result.restored, result.picture):
        say(path)
    rows = [[name, f"{psnr:.2f}"] for name, psnr in result.psnr.items()]
    table(f"{result.frames} frames of 64x32 against the truth at x4", ["method", "PSNR, dB"], rows)


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
    from spadsr.files.describe import describe

    for name, value in describe(file, **capture_options(count_time, cycles, dead_time, bits, array, layout)):
        say(f"{name:<24} {with_options(value)}")


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
    from spadsr.files.convert import convert_capture

    options = capture_options(count_time, cycles, dead_time, bits, array, layout)
    with progress(source.name) as report:
        done = convert_capture(source, target, options, report)
    for note in done.notes:
        warn(note)
    if done.left_out:
        warn(f"counts only: to read {target.name} as it was taken, give {options_with(done.left_out)}")
    say(f"{done.path}  {' x '.join(map(str, done.shape))}")
