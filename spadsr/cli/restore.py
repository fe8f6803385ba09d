"""Commands on recordings: restore them, say what they are, convert them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from noise_model.errors import InputError
from noise_model.files import in_bytes
from spadsr.cli.console import (
    LARGE,
    fail_of,
    options_with,
    progress,
    remark,
    say,
    table,
    warn,
    with_options,
    write_json,
)
from spadsr.cli.options import (
    Compression,
    Darks,
    Device,
    Each,
    Every,
    FollowMotion,
    JsonFile,
    Mask,
    Part,
    Quiet,
    Scheduler,
    Seed,
    Sharers,
    Sum,
    Weights,
    executor_for,
    opens_captures,
    part_of,
)
from spadsr.provenance import command_line

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from hardware.captures.capture import Capture
    from spadsr.restoration.recordings import RestoredFiles
    from spadsr.restoration.several import Order


@opens_captures
def infer(
    captures: Annotated[list[Path], typer.Argument(help="recordings of any format in docs/formats.md")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="folder, or a file: `.h5` (everything), `.tif`, `.ome.tif` (rates), `.png` (first image), `.mp4`"
            " or `.gif` (film); default: `.sr.h5` beside the capture",
        ),
    ] = None,
    scale: Annotated[int, typer.Option(help="resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16")] = 4,
    sum: Sum = 1,
    every: Every = None,
    motion: FollowMotion = "none",
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = None,
    dark: Darks = None,
    mask: Mask = None,
    orientations: Annotated[
        int, typer.Option(help="average over so many turned and mirrored images, up to 8: better, and so much slower")
    ] = 1,
    each: Each = False,
    weights: Weights = None,
    device: Device = "cpu",
    compression: Annotated[Compression, typer.Option(help="of a result file; lz4 is faster")] = Compression.gzip,
    float32: Annotated[
        bool, typer.Option("--float32", help="every bit of rates and uncertainties, in three times the room")
    ] = False,
    keep: Annotated[
        str, typer.Option(metavar="NAMES", help="arrays of a result file, separated by commas; rates always are kept")
    ] = "rate,uncertainty,residual",
    part: Part = "1/1",
    resume: Annotated[bool, typer.Option("--resume", help="leave what is whole, and was made alike, as it is")] = False,
    workers: Sharers = 1,
    scheduler: Scheduler = None,
    *,
    opening: dict[str, Any],
    quiet: Quiet = False,
) -> None:
    """Restore recordings: rates in counts/s at up to sixteen times the resolution (`spadsr restore` is the same).

    Writes `<stem>.sr.h5` (rates and their standard deviation, every image) and a PNG sheet of the first image, or the
    file that `-o` names. What ends it keeps what is done in `<stem>.sr.part.h5`; the same command goes on from there.
    With `--workers 8`, recordings and parts of long ones are restored side by side (docs/cluster.md).

    Sums of a moving scene are blurred, and a note says so. With `--motion` they are added up along its motion, and are
    sharp pictures of the middle of each sum (docs/motion.md).

    Examples: `spadsr infer capture.h5` · `spadsr infer frames.tif --sum 64 --scale 8 -o results/` ·
    `spadsr infer capture.h5 -o cell.png --first 10` · `spadsr infer capture.h5 -o cell.tif --roi 0:32,0:32` ·
    `spadsr infer run.h5 --part 3/16` · `spadsr infer *.h5 --workers 8 --resume` ·
    `spadsr infer run.h5 --sum 2048 --motion auto` ·
    `spadsr infer run.h5 -o run.mp4 --sum 2048 --every 128 --motion auto`
    """
    from noise_model.sensor import Sensor
    from spadsr.motion.motion import way_of
    from spadsr.restoration import parts
    from spadsr.restoration.recordings import distinct_results
    from spadsr.restoration.several import Order
    from spadsr.restoration.storage import Storage

    distinct_results(captures, output)
    known = Sensor.load(sensor) if sensor is not None else None
    notes: tuple[str, ...] = ()
    if dark:
        from spadsr.calibration.calibrate import with_darks

        known, notes = with_darks(dark, known, opening | {"first": None, "last": None}, command_line(), progress)
    order = Order(
        options=opening,
        sum=sum,
        every=every,
        mask=mask,
        notes=notes,
        weights=weights,
        device=device,
        orientations=orientations,
        scale=scale,
        sensor=known,
        output=output,
        command=command_line(),
        each=each,
        motion=way_of(motion),
        storage=Storage.keeping(keep.split(","), compression.value, float32),
        part=parts.Part(*part_of(part)),
        resume=resume,
    )
    with executor_for(workers, scheduler) as executor:
        _told(
            captures,
            _restored_one_by_one(captures, order) if executor is None else _shared_out(captures, order, executor),
        )


Outcomes: TypeAlias = "Iterator[tuple[Path, RestoredFiles | InputError]]"


def _restored_one_by_one(captures: Sequence[Path], order: "Order") -> Outcomes:
    """Restores recordings in this process, each with its own progress."""
    restorer = order.restorer()
    for path in captures:
        try:
            with order.opened(path) as capture, progress(path.name) as report:
                _announce(capture, order)
                done = order.restore(capture, restorer, report)
            yield path, done
        except InputError as error:
            yield path, error


def _shared_out(captures: Sequence[Path], order: "Order", executor: "Executor") -> Outcomes:
    """Restores recordings on the workers of an executor, with one progress for all."""
    from noise_model.executors import SchedulerLost
    from spadsr.restoration.several import restore_shared_out

    finished = 0
    with progress("images") as report:
        try:
            for path, done in restore_shared_out(order, captures, executor, report):
                finished += 1
                yield path, done
        except SchedulerLost as lost:
            lost.add_note(f"{finished} of {len(captures)} recordings are done; go on with --resume")
            raise


def _told(captures: Sequence[Path], outcomes: Outcomes) -> None:
    """Says what became of recordings; those that could not be restored are named at the end.

    Raises:
        InputError: of the only capture, or a list of those that could not be restored.
    """
    names_of: dict[str, list[str]] = {}  # of the captures, by what is to be said of them
    failed: list[str] = []
    try:
        for path, done in outcomes:
            if isinstance(done, InputError):
                if len(captures) == 1:
                    raise done
                failed.append(str(path))
                fail_of(done)
                continue
            _say_restored(path, done)
            for warning in done.warnings:
                names_of.setdefault(with_options(warning), []).append(path.name)
    finally:
        for line, names in names_of.items():
            warn(f"{names[0] if len(names) == 1 else f'{len(names)} captures'}: {line}")
    if failed:
        raise InputError(f"{len(failed)} of {len(captures)} captures could not be restored: {', '.join(failed)}")


def _say_restored(path: Path, done: "RestoredFiles") -> None:
    if done.taken_over:
        remark(f"{path.name}: {done.taken_over:,} of {done.images:,} images were restored before")
    speed = f", {done.images_per_second:.3g} images/s" if done.images_per_second else ""
    summary = f"{done.images} image{'s' * (done.images > 1)}, x{done.scale}, {done.check}{speed}"
    pictures = list(map(str, done.pictures))
    files = [str(done.result)] if done.result not in done.pictures else []
    files += pictures if len(pictures) < 3 else [pictures[0], f"... {pictures[-1]}"]
    files[0] += f"  {summary}"
    say(*files)


@opens_captures
def merge(
    capture: Annotated[Path, typer.Argument(help="recording of any format in docs/formats.md")],
    output: Annotated[Path, typer.Option("-o", "--output", help="`.h5` file")],
    sum: Annotated[int, typer.Option(help="consecutive images to add up along the motion of their scene, 8 or more")],
    every: Every = None,
    motion: FollowMotion = "auto",
    mask: Mask = None,
    *,
    opening: dict[str, Any],
    quiet: Quiet = False,
) -> None:
    """Add up images along the motion of their scene: whole counts, and the hardware frames of each pixel.

    Writes a recording that `spadsr infer` restores, and the path as a table, `<stem>.path.csv`. Counts divided by
    frames are a picture of the scene in the middle of each sum; no count is interpolated. Unless the first sum is of a
    scene at rest, counts are kept apart by 4 x 4 places within each pixel, which hold detail finer than a pixel.

    Examples: `spadsr merge run.h5 -o merged.h5 --sum 2048` · `spadsr merge run.h5 -o fine.h5 --sum 2048 --motion rigid`
    """
    from hardware.captures.capture import open_capture
    from hardware.captures.pixel_masks import masked
    from spadsr.motion.motion import way_of
    from spadsr.restoration.merge import merge_capture

    way = way_of(motion)
    with open_capture(capture, **opening) as opened, progress(capture.name) as report:
        summed = opened.summed(sum, every)
        done = merge_capture(summed if mask is None else masked(summed, mask), output, way, report)
    for line in done.warnings:
        warn(f"{capture.name}: {with_options(line)}")
    say(
        f"{done.recording}  {done.images} sum{'s' * (done.images > 1)}, {done.followed} of a scene that moves",
        done.path,
    )


def _announce(capture: "Capture", order: "Order") -> None:
    """Says how large a large result will be."""
    from spadsr.restoration.recordings import result_path
    from spadsr.restoration.restored import output_bytes
    from spadsr.restoration.restorer import check_scale

    check_scale(order.scale)
    result = result_path(capture.path, order.output)
    images, rows, columns = capture.shape[0], *capture.pixels
    size = output_bytes(result, (images, rows, columns), order.scale, order.storage)
    if size > LARGE:
        number = f"{images:,} image{'s' * (images > 1)} of {rows} x {columns}"
        remark(f"{capture.path.name}: {number}, x{order.scale}: {result.name} takes about {in_bytes(size)}")


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="folder")] = Path("spadsr-demo"),
    moving: Annotated[bool, typer.Option("--moving", help="the camera shakes, and its motion is followed")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Simulate a capture of a 64x32 SPC3 from a known picture, restore it x4, and compare with the truth."""
    from spadsr.demo import run_demo

    with progress("demo") as report:
        result = run_demo(output, seed, report, command_line(), moving=moving)
    for path in (result.capture, result.restored, result.picture):
        say(path)
    rows = [[name, f"{psnr:.2f}"] for name, psnr in result.psnr.items()]
    table(f"{result.frames} frames of 64x32 against the truth at x4", ["method", "PSNR, dB"], rows)


@opens_captures
def info(
    file: Annotated[Path, typer.Argument(help="capture, folder of images, result, weight file or simulated set")],
    *,
    opening: dict[str, Any],
    json_file: JsonFile = None,
) -> None:
    """Say what a file is."""
    from spadsr.files.describe import as_data, describe

    rows = describe(file, **opening)
    write_json(json_file, as_data(rows))
    for name, value in rows:
        say(f"{name:<24} {with_options(value)}")


@opens_captures
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="recording, folder of numbered PNG images, or result")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="DST",
            help="`.h5`, `.npy`, `.tif` (ImageJ) or `.ome.tif`; of a result also `.png`, `.mp4` or `.gif`",
        ),
    ],
    each: Each = False,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="of a native pixel, 1e-12 to 1 m, in the object; for `.ome.tif` and `.h5`, which keep it"),
    ] = None,
    *,
    opening: dict[str, Any],
    quiet: Quiet = False,
) -> None:
    """Write a recording in another format, or a result as pictures. docs/formats.md says what is read and assumed.

    Examples: `spadsr convert run.spc3 run.h5` · `spadsr convert cube.npy cube.h5 --count-time 1e-5` ·
    `spadsr convert capture.sr.h5 cell.tif`
    """
    from spadsr.files.convert import convert_capture

    with progress(source.name) as report:
        done = convert_capture(source, target, opening, report, each=each, pixel_size=pixel_size)
    for note in done.notes:
        warn(note)
    if done.left_out:
        warn(f"counts only: to read {target.name} as it was taken, give {options_with(done.left_out)}")
    say(f"{done.path}  {' x '.join(map(str, done.shape))}")
