"""Merging a recording: sums along the motion of their scenes, as a recording for other programs and for later."""

import math
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.captures.capture import Capture
from hardware.captures.other_formats import require_known
from hardware.captures.writer import CaptureWriter
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.files import require_room, whole_file
from noise_model.forward_model import ForwardModel
from noise_model.interrupts import Interrupted, noted_signals
from noise_model.progress import Report
from noise_model.sensor import PLACES
from spadsr.motion.motion import Motion, Way
from spadsr.networks.phases import gathered, native
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.motion_fields import FIELDS, MERGED_FROM, MOTION, fields_of
from spadsr.restoration.moving import MotionWatch, Taken, Takes

_COLUMNS = "image,part,time,down_px,right_px,turned_deg,down_sd_px,right_sd_px,turned_sd_deg,used"
_CENTRE = PLACES // 2  # the place within a pixel that the centre of one at rest looks at
_UNITS = 100  # of progress, for an image


@dataclass
class _Tally:
    """What was followed in the images so far, and how far their scenes moved, native pixels."""

    ways: Counter[Way] = field(default_factory=Counter)
    reach: float = 0.0

    def add(self, motion: Motion) -> None:
        """Takes in one image."""
        self.ways[motion.followed] += 1
        self.reach = max(self.reach, float(np.ptp(motion.path.poses[:, :2], axis=0).max() if len(motion.times) else 0))

    @property
    def followed(self) -> int:
        """Images in which something was followed."""
        return self.ways.total() - self.ways["none"]

    @property
    def sentence(self) -> str:
        """All of it in words."""
        parts = [f"{images} {way}" for way, images in self.ways.items()]
        return f"{', '.join(parts)} of {self.ways.total()} images, over up to {self.reach:.1f} native pixels"


@dataclass(frozen=True)
class MergedFiles:
    """What `merge_capture` wrote.

    Attributes:
        recording: counts and hardware frames of each pixel, or of places within pixels.
        path: the path as a table, for programs that do not read HDF5.
        images: how many sums there are.
        followed: how many of them move.
        warnings: what the user should know.
    """

    recording: Path
    path: Path
    images: int
    followed: int
    warnings: tuple[str, ...]


def merge_capture(capture: Capture, output: Path, way: Way, progress: Report) -> MergedFiles:
    """Writes the images of a capture (as summed), along the motion of their scenes, and the paths beside them.

    Where motion is followed in the first image, counts are kept apart by their places within pixels. Ctrl-C and SIGTERM
    keep the images that are done.

    Args:
        output: a `.h5` file. The table of paths gets its name, with `.path.csv` at the end.
        progress: called with hundredths of images done and their number.

    Raises:
        InputError: motion cannot be followed in the capture, or the output cannot be written.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    require_known(capture)
    if output.suffix.lower() not in (".h5", ".hdf5", ".nxs"):
        raise InputError(
            f"{output}: merged recordings are written as .h5, and converted to .ome.tif for Fiji; choose a name in .h5",
            "output",
        )
    if output.exists() and output.samefile(capture.path):
        raise InputError(f"{output}: is the recording itself; choose another name", "output")
    if output.exists():
        raise InputError(
            f"{output}: is there already; merging replaces nothing: move it, or choose another name", "output"
        )
    known, remarks = sensor_of(capture, None)
    takes = Takes(capture, ForwardModel(known, capture.settings.exposure), way)
    notes = capture.notes | {MERGED_FROM: capture.path.name, "motion": way}
    watch, tally, done, images, path = MotionWatch(), _Tally(), 0, capture.shape[0], output.with_suffix(".path.csv")

    def within(part: int, total: int) -> None:
        progress(done * _UNITS + part * _UNITS // total, images * _UNITS)

    with noted_signals() as stopped, ExitStack() as stack:
        all_taken = stack.enter_context(closing(takes.each(0, images, 1, within)))
        first = next(all_taken)
        places = PLACES if gathered(first.counts, known) else 1
        shape = places * capture.pixels[0], places * capture.pixels[1]
        require_room(output, images * math.prod(shape) * 8)
        writer = CaptureWriter(output, shape, np.uint32, capture.settings, notes=notes, places=places)
        stack.enter_context(writer)
        table = stack.enter_context(stack.enter_context(whole_file(path)).open("w", encoding="utf-8"))
        table.write(_COLUMNS + "\n")
        for done, taken in enumerate(chain([first], all_taken)):
            counts, cycles = _on_grid(taken, places)
            writer.append(counts, cycles=cycles)
            if way != "none":
                writer.append_fields(MOTION, fields_of(taken.motion, capture.pixels), FIELDS)
            watch.add(taken.motion)
            for motion in taken.motion:
                tally.add(motion)
                np.savetxt(table, _rows_of(motion, done), fmt=["%d", "%d", *["%.6g"] * 7, "%d"], delimiter=",")
            within(1, 1)
            if stopped() and done + 1 < images:
                break
        writer.note({"motion_followed": tally.sentence})
    if done + 1 < images:
        stop = Interrupted(f"{capture.path.name}: stopped after {done + 1:,} of {images:,} sums", stopped())
        stop.add_note(f"what is done is in {output}")
        raise stop
    warnings = (*capture.assumptions, *remarks, *watch.warnings())
    return MergedFiles(output, path, images, tally.followed, warnings)


def _on_grid(taken: Taken, places: int) -> tuple[Counts, Counts]:
    """Counts and frames of one image on the grid of a file, (1, s H, s W)."""
    counts, exposure = taken.counts, taken.model.exposure
    frames = exposure.map
    if frames is None:
        frames = torch.full(counts.shape, exposure.most_cycles)
    if gathered(counts, taken.model.sensor) and places == 1:
        counts, whole = native(counts, taken.model)
        assert whole.exposure.map is not None
        frames = whole.exposure.map
    elif not gathered(counts, taken.model.sensor):
        frames = torch.where(taken.model.good, frames, 0)
        counts = torch.where(frames > 0, counts, 0)
        if places > 1:
            counts, frames = (_in_centres(each, places) for each in (counts, frames))
    return counts.numpy().astype(np.uint32), frames.numpy().astype(np.uint32)


def _in_centres(values: Tensor, places: int) -> Tensor:
    """Values of pixels in the place that the centres of pixels at rest look at; 0 in all others."""
    spread = values.new_zeros((len(values), values.shape[1], places, values.shape[2], places))
    spread[:, :, _CENTRE, :, _CENTRE] = values
    return spread.reshape(len(values), places * values.shape[1], places * values.shape[2])


def _rows_of(motion: Motion, image: int) -> NDArray[np.float64]:
    """Where the array looked in each part of an image, a row each."""
    poses, sd = (each * [1, 1, 180 / np.pi] for each in (motion.path.poses, motion.path.sd))
    used = np.ones(len(poses)) if motion.verdict is None else motion.verdict.used
    return np.column_stack([np.full(len(poses), image), np.arange(len(poses)), motion.times, poses, sd, used])
