"""The command that writes a network for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from noise_model.errors import InputError
from spadsr.cli.console import say
from spadsr.cli.options import (
    ModelFormat,
    Quiet,
    Weights,
)


def export(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="default: base_x4.onnx, or .zip")] = None,
    format: Annotated[ModelFormat, typer.Option(help="one ONNX file, or a BioImage.IO package")] = ModelFormat.onnx,
    scale: Annotated[int, typer.Option(help="resolution of the answer over that of the sensor: 1, 2, 4, 8 or 16")] = 4,
    weights: Weights = None,
    sensor: Annotated[str | None, typer.Option(help="calibrated sensor YAML, or a preset (spc3, spad512)")] = None,
    bits: Annotated[int | None, typer.Option(help="of the in-pixel counter, 1 (binary) to 16")] = None,
    dead_time: Annotated[float | None, typer.Option(help="1e-12 to 1e6 s, of a counting array")] = None,
    count_time: Annotated[
        float | None, typer.Option(help="exposure of one hardware frame, 1e-12 to 1e6 s; of a package")
    ] = None,
    cycles: Annotated[
        int | None, typer.Option(help="hardware frames in one image; of a package", min=1, max=(1 << 32) - 1)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the network for other programs, counts in and rates out, and prove that it agrees with this one.

    The kind of array is fixed in the file. An ONNX file takes exposure and sensor maps as inputs; a BioImage.IO package
    takes counts alone.

    Examples: `spadsr export --sensor spc3 -o base_x4.onnx` ·
    `spadsr export --format bioimageio --bits 1 --cycles 64 --count-time 1e-5 -o base_x4.zip`
    """
    from hardware.settings import Settings
    from noise_model.forward_model import ForwardModel
    from spadsr.export.bioimageio_package import export_package
    from spadsr.export.onnx_file import export_onnx, sensor_to_export
    from spadsr.restoration.weights import load_restorer

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
        done = export_package(
            restorer, ForwardModel(known, Settings(count_time, cycles, known.counter_bits).exposure), scale, path
        )
    say(f"{done.path}: within {done.difference:.1e} of white of the network")
