"""Images as they are restored: sums as they are, or along the motion of their scene; and what is said of motion."""

import math
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.captures.capture import Capture
from noise_model.errors import InputError, Note
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import PLACES, Exposure, Sensor
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import change_within
from spadsr.motion.motion import MOST_PARTS, Change, Motion, Way
from spadsr.networks.phases import gathered, native
from spadsr.restoration.ahead import in_order

_WATCHED_PARTS = 32
_MOST_AT_ONCE, _PIXELS_AT_ONCE = 4, 1 << 16  # images whose motion is followed at once: they bound the memory
_BY_CHANCE = 1e-3  # share of the images at rest that may seem to move
_NUMBER = re.compile(r"\d[\d.]*")


@dataclass(frozen=True)
class Taken:
    """Images as they are restored.

    Attributes:
        counts: (B, H, W), or of places.
        model: how they were taken.
        motion: how their scenes moved.
    """

    counts: Tensor
    model: ForwardModel
    motion: tuple[Motion, ...]


class Takes:
    """Takes the images of a capture (as summed) as they are restored.

    Args:
        model: sensor and exposure, as far as known.
        way: what is followed where the scene of an image moves.

    Raises:
        InputError: motion is to be followed in images that are no sums, or whose pixels have frames of their own.
    """

    def __init__(self, capture: Capture, model: ForwardModel, way: Way) -> None:
        self.capture, self.model, self.way = capture, model, way
        if way != "none" and capture.mapped:
            raise InputError(
                f"{capture.path}: pixels have different numbers of hardware frames: it is merged already; follow motion"
                " in the recording that it was made from",
                "motion",
            )
        if way != "none" and capture.source.parts is None:
            raise InputError("motion is followed within sums: expected sums of many images", "motion", "sum")

    def each(self, start: int, stop: int, size: int, progress: Report = silent) -> Generator[Taken]:
        """The images `start` to `stop`, `size` at a time; where motion is followed, one, and the next ones ahead.

        Args:
            progress: called with hundredths of an image done, of all that are worked on, and their number.

        Raises:
            InputError: as `take`.
        """
        firsts = range(start, stop, size)
        if self.way == "none":
            yield from (self.take(first, min(first + size, stop)) for first in firsts)
            return
        pixels = math.prod(self.capture.shape[1:])
        at_once = max(1, min(torch.get_num_threads(), _MOST_AT_ONCE, _PIXELS_AT_ONCE // pixels))
        yield from in_order(lambda image, report: self.take(image, image + 1, report), firsts, at_once, progress)

    def take(self, start: int, stop: int, progress: Report = silent) -> Taken:
        """The images `start` to `stop`; where motion is followed, one.

        Args:
            progress: called with hundredths of an image done and their number.

        Raises:
            InputError: as `Capture.read` and `follow`.
        """
        if self.way != "none":
            assert stop == start + 1
            return self._followed(start, progress)
        model = replace(self.model, exposure=self.capture.exposure_of(start, stop))
        if self.capture.source.parts is None:
            counts = torch.from_numpy(self.capture.read(start, stop).astype(np.int64))
            self._expect_possible(counts, start)
            counts, model = native(counts, model) if _at_rest(counts, model) else (counts, model)
            return Taken(counts, model, ())
        sums, motion = [], []
        for image in range(start, stop):
            blocks = _blocks(self.capture, image, self.model.sensor, _WATCHED_PARTS)
            sums.append(blocks.counts.sum(axis=0, dtype=np.int64))
            motion.append(Motion(change_within(blocks)))
            self._expect_possible(torch.from_numpy(sums[-1])[None], image)
        return Taken(torch.from_numpy(np.stack(sums)), model, tuple(motion))

    def _expect_possible(self, counts: Tensor, first: int) -> None:
        """Refuses images from `first` on that hold more than the sensor can count in this exposure."""
        exposure = self.model.exposure
        most = self.model.sensor.saturation_value(exposure.most_cycles)
        if int(counts.max()) <= most:
            return
        image = first + int(counts.flatten(1).max(dim=1).values.gt(most).int().argmax())
        dead_time = self.capture.settings.dead_time
        short = f", no longer than the dead time of {dead_time:g} s," if 0 < exposure.count_time <= dead_time else ""
        number = exposure.most_cycles
        frames = f"{number} hardware frame{'s' * (number > 1)} of {exposure.count_time:g} s{short}"
        raise InputError(
            f"{self.capture.path}: image {image} holds {int(counts[image - first].max())} counts, but {frames} of this"
            f" sensor hold {most} at most; correct the exposure or the sensor",
            "count_time",
            "cycles",
            "sensor",
        )

    def _followed(self, image: int, progress: Report) -> Taken:
        from spadsr.motion.following import follow  # compiled code takes long to load

        blocks = _blocks(self.capture, image, self.model.sensor, MOST_PARTS)
        followed, time = follow(blocks, self.way, progress), self.model.exposure.count_time
        if followed.merged is None:
            total = torch.from_numpy(blocks.counts.sum(axis=0, dtype=np.int64))[None]
            self._expect_possible(total, image)
            exposure = Exposure(time, torch.full(total.shape, self.model.exposure.most_cycles))
            return Taken(total, replace(self.model, exposure=exposure), (followed.motion,))
        merged = followed.merged
        counts, frames = (torch.from_numpy(each.astype(np.int64))[None] for each in (merged.counts, merged.frames))
        return Taken(counts, replace(merged.model, exposure=Exposure(time, frames)), (followed.motion,))


def _at_rest(counts: Tensor, model: ForwardModel) -> bool:
    """Whether counts that are kept apart by their places within pixels are all of one place in each."""
    cycles = model.exposure.map
    if cycles is None or not gathered(counts, model.sensor):
        return False
    looked = F.pixel_unshuffle((cycles[:, None] > 0).float(), PLACES).sum(dim=1)
    return bool((looked <= 1).all())


def change_of(capture: Capture, image: int) -> Change:
    """How much the scene of an image that is a sum changes within it, of an array without maps."""
    return change_within(_blocks(capture, image, capture.sensor, _WATCHED_PARTS))


def _blocks(capture: Capture, image: int, sensor: Sensor, most: int) -> Blocks:
    """The consecutive parts of an image."""
    counts, images = capture.parts(image, most)
    cycles = images * (capture.settings.cycles // int(images.sum()))
    times = (np.cumsum(cycles) - cycles / 2) / cycles.sum() - 0.5
    return Blocks(counts, cycles, times, sensor, capture.settings.count_time)


class MotionWatch:
    """Collects what is to be said of the motion of scenes, image by image."""

    def __init__(self) -> None:
        self._images, self._moving = 0, 0
        self._worst: tuple[float, int, str] = (0.0, 0, "")
        self._said: dict[str, tuple[int, int, str]] = {}  # images, the first of them and what is said, by its words

    def add(self, motion: Iterable[Motion]) -> None:
        """Takes in how the scenes of the next images moved."""
        for each in motion:
            change = each.change
            if change.moves and each.followed == "none":
                self._moving += 1
                errors = max(change.errors, change.shift_errors)
                self._worst = max(self._worst, (errors, self._images, change.sentence()))
            for sentence in each.sentences():
                key = _NUMBER.sub("", sentence)
                images, first, said = self._said.get(key, (0, self._images, sentence))
                self._said[key] = images + 1, first, said
            self._images += 1

    def warnings(self) -> Iterator[str]:
        """A line for everything that the user should know, with the number of images that it is of."""
        if self._moving > _BY_CHANCE * self._images:
            _, worst, sentence = self._worst
            yield Note(self._of_images(self._moving, f"worst image {worst}", sentence), "sum", "motion")
        for images, first, sentence in self._said.values():
            yield self._of_images(images, f"the first is image {first}", sentence)

    def _of_images(self, images: int, which: str, sentence: str) -> str:
        return sentence if self._images == 1 else f"{images} of {self._images} images, {which}: {sentence}"
