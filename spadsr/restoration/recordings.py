"""Restoring a recording: counts in, photon detection rates and a picture out, block by block."""

import re
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from hardware.captures.capture import Capture
from noise_model.errors import InputError
from noise_model.executors import stop_asked
from noise_model.files import require_room
from noise_model.forward_model import ForwardModel
from noise_model.interrupts import Interrupted, noted_signals
from noise_model.progress import Report, silent
from noise_model.sensor import Sensor
from spadsr.motion.motion import Way
from spadsr.provenance import Provenance
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.hot_pixels import HotPixels
from spadsr.restoration.interrupted import earlier_part, restored_before, restored_whole
from spadsr.restoration.motion_fields import MERGED_FROM
from spadsr.restoration.moving import MotionWatch, Takes
from spadsr.restoration.parts import Part, edges_of, join
from spadsr.restoration.physics_check import CheckSummary
from spadsr.restoration.restored import (
    Restored,
    is_picture_name,
    is_result_name,
    numbered,
    output_bytes,
    write_images,
    write_pictures,
    write_sheet,
    writer_of,
)
from spadsr.restoration.restorer import Restorer, check_scale
from spadsr.restoration.result_writer import ResultWriter, part_of, refuse_recordings
from spadsr.restoration.storage import Storage
from spadsr.restoration.training_range import TrainingRange

#: The one part of a recording that is restored by one run.
WHOLE = Part()

#: Native pixels that are restored at once: with more, features leave the caches of a processor. A GPU wants more work.
_PIXELS_AT_ONCE, _PIXELS_OF_A_GPU = 1 << 14, 1 << 16
_LIKE_A_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")  # the end of a name that is hardly that of a folder


class Restoration:
    """The restoring of a capture (as summed), block by block, in memory that does not grow with its length.

    Args:
        scale: resolution of the answer over that of the sensor.
        sensor: calibrated sensor or preset; None takes what the capture's header says.
        command: how the user asked for it, for the provenance.
        motion: what is followed where the scene of a sum moves.
        storage: what a result file keeps, and how.

    Raises:
        InputError: the sensor does not fit the capture; no network has such a scale; motion cannot be followed.
    """

    def __init__(
        self,
        capture: Capture,
        restorer: Restorer,
        scale: int,
        sensor: Sensor | None,
        command: str = "",
        motion: Way = "none",
        storage: Storage | None = None,
    ) -> None:
        check_scale(scale)
        self.capture, self.restorer, self.scale, self.command = capture, restorer, scale, command
        self.storage = storage or Storage()
        self._calibrated = sensor is not None and sensor.measured
        known, self._notes = sensor_of(capture, sensor)
        if capture.mapped and MERGED_FROM in capture.notes and known.measured:
            raise InputError(
                f"{capture.path}: merged along the motion of its scene, so that the maps of a calibrated sensor do not"
                " fit; restore the recording that it was made from, with this sensor, and follow motion there",
                "sensor",
            )
        self.model = ForwardModel(known, capture.settings.exposure)
        self.takes = Takes(capture, self.model, motion)

    @property
    def images(self) -> int:
        """How many there are."""
        return self.capture.shape[0]

    @property
    def units(self) -> int:
        """How many units of progress an image is: following motion in it may take long."""
        return 1 if self.takes.way == "none" else 100

    @property
    def block_size(self) -> int:
        """How many are restored at once: the same for the same images on the same device, as their last bits may be."""
        if self.takes.way != "none" or self.capture.places > 1:
            return 1
        return _at_once(self.capture, _PIXELS_AT_ONCE if self.restorer.device.type == "cpu" else _PIXELS_OF_A_GPU)

    @property
    def provenance(self) -> Provenance:
        """What the result is made of."""
        made = self.restorer.provenance_of(self.model, self.scale, self.command)
        motion = {} if self.takes.way == "none" else {"motion": self.takes.way}
        return replace(made, config={**made.config, **motion, **self.storage.told})

    def writer(self, path: Path, taken_over: int = 0) -> ResultWriter:
        """Makes the result file, without warnings, or goes on after the images that an interrupted run left."""
        return ResultWriter(
            path,
            settings=self.capture.settings,
            notes=self.capture.notes,
            source=self.capture.path.name,
            scale=self.scale,
            provenance=self.provenance,
            storage=self.storage,
            taken_over=taken_over,
        )

    def blocks(self, start: int = 0, stop: int | None = None, progress: Report = silent) -> Generator[Restored]:
        """The restored images `start` to `stop`, in stacks of as many as bound the memory; without warnings.

        Args:
            progress: where motion is followed, called with hundredths of the next images done and those of one.

        Raises:
            InputError: the network has no such scale, or a count is impossible.
        """
        capture, made, stop = self.capture, self.provenance, self.images if stop is None else stop
        for taken in self.takes.each(start, stop, self.block_size, progress):
            block = self.restorer.restore(taken.counts, taken.model, self.scale, self.command)
            yield replace(
                block,
                settings=capture.settings,
                provenance=made,
                source=capture.path.name,
                notes=capture.notes,
                motion=taken.motion,
            )

    def findings(self) -> "Findings":
        """Collects what the user should know; images are added as they are restored, all of them or only some."""
        notes = (*self.capture.assumptions, *self._notes)
        trained = TrainingRange(self.restorer, self.model, self._calibrated)
        return Findings(notes, trained, HotPixels(), CheckSummary(), MotionWatch())


@dataclass(frozen=True)
class Findings:
    """What the user should know about restored images of a capture.

    Attributes:
        notes: what was assumed of the capture, and what the choice of the sensor means.
        trained: whether the images are like those that the network was trained with.
        hot: the hot pixels found.
        checks: whether the restored rates explain the counts.
        motion: how scenes moved within the images.
    """

    notes: tuple[str, ...]
    trained: TrainingRange
    hot: HotPixels
    checks: CheckSummary
    motion: MotionWatch

    def add(self, block: Restored) -> None:
        """Takes in the next restored images, a stack."""
        assert block.counts is not None
        assert block.hot is not None
        self.trained.add(block.counts, block.cycles)
        self.hot.add(block.hot)
        self.checks.add(block.check)
        self.motion.add(block.motion)

    def warnings(self) -> tuple[str, ...]:
        """A line for everything that the user should know about the images added."""
        found = (self.trained, self.hot, self.checks, self.motion)
        return (*self.notes, *(line for each in found for line in each.warnings()))


@dataclass(frozen=True)
class RestoredFiles:
    """What `restore_capture` wrote.

    Attributes:
        result: the file asked for.
        pictures: PNG files beside it, or in place of it: the sheet of the first image of a result, or one of each.
        images: how many were restored.
        taken_over: how many of them an interrupted run had restored before.
        check: how well the restored rates explain the counts, in words.
        warnings: what the user should know about the images.
        seconds: how long it took.
        scale: resolution over that of the sensor.
    """

    result: Path
    pictures: tuple[Path, ...]
    images: int
    taken_over: int
    check: str
    warnings: tuple[str, ...]
    seconds: float
    scale: int

    @property
    def images_per_second(self) -> float:
        """Images restored in a second, reading, checking and writing them included."""
        return (self.images - self.taken_over) / self.seconds if self.seconds else 0.0

    @property
    def picture(self) -> Path:
        """The picture of the first image."""
        return self.pictures[0]


def restore_capture(
    capture: Capture,
    restorer: Restorer,
    scale: int,
    sensor: Sensor | None,
    output: Path | None,
    progress: Report,
    command: str = "",
    *,
    each: bool = False,
    motion: Way = "none",
    storage: Storage | None = None,
    part: Part = WHOLE,
    resume: bool = False,
) -> RestoredFiles:
    """Restores the images of a capture (as summed) into a file of the kind that its name ends in.

    A result file (`.h5`) gets a sheet of its first image beside it. Ctrl-C and SIGTERM leave a part of it, from which
    the same call goes on. Files of other kinds (`restored.write_images`) are whole or absent. A picture shows the first
    image alone, and only that is restored.

    Args:
        sensor: calibrated sensor or preset; None takes what the capture's header says.
        output: a file or a folder; None writes a result beside the capture.
        progress: called with the images done and their number.
        command: how the user asked for it, for the provenance.
        each: a picture of every image, numbered, in place of that of the first one.
        motion: what is followed where the scene of a sum moves; an image is then restored as it was at its central
            instant, and progress is called with hundredths of images.
        storage: what a result file keeps, and how.
        part: only that of the images, in a file of its own beside the result, which joins those that are there.
        resume: a result that is whole already, and was made of the same in the same way, stays.

    Raises:
        InputError: the sensor does not fit the capture, a count is impossible, or the output cannot be written, or its
            disk has no room for it.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    result = result_path(capture.path, output)
    if result.resolve() == capture.path.resolve():
        raise InputError(f"{result}: is the capture itself; choose another output", "output")
    file, sheet, edges = result, result.with_suffix(".png"), _edges(capture, part)
    if part != WHOLE:
        if each or not is_result_name(result):
            raise InputError(f"{result}: parts are joined to a result alone; choose a name that ends in .h5", "part")
        refuse_recordings(result)
        capture, file = capture.between(edges[part.number - 1], edges[part.number]), part.path(result)
    restoration = Restoration(capture, restorer, scale, sensor, command, motion, storage)
    require_room(file, output_bytes(file, capture.shape, scale, storage))
    with noted_signals() as signalled:
        stopped = lambda: signalled() or (signal.SIGTERM if stop_asked() else 0)  # noqa: E731  # of two ways to ask
        job = _Job(restoration, restoration.findings(), progress, stopped)
        if not is_result_name(file):
            return job.write_others(file, each)
        done = job.there(file) if resume else None
        done = done or job.write_result(file, sheet if part.number == 1 else None, each)
    if part != WHOLE:
        done = replace(done, warnings=(*done.warnings, *join(result, edges, part)))
    return done


def _edges(capture: Capture, part: Part) -> list[int]:
    """The first image of each part and the number of all, where blocks begin on any device."""
    return edges_of(capture.shape[0], part.parts, _at_once(capture, _PIXELS_OF_A_GPU))


def _at_once(capture: Capture, pixels: int) -> int:
    """The number of images that have so many pixels at most, a power of two: blocks of one device fill another's."""
    return 1 << max(0, (pixels // (capture.shape[1] * capture.shape[2])).bit_length() - 1)


@dataclass
class _Job:
    """The restoring of a capture into files."""

    restoration: Restoration
    findings: Findings
    progress: Report
    stopped: Callable[[], int]
    done: int = 0
    began: float = field(default_factory=monotonic)

    def there(self, result: Path) -> RestoredFiles | None:
        """A result that is whole already; None where there is none, or another."""
        found = restored_whole(result, self.restoration.takes, self.restoration.provenance)
        if found is None:
            return None
        images, (check, warnings) = self.restoration.images, found
        return RestoredFiles(result, (), images, images, check, warnings, 0.0, self.restoration.scale)

    def write_result(self, result: Path, sheet: Path | None, each: bool) -> RestoredFiles:
        """A result file, and pictures beside it: of each image, or of the first if there is a name for one."""
        pictures: list[Path] = []
        first: Restored | None = None

        def draw(block: Restored) -> None:
            nonlocal first
            first = block[0] if first is None else first
            for index, image in enumerate(block if each else (), self.done):
                pictures.append(numbered(result.with_suffix(".png"), index, self.restoration.images))
                write_sheet(image, pictures[-1])

        taken_over = self._take_over(result, draw)
        with (
            closing(self.restoration.blocks(taken_over, progress=self._within)) as blocks,
            self.restoration.writer(result, taken_over) as writer,
        ):
            try:
                for block in self._watched(blocks):
                    writer.append(*block.written)
                    draw(block)
            except Interrupted as stop:
                writer.warnings.append(
                    f"only the first {self.done:,} of {self.restoration.images:,} images: restoring was stopped"
                )
                if self.done:
                    stop.add_note(_goes_on(result))
                raise
            finally:
                writer.warnings += self.findings.warnings() if self.done else ()
        if first is not None and sheet is not None and not each:
            pictures = [sheet]
            write_sheet(first, sheet)
        return self._finished(result, pictures, taken_over)

    def _take_over(self, result: Path, draw: Callable[[Restored], None]) -> int:
        """Looks through what an interrupted run restored before; the number of its images."""
        restoration = self.restoration
        with earlier_part(result, restoration.takes, restoration.provenance) as part:
            for block in () if part is None else restored_before(part, restoration.takes, restoration.block_size):
                self.findings.add(block)
                draw(block)
                self.done += len(block)
                if self.stopped():
                    stop = Interrupted(f"{result.name}: stopped before the first new image", self.stopped())
                    stop.add_note(_goes_on(result))
                    raise stop
        return self.done

    def write_others(self, result: Path, each: bool) -> RestoredFiles:
        """A film or stack, or pictures."""
        restoration, single = self.restoration, is_picture_name(result) and not each
        with closing(restoration.blocks(stop=1 if single else None, progress=self._within)) as restored:
            blocks = self._watched(restored)
            if not each:
                write_images(blocks, restoration.images, result)
                self.done = self.done or 1  # a picture asks for no more than the first
                return self._finished(result, [result] if single else [], 0)
            pictures = list(write_pictures(blocks, restoration.images, result))
        return self._finished(pictures[0], pictures, 0)

    def _within(self, done: int, total: int) -> None:
        """Progress within the next images."""
        units = self.restoration.units
        self.progress(self.done * units + done * units // total, self.restoration.images * units)
        if done < total:  # else it is about to be restored
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stopped() and self.done < self.restoration.images:
            name = self.restoration.capture.path.name
            line = f"{name}: stopped after {self.done:,} of {self.restoration.images:,} images"
            raise Interrupted(line, self.stopped())

    def _watched(self, blocks: Iterable[Restored]) -> Iterator[Restored]:
        """Passes blocks on; one that is followed by another is known to be written."""
        units, images = self.restoration.units, self.restoration.images
        if self.done or units == 1:  # what follows motion loads for long, and tells when it begins
            self.progress(self.done * units, images * units)
        for block in blocks:
            self.findings.add(block)
            yield block
            self.done += len(block)
            self.progress(self.done * units, images * units)
            self._stop_if_asked()

    def _finished(self, result: Path, pictures: Sequence[Path], taken_over: int) -> RestoredFiles:
        findings, seconds = self.findings, monotonic() - self.began
        return RestoredFiles(
            result,
            tuple(pictures),
            self.done,
            taken_over,
            findings.checks.sentence,
            findings.warnings(),
            seconds,
            self.restoration.scale,
        )


def _goes_on(result: Path) -> str:
    return f"what is done is in {part_of(result)}, and the same again goes on from there"


def result_path(capture: Path, output: Path | None) -> Path:
    """The file that a capture is restored into: `<stem>.sr.h5` beside it or in the folder given, or the file given.

    Raises:
        InputError: the output is named like a file of a kind that is not written.
    """
    if capture.name in ("", ".."):  # a folder that is named by where it lies
        capture = capture.resolve()
    if not capture.name:
        raise InputError(f"{capture}: expected a recording, or a folder of images; give one")
    if output is None:
        return capture.with_name(f"{capture.stem}.sr.h5")
    if output.is_dir() or not (output.is_file() or _LIKE_A_FILE.fullmatch(output.suffix)):
        return output / f"{capture.stem}.sr.h5"
    try:
        writer_of(output)
    except InputError as error:
        raise InputError(f"{error}; or give a folder that is there", *error.arguments) from None
    return output


def distinct_results(captures: Sequence[Path], output: Path | None) -> None:
    """Refuses captures that would be restored to the same file.

    Raises:
        InputError: two of them would.
    """
    taken: dict[Path, Path] = {}
    for capture in captures:
        result = result_path(capture, output)
        place = result.resolve()
        if place in taken:
            raise InputError(f"{result}: both {taken[place]} and {capture} would go there; restore them one by one")
        taken[place] = capture
