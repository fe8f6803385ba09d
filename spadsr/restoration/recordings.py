"""Restoring a recording: counts in, photon detection rates and a picture out, block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hardware.captures.capture import Capture
from noise_model.errors import InputError
from noise_model.files import require_room, whole_file
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report
from noise_model.sensor import Sensor
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.physics_check import CheckSummary
from spadsr.restoration.restored import Restored, draw
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.result_writer import ResultWriter, result_bytes
from spadsr.restoration.training_range import TrainingRange

_PIXELS_AT_ONCE = 1 << 16  # native; bounds the memory of the network


class Restoration:
    """The restoring of a capture (as summed), block by block, in memory that does not grow with its length.

    Args:
        scale: resolution of the answer over that of the sensor.
        sensor: calibrated sensor or preset; None takes what the capture's header says.
        command: how the user asked for it, for the provenance.

    Raises:
        InputError: the sensor does not fit the capture.
    """

    def __init__(
        self, capture: Capture, restorer: Restorer, scale: int, sensor: Sensor | None, command: str = ""
    ) -> None:
        self.capture, self.restorer, self.scale, self.command = capture, restorer, scale, command
        self._calibrated = sensor is not None and sensor.measured
        known, self._notes = sensor_of(capture, sensor)
        self.model = ForwardModel(known, capture.exposure)

    def blocks(self) -> Iterator[Restored]:
        """The restored images, in stacks that bound the memory; without warnings.

        Raises:
            InputError: the network has no such scale, or a count is impossible.
        """
        rows, columns = self.capture.shape[1:]
        for counts in self.capture.blocks(max(1, _PIXELS_AT_ONCE // (rows * columns))):
            images = torch.from_numpy(counts.astype(np.int64))
            block = self.restorer.restore(images, self.model, self.scale, self.command)
            source, notes = self.capture.path.name, self.capture.notes
            yield replace(block, settings=self.capture.settings, source=source, notes=notes, counts=counts)

    def findings(self) -> "Findings":
        """Collects what the user should know; images are added as they are restored, all of them or only some."""
        notes = (*self.capture.assumptions, *self._notes)
        trained = TrainingRange(self.restorer, self.model, self._calibrated)
        return Findings(notes, trained, CheckSummary())


@dataclass(frozen=True)
class Findings:
    """What the user should know about restored images of a capture.

    Attributes:
        notes: what was assumed of the capture, and what the choice of the sensor means.
        trained: whether the images are like those that the network was trained with.
        checks: whether the restored rates explain the counts.
    """

    notes: tuple[str, ...]
    trained: TrainingRange
    checks: CheckSummary

    def add(self, block: Restored) -> None:
        """Takes in the next restored images, a stack."""
        assert block.counts is not None
        self.trained.add(block.counts)
        self.checks.add(block.check)

    def warnings(self) -> tuple[str, ...]:
        """A line for everything that the user should know about the images added."""
        return (*self.notes, *self.trained.warnings(), *self.checks.warnings())


@dataclass(frozen=True)
class RestoredFiles:
    """What `restore_capture` wrote.

    Attributes:
        result: the `.sr.h5` file.
        picture: the PNG sheet of its first image.
        images: how many were restored.
        check: how well the restored rates explain the counts, in words.
        warnings: what the user should know about the images.
    """

    result: Path
    picture: Path
    images: int
    check: str
    warnings: tuple[str, ...]


def restore_capture(
    capture: Capture,
    restorer: Restorer,
    scale: int,
    sensor: Sensor | None,
    output: Path | None,
    progress: Report,
    command: str = "",
) -> RestoredFiles:
    """Restores every image of a capture (as summed) into a result file, and the first one into a picture beside it.

    Args:
        sensor: calibrated sensor or preset; None takes what the capture's header says.
        output: a `.h5` file or a folder; None writes beside the capture.
        progress: called with the images done and their number.
        command: how the user asked for it, for the provenance.

    Raises:
        InputError: the sensor does not fit the capture, a count is impossible, or the output cannot be written, or its
            disk has no room for it.
    """
    result = result_path(capture.path, output)
    if result.resolve() == capture.path.resolve():
        raise InputError(f"{result}: is the capture itself; choose another output", "output")
    require_room(result, result_bytes(capture.shape, scale))
    restoration = Restoration(capture, restorer, scale, sensor, command)
    picture, findings, done = result.with_suffix(".png"), restoration.findings(), 0
    writer = ResultWriter(
        result,
        settings=capture.settings,
        notes=capture.notes,
        source=capture.path.name,
        scale=scale,
        provenance=restorer.provenance_of(restoration.model, scale, command),
    )
    with whole_file(picture) as partial, writer:
        for block in restoration.blocks():
            writer.append(block.rate, block.uncertainty, block.coverage_factor, vars(block.check))
            findings.add(block)
            if done == 0:
                draw(block, partial)
            done += len(block)
            progress(done, capture.shape[0])
        writer.warnings += findings.warnings()
    return RestoredFiles(result, picture, done, findings.checks.sentence, tuple(writer.warnings))


def result_path(capture: Path, output: Path | None) -> Path:
    """The result file of a capture: `<stem>.sr.h5` beside it or in the folder given, or the `.h5` file given.

    Raises:
        InputError: the output is a file that is not `.h5`.
    """
    if output is None:
        return capture.with_name(f"{capture.stem}.sr.h5")
    if output.suffix == ".h5" and not output.is_dir():
        return output
    if output.is_file():
        raise InputError(f"{output}: a file that is not .h5; give a folder or a file name that ends in .h5", "output")
    return output / f"{capture.stem}.sr.h5"


def distinct_results(captures: Sequence[Path], output: Path | None) -> None:
    """Refuses captures that would be restored to the same file.

    Raises:
        InputError: two of them would.
    """
    taken: dict[Path, Path] = {}
    for capture in captures:
        result = result_path(capture, output)
        if result in taken:
            raise InputError(f"{result}: both {taken[result]} and {capture} would go there; restore them one by one")
        taken[result] = capture
