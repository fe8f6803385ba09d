"""Recordings in two parts: some of the images, added up, and all the others that they must predict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from hardware.captures.capture import BLOCK_BYTES, Capture, open_capture
from noise_model.arrays import Counts, Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.experiment import Data
from spadsr.restoration.restorer import hot_in

DATA = Data(
    "a recording of a scene at rest in any known format, or the folder of the averages of a SwissSPAD2"
    " (average001_left.png to average256_left.png)",
    "your own camera; averages: github.com/WISION-Lab/spclowlight",
    "0.1 MB",
    "4c1f4a2b21b4f3de1c4584b5c51cdecdee54a8eb3e3cba1b121c38a67b7253ca of average256_left.png",
    "averages: none stated",
)

_MOST_SUMS, _MOST_PIXELS = 10, 100_000  # that are restored of each N
_STILL, _LEAST_EXCESS = 0.95, 1.25  # share of the pixels at rest that are kept; variance over chance that is borne
_AVERAGE = "average{:03d}_left.png"
_AVERAGES = (1, 4, 16, 64, 256)
_SIDE = 32  # pixels: sides are cut to a multiple


@dataclass(frozen=True)
class Split:
    """A sum of some images of a recording, and all the others.

    Attributes:
        some, others: (H, W) sums of counts.
        images, left: how many images each is of.
        one: how an image was taken.
        judged: (H, W) bool, pixels that are looked at: good, not hot, and at rest.
    """

    some: Counts
    others: Counts
    images: int
    left: int
    one: ForwardModel
    judged: NDArray[np.bool_]

    @cached_property
    def noise(self) -> float:
        """Variance of the mean counts of the images left out, by chance alone, mean over the pixels judged."""
        rates = sum_of(self.one, self.left).detection_rate(torch.from_numpy(self.others))[0].clamp(min=0)
        return float((self.one.moments(rates)[1] / self.left)[self.judged].mean())

    def error(self, mean: Floats) -> float:
        """Mean square error of predicted mean counts of an image (H, W), what chance adds to it subtracted.

        It is no smaller than chance lets it be seen.
        """
        square = float(np.square(mean - self.others / self.left)[self.judged].mean())
        return max(square - self.noise, self.noise * float(np.sqrt(2 / self.judged.sum())))

    def white(self) -> float:
        """Counts of an image that one of a hundred pixels exceeds."""
        return float(np.percentile((self.others / self.left)[self.judged], 99)) or 1.0


@dataclass(frozen=True)
class Images:
    """Images of a recording (T, H, W), read in blocks, and how each was taken."""

    capture: Capture | Counts
    one: ForwardModel

    @property
    def number(self) -> int:
        return int(self.capture.shape[0])

    def blocks(self, start: int, stop: int) -> Iterator[Counts]:
        """Counts in blocks of bounded size."""
        height, width = self.capture.shape[1:]
        step = max(1, BLOCK_BYTES // (8 * height * width))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            read = self.capture.read(first, last) if isinstance(self.capture, Capture) else self.capture[first:last]
            yield read.astype(np.int64)

    def sums(self, start: int, stop: int) -> tuple[Counts, Counts]:
        """The sums (H, W) of counts and of their squares."""
        parts = [(block.sum(axis=0), np.square(block).sum(axis=0)) for block in self.blocks(start, stop)]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)


def splits_of(images: Images, sums: Sequence[int]) -> dict[int, list[Split]]:
    """For each number of images summed, some sums, evenly spread over the recording."""
    number, usable = images.number, [each for each in sums if 2 * each <= images.number]
    if min(sums) < 1:
        raise InputError(f"sums of {min(sums)} images: expected 1 or more", "frames")
    if not usable:
        raise InputError(
            f"{number} images: too few to leave as many out as are used; expected {2 * min(sums)}", "frames"
        )
    total, squares = images.sums(0, number)
    if not total.any():
        raise InputError("no counts at all: there is nothing to predict; expected a recording of light")
    judged = _at_rest(images.one, total, squares, number)
    found = {}
    for each in usable:
        most = min(_MOST_SUMS, number // each, max(1, _MOST_PIXELS // total.size))
        starts = np.linspace(0, number - each, most).astype(int).tolist()
        some = [images.sums(start, start + each)[0] for start in starts]
        found[each] = [Split(part, total - part, each, number - each, images.one, judged) for part in some]
    return found


def _at_rest(one: ForwardModel, total: Counts, squares: Counts, images: int) -> NDArray[np.bool_]:
    """(H, W) pixels that are good, not hot, and whose counts vary over time about as chance has it."""
    whole = sum_of(one, images)
    counts = torch.from_numpy(total)
    law = one.moments(whole.detection_rate(counts)[0].clamp(min=0))[1]
    variance = (squares - total**2 / images) / (images - 1)
    most = max(_LEAST_EXCESS, float(chi2.ppf(_STILL, images - 1)) / (images - 1))
    good = one.sensor.good.numpy() & (hot_in(counts[None], whole)[0] == 0)
    judged = good & (variance <= most * np.maximum(law, 1 / images))
    if not judged.any():
        raise InputError(
            "no pixel is at rest: frames left out say nothing of a scene that moves or a light that varies"
        )
    return np.asarray(judged)


def splits_of_averages(folder: Path, sums: Sequence[int]) -> dict[int, list[Split]]:
    """The averages of few frames, and the frames of the longest that they leave."""
    found, every = {}, _average(folder, _AVERAGES[-1])
    rows, columns = (side - side % _SIDE for side in every.shape)
    sensor = Sensor("SwissSPAD2", torch.ones(rows, columns), torch.zeros(rows, columns), 0.0, 1, measured=False)
    one, every = ForwardModel(sensor, Exposure(1.0)), every[:rows, :columns]
    judged = hot_in(torch.from_numpy(every)[None], sum_of(one, _AVERAGES[-1]))[0] == 0
    for each in sorted({*sums} & {*_AVERAGES[:-1]}):
        some, left = _average(folder, each)[:rows, :columns], _AVERAGES[-1] - each
        found[each] = [Split(some, np.clip(every - some, 0, left), each, left, one, judged)]
    if not found:
        raise InputError(f"{folder}: averages of {_AVERAGES[:-1]} frames; expected some of these numbers", "frames")
    return found


def _average(folder: Path, frames: int) -> Counts:
    path = folder / _AVERAGE.format(frames)
    if not path.is_file():
        raise DATA.refused(folder, f"there is no {path.name}")
    with open_capture(path, cycles=frames, counter_bits=1) as capture:
        return np.asarray(capture.read(0, 1)[0], np.int64)


def are_averages(path: Path) -> bool:
    """Whether a path is a folder of averages."""
    return (path / _AVERAGE.format(_AVERAGES[-1])).is_file()


def sum_of(one: ForwardModel, images: int) -> ForwardModel:
    """How a sum of images was taken."""
    return ForwardModel(one.sensor, Exposure(one.exposure.count_time, one.exposure.most_cycles * images))


def coarse(sensor: Sensor, side: int) -> Sensor:
    """An array whose pixels are several of another one's."""
    rows, columns = (length // side for length in sensor.shape)
    maps = torch.ones(rows, columns), torch.zeros(rows, columns)
    return Sensor(sensor.name, *maps, sensor.dead_time, sensor.counter_bits, measured=False)
