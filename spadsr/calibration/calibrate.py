"""Calibration from captures: writes a sensor with its maps, and a report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.captures.capture import Capture, open_capture
from noise_model.calibration.calibrate import Calibration, calibrate
from noise_model.calibration.refusals import Kind, refuse
from noise_model.calibration.streams import Stream, StreamStatistics, gather
from noise_model.errors import InputError, Note
from noise_model.executors import results
from noise_model.files import at_home, checksum
from noise_model.progress import Report
from noise_model.sensor import Exposure, Sensor
from spadsr.calibration.report import Used, write_calibration

#: Makes a progress bar with a label.
Progress = Callable[[str], AbstractContextManager[Report]]
Options = Mapping[str, Any]

KINDS: dict[int, Kind] = {1: "flat", 2: "dark"}  # by `image_key`
_PRESETS = {True: "spad512", False: "spc3"}  # of binary and of counting arrays


@dataclass(frozen=True)
class Recording:
    """Images of one kind in a capture.

    Attributes:
        kind: `dark` or `flat`.
        images: indices of its images; None is all.
    """

    capture: Capture
    kind: Kind
    images: NDArray[np.intp] | None
    dead_time: float | None

    @property
    def stream(self) -> Stream:
        """The images as the stream that calibration reads."""
        images, height, width = self.capture.shape
        return Stream(
            name=self.capture.path.name,
            shape=(images if self.images is None else len(self.images), height, width),
            exposure=self.capture.exposure,
            dead_time=self.dead_time,
            counter_bits=self.capture.settings.counter_bits,
            blocks=self._blocks,
            corrected=self.capture.settings.corrected,
            background_subtracted=self.capture.settings.background_subtracted,
            peak_normalised=self.capture.source.peak_normalised,
        )

    def used(self) -> Used:
        """What the report says of the recording."""
        shape, capture = self.stream.shape, self.capture
        if capture.distinct_images < capture.shape[0]:
            line = (
                f"repeats {capture.distinct_images} images, as the file says: only these tell something, and are used"
            )
            capture = replace(capture, assumptions=(*capture.assumptions, line))
        return used_of(capture, self.kind, shape, capture.exposure)

    def _blocks(self) -> Iterator[NDArray[Any]]:
        wanted = np.ones(self.capture.shape[0], bool) if self.images is None else np.zeros(self.capture.shape[0], bool)
        if self.images is not None:
            wanted[self.images] = True
        start = 0
        for block in self.capture.blocks():
            chosen = wanted[start : start + len(block)]
            start += len(block)
            if chosen.any():
                yield block[chosen]


@dataclass(frozen=True, eq=False)
class CalibratedSensor:
    """A sensor estimated from recordings, and how sure its numbers are.

    Attributes:
        calibration: the estimates, and the maps with their intervals.
        used: the recordings, as the report names them.
        captures: their files.
        command: how the user asked for it.
    """

    calibration: Calibration
    used: tuple[Used, ...]
    captures: tuple[Path, ...]
    command: str

    @property
    def sensor(self) -> Sensor:
        """The sensor, to restore and simulate with."""
        return self.calibration.sensor

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: remarks of the calibration, and what was assumed of the recordings."""
        notes = (
            Note(f"{one.name}: {remark}", *getattr(remark, "arguments", ()))
            for one in self.used
            for remark in one.remarks
        )
        return (*self.calibration.remarks, *notes)

    def save(self, path: str | Path) -> None:
        """Writes the sensor to `path` (YAML), the NPZ with its maps and an HTML report beside it.

        Raises:
            InputError: the name does not end in .yaml, one of the recordings would be overwritten, or nothing can be
                written there.
        """
        path = at_home(path)
        check_output(path, self.captures)
        named = replace(self.calibration, sensor=replace(self.sensor, name=path.stem))
        intervals = {name: getattr(named, name) for name in ("dark_low", "dark_high", "pde_low", "pde_high")}
        named.sensor.save(path, {name: values.astype(np.float32) for name, values in intervals.items()})
        write_calibration(path.with_suffix(".html"), named, self.used, self.command)


def calibrate_captures(
    darks: Sequence[Path],
    flats: Sequence[Path],
    preset: str | Sensor | None,
    options: Options,
    command: str,
    progress: Progress,
    executor: Executor | None = None,
) -> CalibratedSensor:
    """Estimates a sensor from captures.

    Args:
        darks, flats: captures; images that a capture marks (`image_key`) are used for what they are marked as.
        preset: sensor or preset that gives what the captures do not tell; None chooses it by the captures.
        options: keywords of `open_capture`, for settings that the files do not state.
        command: how the user asked for it, for the sensor's file and report.
        progress: makes a bar with a label.
        executor: reads the captures (`noise_model.executors`), to the same numbers; without one this process does.

    Raises:
        InputError: captures that are unreadable, of different arrays, or not fit to calibrate with.
        SchedulerLost: as `noise_model.executors.results`.
    """
    with ExitStack() as stack:
        recordings = list(_recordings(darks, flats, options, stack))
        binary = recordings[0].capture.settings.counter_bits == 1
        known = preset if isinstance(preset, Sensor) else Sensor.load(preset or _PRESETS[binary])
        for recording in recordings:
            refuse(recording.stream, recording.kind)
        gathered: dict[Kind, list[StreamStatistics]] = {"dark": [], "flat": []}
        for recording, statistics in zip(recordings, _gathered(recordings, options, executor, progress), strict=True):
            gathered[recording.kind].append(statistics)
        used = tuple(recording.used() for recording in recordings)
    calibration = calibrate(gathered["dark"], gathered["flat"], known)
    files = dict.fromkeys(f"{one.name} (sha256 {one.sha256[:16]})" for one in used)
    source = f"calibrated by `{command}` from {', '.join(files)}"
    mask = _masked(calibration.sensor, recordings)
    sensor = replace(calibration.sensor, name="calibrated sensor", source=source, pixel_mask=mask)
    return CalibratedSensor(replace(calibration, sensor=sensor), used, (*darks, *flats), command)


def _gathered(
    recordings: Sequence[Recording], options: Options, executor: Executor | None, progress: Progress
) -> Iterator[StreamStatistics]:
    """The sums over each of the recordings, in their order."""
    if executor is None:
        for recording in recordings:
            with progress(f"{recording.kind} {recording.capture.path.name}") as report:
                yield gather(recording.stream, report)
        return
    tasks = [(at, each.capture.path.absolute(), each.kind, options) for at, each in enumerate(recordings)]
    found: dict[int, StreamStatistics] = {}
    with progress("recordings") as report:
        report(0, len(tasks))
        for at, statistics in results(executor, _gather, tasks):
            found[at] = statistics
            report(len(found), len(tasks))
    yield from (found[at] for at in range(len(tasks)))


def _gather(at: int, path: Path, kind: Kind, options: Options) -> tuple[int, StreamStatistics]:
    """The sums over the images of a kind in a capture, in a process of an executor; `at` is handed back."""
    darks, flats = ([path], []) if kind == "dark" else ([], [path])
    with ExitStack() as stack:
        recording = next(each for each in _recordings(darks, flats, options, stack) if each.kind == kind)
        return at, gather(recording.stream)


def with_darks(
    darks: Sequence[Path], sensor: Sensor | None, options: Options, command: str, progress: Progress
) -> tuple[Sensor, tuple[str, ...]]:
    """A sensor with the dark count rates of darks, their hot and noisy pixels masked; and what to know of it.

    Args:
        darks: one or more.
        sensor: whose other numbers are kept, and of a calibrated one also its PDE map and mask; None takes a preset.
        options: keywords of `open_capture`, for what the darks do not state.
        command: how the user asked for it.
        progress: makes a bar with a label.

    Raises:
        InputError: recordings that are unreadable, of different arrays, of another than the sensor, or no darks.
    """
    calibrated = calibrate_captures(darks, (), sensor, _unstated(darks[0], options), command, progress)
    found, warnings = calibrated.sensor, calibrated.warnings
    if sensor is None or not sensor.measured:
        return found, warnings
    if sensor.shape != found.shape:
        size, other = (" x ".join(map(str, each.shape)) for each in (found, sensor))
        raise InputError(f"{darks[0]}: {size} pixels, but {sensor.name} has {other}; give darks of it", "dark")
    masks = [each.pixel_mask for each in (found, sensor) if each.pixel_mask is not None]
    mask = masks[0] | masks[-1] if masks else None
    return replace(sensor, dark_count_rate=found.dark_count_rate, pixel_mask=mask), warnings


def check_output(output: Path, captures: Sequence[Path]) -> None:
    """Refuses names that a calibrated sensor cannot be saved under.

    Raises:
        InputError: the name does not end in .yaml, or one of the captures would be overwritten.
    """
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"{output}: a sensor is a YAML file; give a name that ends in .yaml", "output")
    written = {output.with_suffix(suffix).resolve() for suffix in (output.suffix, ".npz", ".html")}
    for capture in captures:
        if capture.resolve() in written:
            raise InputError(f"{capture}: would be overwritten by the sensor; choose another output", "output")


def _recordings(
    darks: Sequence[Path], flats: Sequence[Path], options: Options, stack: ExitStack
) -> Iterator[Recording]:
    seen: set[Path] = set()
    given: list[tuple[Kind, Sequence[Path]]] = [("dark", darks), ("flat", flats)]
    for kind, paths in given:
        for path in paths:
            capture = stack.enter_context(open_capture(path, **options))
            marked = _marked(capture)
            if path.resolve() in seen and not marked:
                raise InputError(f"{path}: given twice; a capture without marks is either dark or flat")
            if path.resolve() not in seen:
                dead_time = _known_dead_time(capture, options)
                for name, images in (marked or {kind: None}).items():
                    yield Recording(capture, name, _distinct(capture, images), dead_time)
            seen.add(path.resolve())


def _unstated(path: Path, options: Options) -> Options:
    """The options that a file needs: others it states, perhaps otherwise than the file that they were given for."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        with open_capture(path) as capture:
            return {name: value for name, value in given.items() if name in (*capture.assumed, "roi")}
    except InputError:
        return given


def _distinct(capture: Capture, images: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
    """Indices of images without those that repeat others: they tell nothing new."""
    first = capture.distinct_images
    if first == capture.shape[0]:
        return images
    return np.arange(first) if images is None else images[images < first]


def _marked(capture: Capture) -> dict[Kind, NDArray[np.intp] | None]:
    """Indices of the images that the capture itself marks as flats or darks."""
    if capture.image_key is None:
        return {}
    found = {kind: np.flatnonzero(capture.image_key == key) for key, kind in KINDS.items()}
    return {kind: images for kind, images in found.items() if len(images)}


def _known_dead_time(capture: Capture, options: Options) -> float | None:
    """Dead time (s) that the file or the user states; None where neither does."""
    if capture.settings.counter_bits == 1:
        return 0.0
    stated = capture.source.settings.dead_time
    return stated if stated is not None else options.get("dead_time")


def _masked(sensor: Sensor, recordings: Sequence[Recording]) -> Tensor | None:
    """The sensor's pixel mask, with those of the captures' headers."""
    masks = [one.capture.pixel_mask for one in recordings if one.capture.pixel_mask is not None]
    if sensor.pixel_mask is None or not masks:
        return sensor.pixel_mask
    return sensor.pixel_mask | torch.from_numpy(np.bitwise_or.reduce(masks).view(np.int32))


def used_of(capture: Capture, kind: str, shape: tuple[int, ...], exposure: Exposure) -> Used:
    """What a report says of images of a capture, by their shape (n, H, W) and exposure."""
    extent = (shape[0], shape[1], shape[2])
    return Used(capture.path.name, kind, extent, exposure, checksum(capture.path), capture.assumptions)
