"""`spadsr live`."""

from pathlib import Path
from typing import Annotated

import typer

from noise_model.errors import InputError
from spadsr.cli.console import say, warn
from spadsr.cli.options import Device, Quiet, Weights
from spadsr.provenance import command_line


def live(
    camera: Annotated[str, typer.Option(help="NAME, NAME:WHAT or NAME:WHAT,OPTION=VALUE,...; see `spadsr cameras`")],
    count_time: Annotated[
        float, typer.Option(help="exposure of one hardware frame to begin with, 1e-12 to 1e6 s")
    ] = 10.4e-6,
    cycles: Annotated[int, typer.Option(help="hardware frames in one image to begin with, 1 to 2^32 - 1")] = 1,
    bits: Annotated[int, typer.Option(help="of the in-pixel counter, 1 to 16; 1 = binary")] = 8,
    dead_time: Annotated[float, typer.Option(help="0, or 1e-12 to 1e6 s")] = 50e-9,
    frame_time: Annotated[
        float | None, typer.Option(help="1e-12 to 1e6 s from image to image; default: as fast as it goes")
    ] = None,
    sum: Annotated[int, typer.Option(help="images added up before they are shown and restored, 1 or more")] = 1,
    scale: Annotated[int, typer.Option(help="resolution of the restored picture: 1, 2, 4, 8 or 16")] = 4,
    weights: Weights = None,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor file, or a preset: spc3, spad512")] = None,
    device: Device = "cpu",
    folder: Annotated[Path, typer.Option("-o", "--output", help="folder for recordings")] = Path(),
    port: Annotated[int, typer.Option(help="of this machine; 0 takes a free one", min=0, max=65535)] = 8631,
    address: Annotated[str, typer.Option(help="network address to listen on; the usual one is this machine only")] = (
        "127.0.0.1"
    ),
    token: Annotated[bool, typer.Option(help="ask for the secret in the printed address")] = True,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
    quiet: Quiet = False,
) -> None:
    """Show what a camera sees, raw and restored, on a page in the browser; record from there.

    From another machine: `ssh -L 8631:localhost:8631 LAB`, then open the printed address here. docs/live.md tells more.

    Examples: `spadsr live --camera simulated` · `spadsr live --camera spc3 --sum 100 -o recordings`
    """
    require_packages()
    from hardware.settings import Settings
    from spadsr.live.live_session import LiveOptions
    from spadsr.live.running import Serving, live_view

    if not token:
        warn("no token: whoever reaches the port can use the camera")
    live_view(
        camera,
        Settings(count_time, cycles, bits, dead_time, frame_time),
        LiveOptions(folder, sum, scale, weights, device, sensor, command_line()),
        Serving(address, port, token, browser),
        say,
    )


def require_packages() -> None:
    """Raises InputError where the packages of the live view are not installed."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise InputError(f"the live view needs {error.name}; in your clone, run: pip install '.[live]'") from error
