"""What a recording says itself: some of its frames, restored, predict the frames left out. No truth is needed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2

from hardware.captures.capture import BLOCK_BYTES, Capture, open_capture
from noise_model.arrays import Counts, Floats, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.experiment import OURS, Data, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.table import who_won
from spadsr.restoration.restorer import hot_in

PSNR = Measure("PSNR", "dB", tie=0.1)
COUNTS, BLUR = "plain counts", "best blur"

_SIGMAS = (0.5, 0.8, 1.2, 1.8, 2.5, 3.5)  # pixels: no one can know which is best, so the opponent may look
_BINNED, _LARGE = 4, 128  # pixels together, of arrays with so many on each side
_MOST_LINES = 3  # of pictures
_MOST_SUMS, _MOST_PIXELS = 10, 100_000  # that are restored of each N
_STILL, _LEAST_EXCESS = 0.95, 1.25  # share of the pixels at rest that are kept; variance over chance that is borne
_AVERAGE = "average{:03d}_left.png"
_AVERAGES = (1, 4, 16, 64, 256)


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

    def noise(self) -> Floats:
        """Variance (H, W) of the mean counts of an image left out, by chance alone."""
        rates = _sum_of(self.one, self.left).detection_rate(torch.from_numpy(self.others))[0].clamp(min=0)
        return np.asarray(self.one.moments(rates)[1] / self.left)

    def error(self, mean: Floats) -> float:
        """Mean square error of predicted mean counts of an image (H, W), what chance adds to it subtracted.

        It is no smaller than chance lets it be seen.
        """
        noise = float(self.noise()[self.judged].mean())
        square = float(np.square(mean - self.others / self.left)[self.judged].mean())
        return max(square - noise, noise * float(np.sqrt(2 / self.judged.sum())))

    def white(self) -> float:
        """Counts of an image that one of a hundred pixels exceeds."""
        return float(np.percentile((self.others / self.left)[self.judged], 99)) or 1.0

    def predictions(self, task: Task, scale: int) -> Iterator[tuple[str, Floats]]:
        """By method, the mean counts of an image (H, W), from counts of so many pixels together on a side."""
        height, width = self.some.shape
        native = self.some.reshape(height // scale, scale, width // scale, scale).sum(axis=(1, 3))
        sensor = self.one.sensor if scale == 1 else _coarse(self.one.sensor, scale)
        taken = _sum_of(ForwardModel(sensor, self.one.exposure), self.images * scale * scale)
        for name, restore in task.methods(native.size).items():
            rate = restore(native, taken, scale).rate
            mean = self.one.expected_counts(torch.from_numpy(np.maximum(rate, 0))).double().numpy()
            if name != "bicubic":
                yield name, mean
                continue
            mean = self.some / self.images if scale == 1 else mean
            yield COUNTS if scale == 1 else name, mean
            yield from ((f"{BLUR} {sigma}", gaussian_filter(mean, sigma)) for sigma in _SIGMAS)


def run(task: Task) -> Outcome:
    """Measures on a recording, on averages of one scene that lie within each other, or on a drawn recording."""
    if task.data is None:
        return _measured(task, _splits_of(_Images(*_drawn(task.seed)), task.frames))
    if (task.data / _AVERAGE.format(_AVERAGES[-1])).is_file():
        return _measured(task, _splits_of_averages(task.data, task.frames))
    with open_capture(task.data) as capture:
        return left_out(capture, task)


def left_out(capture: Capture, task: Task) -> Outcome:
    """Measures on an opened recording; the task's frames are images summed.

    Raises:
        InputError: it has pixels with frames of their own, or too few images.
    """
    if capture.mapped:
        raise InputError(
            f"{capture.path}: merged counts, whose images have no frames to leave out; expected a recording"
        )
    scenes = capture.summed(1)
    return _measured(task, _splits_of(_Images(scenes, ForwardModel(scenes.sensor, scenes.exposure)), task.frames))


@dataclass(frozen=True)
class _Images:
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


def _splits_of(images: _Images, sums: Sequence[int]) -> dict[int, list[Split]]:
    """For each number of images summed, some sums, evenly spread over the recording."""
    number, usable = images.number, [each for each in sums if 2 * each <= images.number]
    if not usable:
        raise InputError(
            f"{number} images: too few to leave as many out as are used; expected {2 * min(sums)}", "frames"
        )
    total, squares = images.sums(0, number)
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
    whole = _sum_of(one, images)
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


def _splits_of_averages(folder: Path, sums: Sequence[int]) -> dict[int, list[Split]]:
    """The averages of few frames, and the frames of the longest that they leave."""
    found, every = {}, _average(folder, _AVERAGES[-1])
    rows, columns = (side - side % (8 * _BINNED) for side in every.shape)
    sensor = Sensor("SwissSPAD2", torch.ones(rows, columns), torch.zeros(rows, columns), 0.0, 1, measured=False)
    one, every = ForwardModel(sensor, Exposure(1.0)), every[:rows, :columns]
    judged = hot_in(torch.from_numpy(every)[None], _sum_of(one, _AVERAGES[-1]))[0] == 0
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


def _measured(task: Task, splits: dict[int, list[Split]]) -> Outcome:
    """The figures of every method for every N, at the resolution of the array and, of large ones, from 4x4 pixels."""
    [first, *_] = next(iter(splits.values()))
    scales = [1] + [_BINNED] * (min(first.some.shape) >= _LARGE)
    steps, done, rows = len(scales) * sum(map(len, splits.values())), 0, list[Row]()
    pictures: dict[str, dict[str, Panel]] = {}
    for scale in scales:
        condition = "x1" if scale == 1 else f"{scale}x{scale} pixels as one, x{scale}"
        for images, some in splits.items():
            errors: defaultdict[str, list[float]] = defaultdict(list)
            for split in some:
                shown = dict(split.predictions(task, scale))
                for name, mean in shown.items():
                    errors[name].append(split.error(mean))
                done += 1
                task.progress(done, steps)
            white, frames = np.mean([split.white() for split in some]), images * first.one.exposure.most_cycles
            best = min(
                (name for name in errors if name.startswith(BLUR)), key=lambda name: float(np.mean(errors[name]))
            )
            kept = {
                BLUR if name == best else name: name for name in errors if name == best or not name.startswith(BLUR)
            }
            for method, name in kept.items():
                level = float(-10 * np.log10(np.mean(errors[name]) / white**2))
                rows.append(Row(frames, method, {PSNR: level}, condition if len(scales) > 1 else ""))
            panels = {method: Panel(_picture(shown[name]), 0, float(white)) for method, name in kept.items()}
            panels["the frames left out"] = Panel(_picture(split.others / split.left), 0, float(white))
            pictures[f"N = {frames:,}" + (f", x{scale}" if len(scales) > 1 else "")] = panels
    shares = {"judged_pixels": float(first.judged.mean()), "sums": {str(n): len(some) for n, some in splits.items()}}
    few = dict(list(pictures.items())[-_MOST_LINES:])
    return Outcome(rows, few, _sentence(rows, float(first.judged.mean())), shares)


def _sentence(rows: Sequence[Row], judged: float) -> str:
    """Who won, how much better than plain counts, and at which N."""
    said = []
    for condition in dict.fromkeys(row.condition for row in rows):
        part = [row for row in rows if row.condition == condition]
        ours = {row.frames: row.values[PSNR] for row in part if row.method == OURS}
        best = max(ours, key=lambda frames: ours[frames])
        said.append(
            f"{condition + ': ' if condition else ''}{who_won(part, PSNR)}; N = {best:,} is best ({ours[best]:.1f} dB)"
        )
    aside = "" if judged > 0.5 else f" (of {judged:.0%} of the pixels: the others move, or are hot)"
    return "; ".join(said) + aside


def _picture(mean: Floats) -> Picture:
    return np.asarray(mean, np.float32)


def _sum_of(one: ForwardModel, images: int) -> ForwardModel:
    """How a sum of images was taken."""
    return ForwardModel(one.sensor, Exposure(one.exposure.count_time, one.exposure.most_cycles * images))


def _coarse(sensor: Sensor, side: int) -> Sensor:
    """An array whose pixels are several of another one's."""
    rows, columns = (length // side for length in sensor.shape)
    maps = torch.ones(rows, columns), torch.zeros(rows, columns)
    return Sensor(sensor.name, *maps, sensor.dead_time, sensor.counter_bits, measured=False)


def _drawn(seed: int) -> tuple[Counts, ForwardModel]:
    """A photograph, seen by a simulated SPC3 in 128 images (T, H, W), its settings all that is known of it."""
    import cv2
    from skimage.data import camera

    model = ForwardModel(Sensor.load("spc3"), Exposure(10.4e-6))
    grey = camera()[:, 128:384].astype(np.float32) / np.float32(255)  # type: ignore[no-untyped-call]
    light = cv2.resize(grey, (32, 64), interpolation=cv2.INTER_AREA) / np.float32(model.exposure.count_time)
    rates = torch.from_numpy(np.broadcast_to(light, (128, 64, 32)).copy())
    counts = model.sample(rates, torch.Generator().manual_seed(seed)).numpy()
    known = Sensor(
        "SPC3",
        torch.ones(64, 32),
        torch.zeros(64, 32),
        model.sensor.dead_time,
        model.sensor.counter_bits,
        measured=False,
    )
    return counts, ForwardModel(known, model.exposure)


DATA = Data(
    "a recording of a scene at rest in any known format, or the folder of the averages of a SwissSPAD2"
    " (average001_left.png to average256_left.png)",
    "your own camera; averages: github.com/WISION-Lab/spclowlight",
    "0.1 MB",
    "none is needed",
    "averages: none stated",
)

LEFT_OUT = Experiment(
    "leftout",
    "some frames of your own recording, restored, predict the others: who predicts best, from how many (N: images)",
    "a photograph seen by a simulated SPC3",
    DATA,
    (1, 4, 16, 64),
    40,
    run,
)
