"""`spadsr cameras`, `spadsr acquire` and `spadsr emulate`."""

from pathlib import Path
from typing import Annotated

import typer

from noise_model.errors import InputError
from spadsr.cli.console import fail, say, status_line, table, warn
from spadsr.cli.options import Compression, Device, Quiet, Seed, Weights, a_number
from spadsr.provenance import command_line

emulate = typer.Typer(help="Pretend to be a camera, to try things without one.", no_args_is_help=True)

#: Exit code of a recording that is not all that was ordered.
INCOMPLETE = 3


@emulate.callback()
def emulate_camera() -> None:
    """Pretend to be a camera, to try things without one."""


@emulate.command("spad512")
def emulate_spad512(
    port: Annotated[int, typer.Option(help="of this machine; 0 takes a free one", min=0, max=65535)] = 9999,
    rate: Annotated[
        float, typer.Option(help="counts/s of the brightest pixels", min=0, max=1e12, callback=a_number)
    ] = 20_000.0,
    calibration: Annotated[
        float, typer.Option(help="s of calibration when a client connects", min=0, max=1e6, callback=a_number)
    ] = 0.0,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Serve a pretend SPAD512 on this machine, as Pi Imaging's program does, until Ctrl-C.

    Example: `spadsr emulate spad512`, and elsewhere `spadsr acquire --camera spad512 -o capture.h5`
    """
    import asyncio

    from hardware.cameras.spad512.emulator import Server

    server = Server(rate, seed, calibration)
    asyncio.run(server.serve(port, lambda taken: say(f"serving spad512:127.0.0.1,port={taken}")))


def cameras() -> None:
    """List the cameras: which are usable here, how to name them, and why the rest is not."""
    from hardware.cameras.registry import cameras as known

    for each in known():
        say(f"{each.name:<10} {'usable' if each.usable else 'not usable':<11} {each.address}")
        say(f"{'':<10} {each.why}")


def acquire(
    camera: Annotated[str, typer.Option(help="NAME, NAME:WHAT or NAME:WHAT,OPTION=VALUE,...; see `spadsr cameras`")],
    output: Annotated[Path, typer.Option("-o", "--output", help="`.h5` file, which must not be there yet")],
    frames: Annotated[int | None, typer.Option(help="images to record, 1 to 2^63 - 1; default: until Ctrl-C")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="how long to record, more than 0; default: until Ctrl-C")
    ] = None,
    dark: Annotated[
        bool, typer.Option("--dark", help="mark the images as dark (the shutter is yours to close)")
    ] = False,
    flat: Annotated[bool, typer.Option("--flat", help="mark the images as flat (even light)")] = False,
    count_time: Annotated[float, typer.Option(help="exposure of one hardware frame, 1e-12 to 1e6 s")] = 10.4e-6,
    cycles: Annotated[int, typer.Option(help="hardware frames the camera sums into one image, 1 to 2^32 - 1")] = 1,
    bits: Annotated[int, typer.Option(help="of the in-pixel counter, 1 (binary) to 16")] = 8,
    dead_time: Annotated[float, typer.Option(help="0, or 1e-12 to 1e6 s")] = 50e-9,
    frame_time: Annotated[
        float | None, typer.Option(help="1e-12 to 1e6 s from image to image; default: as fast as it goes")
    ] = None,
    correct: Annotated[bool, typer.Option("--correct", help="let the camera correct for dead time (pile-up)")] = False,
    compression: Annotated[
        Compression, typer.Option(help="lz4: fast, needs the extra lz4; gzip: for slow cameras")
    ] = Compression.none,
    reconnect: Annotated[bool, typer.Option("--reconnect", help="open a lost camera again, and go on")] = False,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor that took it, to be noted in the file")] = None,
    infer: Annotated[
        bool, typer.Option("--infer", help="restore the newest images meanwhile: `<stem>.live.png`")
    ] = False,
    scale: Annotated[int, typer.Option(help="with --infer: 1, 2, 4, 8 or 16")] = 4,
    sum: Annotated[
        int, typer.Option(help="with --infer: consecutive images to add up before restoring, 1 or more")
    ] = 1,
    weights: Weights = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Record every image of a camera, losing none.

    Whatever ends a recording, the file is readable. Exit code 3: it is not all that was ordered, or images were lost.
    docs/acquire.md tells more.

    Examples: `spadsr acquire --camera simulated -o capture.h5 --seconds 10` ·
    `spadsr acquire --camera spc3 --dark -o dark.h5 --frames 1000000`
    """
    from hardware.settings import Settings
    from spadsr.acquisition import acquire as acquiring
    from spadsr.acquisition.live_painter import LiveOrder

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
            Settings(count_time, cycles, bits, dead_time, frame_time, correct),
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
        say(live.picture)
    done = state.recorded
    if done.failure:
        fail(done.failure)
    elif done.lost:
        warn(f"{done.lost} images were lost; sequence_number says where")
    if not done.whole:
        raise typer.Exit(INCOMPLETE)
