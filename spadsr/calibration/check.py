"""Checks a sensor on a capture: does it explain the counts? Writes a report."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.capture import BLOCK_BYTES, Capture, open_capture
from hardware.settings import in_seconds
from noise_model.calibration.goodness import Goodness, goodness
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.calibration.calibrate import KINDS, Options, Progress, used_of
from spadsr.calibration.report import write_check

_ORDER = {0: "scene", **KINDS}  # by `image_key`; what comes first is preferred
_SUMMED = 16  # single binary frames are summed to an image to check: the mean of a bit fixes its variance
_RUNS = 8  # stretches of a long capture that are checked
_MOST_IMAGES, _LEAST_IMAGES, _MOST_COUNTS = 2000, 64, 1 << 22


@dataclass(frozen=True)
class Checked:
    """The check of a sensor: its verdict, its report, and what to tell the user."""

    report: Path
    found: Goodness
    notes: tuple[str, ...]


def check_capture(
    path: Path, sensor: str, output: Path | None, options: Options, command: str, progress: Progress
) -> Checked:
    """Compares a capture with what a sensor would count of the same scene, and writes an HTML report.

    At most 2,000 images are used, in stretches spread over the capture.

    Args:
        output: file of the report; None writes it beside the capture.
        options, progress: as of `calibrate_captures`.

    Raises:
        InputError: the sensor is of another array, or the capture is not what the sensor counted.
    """
    output = output or path.with_name(f"{path.stem}.check.html")
    if output.suffix != ".html":
        raise InputError(f"{output}: a check writes a report; give a name that ends in .html")
    with open_capture(path, **options) as capture:
        known, notes = _sensor_to_check(sensor, capture)
        counts, exposure, run, kind = _examined(capture)
        generator = torch.Generator().manual_seed(0)
        with progress("captures drawn") as report:
            found = goodness(counts, ForwardModel(known, exposure), generator, run, report=report)
        used = used_of(capture, kind, counts.shape, exposure)
    write_check(output, found, known.name, used, command)
    return Checked(output, found, (*notes, *used.remarks))


def _sensor_to_check(name: str, capture: Capture) -> tuple[Sensor, list[str]]:
    sensor, notes = Sensor.load(name), []
    if capture.settings.corrected or capture.settings.background_subtracted:
        done = "corrected for dead time" if capture.settings.corrected else "background was subtracted"
        raise InputError(f"{capture.path}: {done} by the camera: not what the sensor counted; record without")
    if not sensor.measured:
        sensor = sensor.uniform(capture.shape[1:])
        notes.append(f"{sensor.name} is a preset: its numbers were checked, with uniform maps")
    if sensor.shape != capture.shape[1:] or sensor.binary != (capture.settings.counter_bits == 1):
        raise InputError(
            f"{name}: {_kind(sensor.shape, sensor.binary)}, but {capture.path.name} is from"
            f" {_kind(capture.shape[1:], capture.settings.counter_bits == 1)}; give the sensor that took it",
            "sensor",
        )
    stated = capture.source.settings.dead_time
    if stated is not None and not np.isclose(stated, sensor.dead_time, rtol=0.01):
        notes.append(f"the file says a dead time of {in_seconds(stated)}, the sensor {in_seconds(sensor.dead_time)}")
    mask = sensor.pixel_mask if sensor.pixel_mask is not None else torch.zeros(sensor.shape, dtype=torch.int32)
    if capture.pixel_mask is not None:
        mask = mask | torch.from_numpy(capture.pixel_mask.view(np.int32).copy())
    return replace(sensor, counter_bits=capture.settings.counter_bits, pixel_mask=mask), notes


def _kind(shape: tuple[int, int], binary: bool) -> str:
    return f"a {'binary' if binary else 'counting'} array of {shape[0]} x {shape[1]} pixels"


def _examined(capture: Capture) -> tuple[NDArray[Any], Exposure, int, str]:
    """Images to check, of one kind, in evenly spread stretches; scenes are preferred to flats, flats to darks.

    Returns:
        Their counts (n, H, W), their exposure, the number of images in a stretch, and their kind.
    """
    keys = np.zeros(capture.shape[0], np.uint8) if capture.image_key is None else capture.image_key
    key = next((one for one in _ORDER if (keys == one).any()), None)
    if key is None:
        raise InputError(f"{capture.path}: marks every image as invalid; there is nothing to check")
    images = np.flatnonzero(keys == key)
    summed = _SUMMED if capture.settings.saturation_value == 1 else 1
    starts, run = _stretches(len(images) // summed, capture.shape[1] * capture.shape[2])
    counts = [_read(capture, images[start * summed : (start + run) * summed], summed) for start in starts]
    exposure = replace(capture.exposure, cycles=capture.exposure.cycles * summed)
    return np.concatenate(counts), exposure, run, _ORDER[key]


def _stretches(images: int, pixels: int) -> tuple[list[int], int]:
    """The first image of each stretch, and the number of images in a stretch."""
    most = min(_MOST_IMAGES, max(_LEAST_IMAGES, _MOST_COUNTS // pixels))
    if images <= most:
        return [0], images
    run = most // _RUNS
    return [int(start) for start in np.linspace(0, images - run, _RUNS)], run


def _read(capture: Capture, images: NDArray[np.intp], summed: int) -> NDArray[Any]:
    """Counts of some images, every `summed` of them added up."""
    height, width = capture.shape[1:]
    step = summed * max(1, BLOCK_BYTES // (height * width * capture.dtype.itemsize * summed))
    parts = []
    for start in range(0, len(images), step):
        wanted = images[start : start + step]
        block = capture.read(int(wanted[0]), int(wanted[-1]) + 1)[wanted - wanted[0]]
        parts.append(block.reshape(-1, summed, height, width).sum(axis=1, dtype=np.uint32))
    return np.concatenate(parts) if parts else np.empty((0, height, width), np.uint32)
