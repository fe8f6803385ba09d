"""Acquiring: from options to a recording, and what is said meanwhile and afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

from hardware.camera import CameraSettings, open_camera
from hardware.recorder import record
from hardware.recording import Order, Progress
from noise_model.errors import InputError
from noise_model.sensor import Sensor
from spadsr.versions import versions

SCENE, FLAT, DARK = 0, 1, 2


def acquire(
    address: str,
    output: Path,
    settings: CameraSettings,
    *,
    images: int | None,
    seconds: float | None,
    image_key: int,
    compression: str,
    reconnect: bool,
    sensor: str | None,
    command: str,
    look: Callable[[Progress], None],
) -> Progress:
    """Records from the camera at `address`; the file says by what command and software.

    Args:
        images, seconds: when to stop, whichever comes first; without either, when the user says so.
        sensor: file or preset of the sensor that took it, noted in the file.

    Raises:
        InputError: an option is wrong, or nothing could be recorded.
    """
    for name, value in (("--frames", images), ("--seconds", seconds)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g}: expected more than 0")
    if output.suffix != ".h5":
        raise InputError(f"{output}: recordings are HDF5; choose a name that ends in .h5")
    notes = {"command": command, "versions": json.dumps(versions()), "camera_address": address}
    order = Order(
        path=output,
        settings=settings,
        images=images,
        seconds=seconds,
        image_key=image_key,
        compression=compression,
        reconnect=reconnect,
        notes=notes if sensor is None else {**notes, "sensor": f"{sensor}: {Sensor.load(sensor).name}"},
    )
    with open_camera(address) as camera:
        return record(camera, order, look)


def progress_line(now: Progress, ordered: int | None) -> str:
    """A recording under way, in a line."""
    total = "" if ordered is None else f" of {ordered:,}"
    parts = [f"{now.images:,}{total} images", f"{_rate(now):,.0f}/s", f"{_lost(now)} lost"]
    parts += [f"{now.saturated:.2%} saturated", f"{now.waiting:,} waiting", f"{now.disk / 1e9:,.1f} GB left on disk"]
    return ", ".join(parts)


def summary_rows(done: Progress, output: Path) -> list[list[str]]:
    """A finished recording."""
    return [
        ["images", f"{done.images:,}"],
        ["seconds", f"{done.seconds:.2f}"],
        ["images/s", f"{_rate(done):,.0f}"],
        ["lost", _lost(done)],
        ["saturated", f"{done.saturated:.3%}"],
        ["file", f"{output.stat().st_size / 1e6:,.1f} MB"],
    ]


def _rate(progress: Progress) -> float:
    return progress.images / progress.seconds if progress.seconds > 0 else 0.0


def _lost(progress: Progress) -> str:
    if progress.unknown:
        return f"{progress.lost} known, {progress.unknown} gaps of unknown length"
    return str(progress.lost)
