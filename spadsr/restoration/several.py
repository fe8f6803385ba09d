"""Restoring recordings as they are ordered, in this process, or shared out among the workers of an executor."""

import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hardware.captures.capture import Capture, open_capture
from hardware.captures.pixel_masks import masked
from noise_model.errors import InputError
from noise_model.executors import results, unpickled
from noise_model.interrupts import Interrupted
from noise_model.progress import Report, silent
from noise_model.sensor import Sensor
from spadsr.motion.motion import Way
from spadsr.restoration.parts import Part
from spadsr.restoration.physics_check import summary
from spadsr.restoration.recordings import WHOLE, RestoredFiles, restore_capture, result_path
from spadsr.restoration.restored import is_result_name
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.result_file import read_result
from spadsr.restoration.storage import Storage
from spadsr.restoration.weights import load_restorer

#: Pixels that a task restores, at least: 2,048 images of 64x32, which take 20 s to 2 min of a core. And the most parts.
_PIXELS_OF_A_TASK, _MOST_PARTS = 1 << 22, 64
_DEARER = 100  # times, where motion is followed


@dataclass(frozen=True)
class Order:
    """How recordings are to be restored.

    Attributes:
        options: keywords of `open_capture`.
        sum, every: arguments of `Capture.summed`.
        mask: file of bad pixels.
        notes: what else is to be said of the recordings.
        weights, device, orientations: arguments of `load_restorer`.
        scale, sensor, output, command, each, motion, storage, part, resume: arguments of `restore_capture`.
    """

    options: Mapping[str, Any]
    sum: int = 1
    every: int | None = None
    mask: Path | None = None
    notes: tuple[str, ...] = ()
    weights: Path | None = None
    device: str = "cpu"
    orientations: int = 1
    scale: int = 4
    sensor: Sensor | None = None
    output: Path | None = None
    command: str = ""
    each: bool = False
    motion: Way = "none"
    storage: Storage = field(default_factory=Storage)
    part: Part = WHOLE
    resume: bool = False

    @contextmanager
    def opened(self, path: Path) -> Iterator[Capture]:
        """The recording as it is to be restored.

        Raises:
            InputError: it cannot be read so.
        """
        with open_capture(path, **self.options) as capture:
            summed = capture.summed(self.sum, self.every)
            summed = summed if self.mask is None else masked(summed, self.mask)
            yield replace(summed, assumptions=(*summed.assumptions, *self.notes))

    def restorer(self) -> Restorer:
        """The network that restores.

        Raises:
            InputError: as `load_restorer`.
        """
        return load_restorer(self.weights, self.device, self.orientations)

    def restore(self, capture: Capture, restorer: Restorer, progress: Report) -> RestoredFiles:
        """Restores an opened recording; errors as of `restore_capture`."""
        return restore_capture(
            capture,
            restorer,
            self.scale,
            self.sensor,
            self.output,
            progress,
            self.command,
            each=self.each,
            motion=self.motion,
            storage=self.storage,
            part=self.part,
            resume=self.resume,
        )

    def parts(self, capture: Capture) -> list[Part]:
        """The parts in which a recording is restored by several workers: each takes ten seconds or more."""
        if self.part != WHOLE or self.each or not is_result_name(result_path(capture.path, self.output)):
            return [self.part]
        work = math.prod(capture.shape) * (1 if self.motion == "none" else _DEARER)
        number = max(1, min(work // _PIXELS_OF_A_TASK, _MOST_PARTS, capture.shape[0]))
        return [Part(each, number) for each in range(1, number + 1)]


def restore_shared_out(
    order: Order, captures: Sequence[Path], executor: Executor, progress: Report
) -> Iterator[tuple[Path, RestoredFiles | InputError]]:
    """Restores recordings on the workers of an executor, long ones in parts; yields each as it is done, or why not.

    Args:
        progress: called with the images done of all recordings and their number.

    Raises:
        InputError: a worker died.
        SchedulerLost: as `noise_model.executors.results`.
    """
    tasks: list[tuple[bytes, Path, Part]] = []
    images: dict[Path, int] = {}
    pickled = pickle.dumps(replace(order, output=order.output and order.output.absolute()))
    for path in captures:
        try:
            with order.opened(path) as capture:
                tasks += [(pickled, path.absolute(), part) for part in order.parts(capture)]
                images[path.absolute()] = capture.shape[0]
        except InputError as error:
            yield path, error
    found: dict[Path, list[RestoredFiles | InputError]] = {path: [] for path in images}
    expected = {path: sum(task[1] == path for task in tasks) for path in images}
    done = 0.0
    progress(0, sum(images.values()))
    for path, outcome in results(executor, _restore, tasks):
        found[path].append(outcome)
        done += images[path] / expected[path]
        progress(round(done), sum(images.values()))
        if len(found[path]) == expected[path]:
            yield path, _together(path, order, found.pop(path))


def _restore(pickled: bytes, path: Path, part: Part) -> tuple[Path, RestoredFiles | InputError]:
    """Restores a recording, or a part of it, in a process of an executor."""
    torch.set_num_threads(1)
    order: Order = replace(unpickled(pickled), part=part)
    try:
        with order.opened(path) as capture:
            return path, order.restore(capture, _restorer(order.weights, order.device, order.orientations), silent)
    except InputError as error:
        return path, error
    except Interrupted as stop:
        return path, InputError(str(stop))


@lru_cache(maxsize=1)
def _restorer(weights: Path | None, device: str, orientations: int) -> Restorer:
    return load_restorer(weights, device, orientations)


def _together(path: Path, order: Order, parts: Sequence[RestoredFiles | InputError]) -> RestoredFiles | InputError:
    """What is to be said of a recording whose parts are done."""
    restored: list[RestoredFiles] = []
    for part in parts:
        if isinstance(part, InputError):
            return part
        restored.append(part)
    if len(restored) == 1:
        return restored[0]
    try:
        with read_result(result_path(path, order.output)) as result:
            check, warnings = summary(result.check("chi_squared")), result.warnings
            return RestoredFiles(
                result.path,
                tuple(picture for part in restored for picture in part.pictures),
                len(result),
                sum(part.taken_over for part in restored),
                check,
                warnings,
                sum(part.seconds for part in restored),
                result.scale,
            )
    except InputError as error:
        return error
