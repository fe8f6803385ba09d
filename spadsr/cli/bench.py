"""`spadsr bench`: how fast and how good."""

from pathlib import Path
from typing import Annotated

import typer

from spadsr.cli.console import progress, say, table, warn, write_json
from spadsr.cli.options import (
    Device,
    JsonFile,
    ManyPeers,
    Quiet,
    Scheduler,
    Seed,
    Sharers,
    Weights,
    executor_for,
    frames_of,
    modes_named,
    numbers,
)
from spadsr.provenance import command_line

bench = typer.Typer(help="Measure speed, as ratios within one run, and quality, side by side.", no_args_is_help=True)


@bench.command("simulate")
def bench_simulate(
    generator: Annotated[
        Path | None, typer.Option(help="Python file with sample(photons, frames, rng), to measure beside ours")
    ] = None,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Counts per second with all effects on, one thread, beside bare numpy Poisson numbers of the same means."""
    from spadsr.bench.sampling_speed import as_rows, bench_random_numbers, load_generator
    from spadsr.bench.sampling_speed import bench_simulate as run

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
    say(f"64-bit random numbers alone: {bench_random_numbers():.3g}/s")
    write_json(json_file, as_rows(measured))


@bench.command("infer")
def bench_infer(
    weights: Weights = None,
    device: Device = "cpu",
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Frames per second and share of the machine, 64x32 to 256x128, beside plain window-attention networks."""
    from dataclasses import asdict

    from spadsr.bench.network_speed import bench_infer as run
    from spadsr.restoration.weights import load_restorer

    restorer = load_restorer(weights, device)
    with progress("measuring") as report:
        measured = run(restorer, report)
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
    say(f"peak: a large {measured.arithmetic} matrix product, {peak:.3g} TFLOP/s")
    write_json(json_file, [asdict(measured)])


@bench.command("live")
def bench_live(
    weights: Weights = None,
    seconds: Annotated[float, typer.Option(help="of each run, 1 or more")] = 10.0,
    browser: Annotated[
        Path | None, typer.Option(help="Chromium or one like it; the usual one is that on the PATH")
    ] = None,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Images/s that a page of the live view draws, and how late, from a simulated camera of 10,000 images/s."""
    from dataclasses import asdict

    from spadsr.cli.live import require_packages

    require_packages()
    from spadsr.bench.live_speed import bench_live as run

    with progress("measuring") as report:
        measured = run(weights, seconds, browser, report)
    rows = [
        [
            each.name,
            f"{each.recorded:.1f}",
            f"{each.restored:.1f}",
            f"{each.median:.0f}",
            f"{each.late:.0f}",
            "" if each.written is None else f"{each.written:,}",
            "" if each.lost is None else str(each.lost),
        ]
        for each in measured
    ]
    header = ["run", "recorded/s", "restored/s", "median, ms", "95 %, ms", "written", "lost"]
    table("drawn on a page, 64x32 at x4, and from camera to pixel", header, rows)
    write_json(json_file, [asdict(each) for each in measured])


@bench.command("motion")
def bench_motion(
    weights: Weights = None,
    device: Device = "cpu",
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Hardware frames per second of a long recording of a shaken 64x32 scene, along its path, beside its plain sums.

    Eight sums of 2,048 frames: those of a scene at rest are restored together; as many are followed at once as there
    are threads (OMP_NUM_THREADS), without restoring them.
    """
    from dataclasses import asdict

    from spadsr.bench.motion_speed import bench_motion as run
    from spadsr.restoration.weights import load_restorer

    with progress("measuring") as report:
        measured = run(load_restorer(weights, device), report)
    rows = [[each.name, f"{each.frames_per_second:,.0f}", f"{each.ratio:.2f}"] for each in measured]
    table("following a scene, sums of 2,048 frames of 64x32", ["way", "frames/s", "speed over the first"], rows)
    write_json(json_file, [asdict(each) for each in measured])


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
    ] = "bicubic,nlm,tv",
    scales: Annotated[str, typer.Option(help="of 1, 2, 4, 8, 16; comma-separated")] = "4",
    modes: Annotated[str, typer.Option(help="arrays: binary, counting; comma-separated")] = "binary",
    flux: Annotated[
        str, typer.Option(help="mean detections of a white pixel in one frame, from 1e-6; comma-separated")
    ] = "0.2",
    frames: Annotated[
        str, typer.Option(help="hardware frames summed, 1 to 1,000,000, comma-separated")
    ] = "1,4,16,64,256",
    bits: Annotated[
        str | None, typer.Option(help="bit depths b, 0 to 16, instead of frames: N = 2^b, comma-separated")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="use only so many pictures", min=1, max=1_000_000)] = None,
    workers: Sharers = 1,
    scheduler: Scheduler = None,
    device: Device = "cpu",
    seed: Seed = 0,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Every method on the same counts in one run: PSNR, SSIM, worst 5 %, time and size, side by side.

    Examples: `spadsr bench quality pictures/ --peers light.safetensors large.safetensors` ·
    `spadsr bench quality pictures/ --scales 8,16 --bits 1,4,8 --baselines bicubic`
    """
    from spadsr.bench.quality import OURS, compare, distinct_names
    from spadsr.bench.quality_tables import cost_table, quality_tables, write_comparison
    from spadsr.evaluation.conditions import conditions_of
    from spadsr.restoration.weights import load_restorer

    files = distinct_names(peers or [])
    networks = {name: load_restorer(file, device) for name, file in files.items()}
    networks[OURS] = load_restorer(weights, device)
    sums = numbers(frames, int) if bits is None else frames_of(bits)
    conditions = [
        condition
        for mode in modes_named(modes)
        for condition in conditions_of(mode.value, numbers(scales, int), numbers(flux, float), sums)
    ]
    names = [name.strip() for name in baselines.split(",") if name.strip()]
    with executor_for(workers, scheduler) as executor, progress("measuring") as report:
        done = compare(images, conditions, names, networks, seed, limit, report, executor)
    for path, reason in done.evaluation.skipped.items():
        warn(f"skipped {path}: {reason}")
    checksums = {name: restorer.checksum for name, restorer in networks.items()}
    header = {"command": command_line(), "seed": seed, "device": device, "sha256": checksums}
    summaries = write_comparison(done, output, header)
    for title, (head, *rows) in [("what they take", cost_table(done.costs)), *quality_tables(summaries)]:
        table(title, head, rows)
    write_json(json_file, {"summaries": summaries, "costs": done.costs})
    say(output / "quality.md", output / "summary.png")


@bench.command("merged")
def bench_merged(
    images: Annotated[Path, typer.Argument(help="folder of pictures to measure on")],
    weights: Weights = None,
    flux: Annotated[
        float, typer.Option(help="mean detections of a white pixel in one frame, 1e-6 to 0.99", min=1e-6)
    ] = 0.05,
    frames: Annotated[
        int, typer.Option(help="hardware frames of a plain sum, a multiple of 32", min=32, max=1_000_000)
    ] = 2048,
    limit: Annotated[int | None, typer.Option(help="use only so many pictures", min=1, max=1_000_000)] = None,
    device: Device = "cpu",
    seed: Seed = 0,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    """Pictures of merged counts, of pixels unequally long looked at or by parts of a pixel, beside plain sums.

    Example: `spadsr bench merged pictures/ --limit 16 --flux 0.2`
    """
    from spadsr.bench.merged_quality import bars_left, mean_of, merged_quality
    from spadsr.restoration.weights import load_restorer

    restorer = load_restorer(weights, device)
    with progress("measuring") as report:
        rows = merged_quality(images, restorer, flux, frames, limit, seed, report)
    means = mean_of(rows)
    table(
        f"PSNR at x4, dB, {len({row.image for row in rows})} pictures",
        ["counts", "merged", "plain sum", "difference", "its standard error"],
        [[m.case, f"{m.merged:.2f}", f"{m.plain:.2f}", f"{m.difference:+.2f}", f"{m.error:.2f}"] for m in means],
    )
    bars = bars_left(restorer, flux, frames, seed)
    table(
        "bars: amplitude left, and that of false ones, over the true one",
        ["counts", "period, native pixels", "true", "false"],
        [[bar.case, f"{bar.period:g}", f"{bar.true:.2f}", f"{bar.false:.2f}"] for bar in bars],
    )
    write_json(json_file, {"pictures": rows, "means": means, "bars": bars})
