"""Acquiring: from an order to a recording, and how its progress and its end are put into words."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from hardware.camera import Camera
from hardware.cameras.registry import open_camera
from hardware.recording.order import Order, Progress
from hardware.recording.recorder import record
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Sensor
from spadsr.acquisition.live_painter import LiveOrder
from spadsr.acquisition.live_view import LiveCount, LiveView
from spadsr.provenance import versions

SCENE, FLAT, DARK = 0, 1, 2


@dataclass(frozen=True)
class State:
    """A recording under way or at its end, and how much of it was restored live; None where nothing was to be."""

    recorded: Progress
    live: LiveCount | None = None


def acquire(
    address: str,
    output: Path,
    settings: Settings,
    *,
    images: int | None,
    seconds: float | None,
    image_key: int,
    compression: str,
    reconnect: bool,
    sensor: str | None,
    command: str,
    live: LiveOrder | None,
    look: Callable[[State], None],
    say: Callable[[str], None],
) -> State:
    """Records the images of the camera at `address`; the file holds the command and the versions of the software.

    Args:
        images, seconds: when to stop, whichever comes first; without either, when the user interrupts.
        sensor: file or preset of the sensor that takes the images, noted in the file.
        live: what is to be restored meanwhile.
        look: called with the state, ten times a second.
        say: called with what the user should know about restoring meanwhile.

    Raises:
        InputError: an argument is wrong, or nothing could be recorded.
    """
    for name, value in (("images", images), ("seconds", seconds)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} {value:g}: expected more than 0", name)
    if output.suffix != ".h5":
        raise InputError(f"{output}: recordings are HDF5; choose a name that ends in .h5", "output")
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
    with open_camera(address) as camera, _view(live, camera, say) as view:
        count = (lambda: None) if view is None else view.look
        recorded = record(camera, order, lambda now: look(State(now, count())), view)
    return State(recorded, count())


def _view(
    live: LiveOrder | None, camera: Camera, say: Callable[[str], None]
) -> AbstractContextManager[LiveView | None]:
    return nullcontext() if live is None else LiveView(live, camera, say)


def progress_line(state: State, ordered: int | None) -> str:
    """A recording under way in one line; `ordered` is the number of images to record, where it is limited."""
    now = state.recorded
    total = "" if ordered is None else f" of {ordered:,}"
    parts = [f"{now.images:,}{total} images", f"{_rate(now):,.0f}/s", f"{_lost(now)} lost"]
    parts += [] if state.live is None else [_live(state.live)]
    parts += [f"{now.saturated:.2%} saturated", f"{now.waiting:,} waiting", f"{now.disk / 1e9:,.1f} GB left on disk"]
    return ", ".join(parts)


def summary_rows(state: State, output: Path) -> list[list[str]]:
    """A finished recording as rows of a table."""
    done = state.recorded
    live = [] if state.live is None else [["live", _live(state.live)]]
    return [
        ["images", f"{done.images:,}"],
        ["seconds", f"{done.seconds:.2f}"],
        ["images/s", f"{_rate(done):,.0f}"],
        ["lost", _lost(done)],
        ["saturated", f"{done.saturated:.3%}"],
        *([["file", f"{output.stat().st_size / 1e6:,.1f} MB"]] if output.exists() else []),
        *live,
    ]


def _live(count: LiveCount) -> str:
    return f"{count.restored:,} restored in {count.pictures:,} pictures, {count.skipped:,} skipped"


def _rate(progress: Progress) -> float:
    return progress.images / progress.seconds if progress.seconds > 0 else 0.0


def _lost(progress: Progress) -> str:
    if progress.unknown:
        return f"{progress.lost} known, {progress.unknown} gaps of unknown length"
    return str(progress.lost)
