"""Measures methods against each other on pictures: simulated counts in, restored pictures out, errors measured."""

import hashlib
import itertools
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch

from noise_model.arrays import Counts, Picture
from noise_model.errors import InputError
from noise_model.executors import results, stop_asked, unpickled
from noise_model.forward_model import ForwardModel
from noise_model.image_files import photograph
from noise_model.plain_text import encodable
from noise_model.progress import Report, silent
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.methods import Answer, Method
from spadsr.evaluation.metrics import Radiometry, block_mean, coverage, psnr, ssim

_SMALLEST = 64  # pixels on a side: at x16 four native pixels remain
_NATIVE = 128  # at most, on a side
_TASKS = 64  # at most, nearly, that pictures are shared out in


@dataclass(frozen=True)
class Row:
    """The errors of one picture, restored by one method under one condition.

    PSNR is in dB; without error bars the last three are None.

    Attributes:
        total_ratio: total rate of the answer over that of the truth.
        within_68, within_95: shares of pixels within one and within k standard uncertainties.
        sharpness: mean standard uncertainty over white.
    """

    image: str
    condition: Condition
    method: str
    psnr: float
    ssim: float
    total_ratio: float
    within_68: float | None
    within_95: float | None
    sharpness: float | None


@dataclass(frozen=True)
class RecordedPicture:
    """A picture as the array of a condition recorded it.

    Attributes:
        image: name of the picture.
        white: detection rate of white, counts/s.
        truth: (s H, s W) rates over white at the scale of the condition.
        model: the array in its exposure.
        counts: (H, W).
    """

    image: str
    condition: Condition
    white: float
    truth: Picture
    model: ForwardModel
    counts: Counts

    def row(self, method: str, answer: Answer) -> Row:
        """The errors of a method's answer against the truth."""
        rate = answer.rate / np.float32(self.white)
        total = float(rate.sum(dtype=np.float64) / self.truth.sum(dtype=np.float64))
        fidelity = psnr(rate, self.truth), ssim(rate, self.truth)
        return Row(self.image, self.condition, method, *fidelity, total, *self._honesty(answer, rate))

    def _honesty(self, answer: Answer, rate: Picture) -> tuple[float | None, float | None, float | None]:
        """Shares within one and within k uncertainties, and the mean uncertainty over white."""
        if answer.uncertainty is None:
            return None, None, None
        uncertainty = answer.uncertainty / np.float32(self.white)
        within_68 = coverage(rate, uncertainty, self.truth, 1.0)
        within_95 = coverage(rate, uncertainty, self.truth, answer.coverage_factor)
        return within_68, within_95, float(uncertainty.mean())


@dataclass
class Evaluation:
    """The errors of methods on pictures.

    Attributes:
        rows: one for every picture, condition and method.
        radiometry: of every condition and method, pooled over the pictures.
        skipped: files that are not pictures, and why.
        seconds: that each image took, by method.
    """

    rows: list[Row] = field(default_factory=list)
    radiometry: dict[tuple[Condition, str], Radiometry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, recording: RecordedPicture, method: str, answer: Answer, seconds: float) -> None:
        """Measures a method's answer to a recording."""
        self.seconds.setdefault(method, []).append(seconds)
        self.rows.append(recording.row(method, answer))
        radiometry = self.radiometry.setdefault((recording.condition, method), Radiometry())
        radiometry.add(answer.rate / np.float32(recording.white), recording.truth)

    def join(self, other: Self) -> None:
        """Takes over what was measured of other pictures."""
        self.rows += other.rows
        self.skipped |= other.skipped
        for method, seconds in other.seconds.items():
            self.seconds.setdefault(method, []).extend(seconds)
        for key, radiometry in other.radiometry.items():
            self.radiometry.setdefault(key, Radiometry()).join(radiometry)


def evaluate(
    folder: Path,
    conditions: Sequence[Condition],
    methods: Mapping[str, Method],
    seed: int = 0,
    limit: int | None = None,
    progress: Report = silent,
    executor: Executor | None = None,
) -> Evaluation:
    """Runs every method on every picture of a folder under every condition.

    The pictures' grey values over 255 are relative flux. They are cropped about their centre to a multiple of 16
    pixels, so that at most 128 native pixels on a side are simulated; at scales below 4 block means are the truth.
    Random counts depend on the seed, the picture's name and the condition alone.

    Args:
        limit: the number of pictures to use, the first ones; None uses all.
        progress: called with the number of rows done and that of all.
        executor: measures the pictures; without one this process does.

    Raises:
        InputError: no folder, no picture in it, or a flux that the array cannot reach.
        SchedulerLost: as `noise_model.executors.results`.
    """
    from simulate.scenes import photographs

    task = _Task(folder, tuple(conditions), {each: each.white_rate() for each in conditions}, dict(methods), seed)
    source, corrupt = photographs(folder, seed=0)
    paths = source.paths[:limit]
    rows, number = len(paths) * len(conditions) * len(methods), itertools.count(1)
    found = list(_measured(task, list(enumerate(paths)), executor, lambda: progress(next(number), rows)))
    result = Evaluation(skipped={str(path): "cannot be read as an image" for path in corrupt})
    for _, measured in sorted(found, key=lambda each: each[0]):
        result.join(measured)
    if not result.rows:
        raise InputError(f"{folder}: no usable picture; expected images of at least {_SMALLEST} pixels a side")
    return result


@dataclass(frozen=True)
class _Task:
    """What is measured of every picture."""

    folder: Path
    conditions: tuple[Condition, ...]
    white: dict[Condition, float]
    methods: dict[str, Method]
    seed: int

    def measure(self, path: Path, tick: Callable[[], None]) -> Evaluation:
        """Measures one picture; `tick` is called after each row."""
        result = Evaluation()
        name = encodable(path.relative_to(self.folder).as_posix())
        for _, picture in usable([path], result.skipped):
            for condition in self.conditions:
                recording = _recorded(name, picture, condition, self.white[condition], self.seed)
                for method, restore in self.methods.items():
                    began = time.perf_counter()
                    answer = restore(recording.counts, recording.model, condition.scale)
                    result.add(recording, method, answer, time.perf_counter() - began)
                    tick()
        return result


def _measured(
    task: _Task, paths: list[tuple[int, Path]], executor: Executor | None, tick: Callable[[], None]
) -> Iterator[tuple[int, Evaluation]]:
    """The measurements of each picture, with its number, as they are done."""
    if executor is None:
        yield from ((number, task.measure(path, tick)) for number, path in paths)
        return
    pickled = pickle.dumps(task)  # once: networks are large
    some = max(1, len(paths) // _TASKS)
    parts = [paths[start : start + some] for start in range(0, len(paths), some)]
    for found in results(executor, _measure, [(pickled, part) for part in parts]):
        for _ in range(sum(len(measured.rows) for _, measured in found)):
            tick()
        yield from found


def _measure(pickled: bytes, paths: list[tuple[int, Path]]) -> list[tuple[int, Evaluation]]:
    """Measures pictures in a process of an executor."""
    torch.set_num_threads(1)
    task: _Task = unpickled(pickled)
    return [(number, task.measure(path, lambda: None)) for number, path in paths if not stop_asked()]


def scene(picture: Picture, scale: int) -> Picture:
    """The truth at `scale`: the centre of a picture, or its block means where the whole would take too many pixels."""
    largest = min(_NATIVE * max(scale, 4), 1024)
    height, width = (min(side, largest) // 16 * 16 for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return block_mean(picture[top : top + height, left : left + width], max(4 // scale, 1))


def _recorded(name: str, picture: Picture, condition: Condition, white: float, seed: int) -> RecordedPicture:
    truth = scene(picture, condition.scale)
    native = torch.from_numpy(block_mean(truth, condition.scale))
    model = condition.model((native.shape[0], native.shape[1]))
    key = hashlib.sha256(f"{seed} {name} {condition}".encode()).digest()[:8]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
    return RecordedPicture(name, condition, white, truth, model, model.sample(native * white, generator).numpy())


def usable(paths: Sequence[Path], skipped: dict[str, str]) -> Iterator[tuple[Path, Picture]]:
    """Pictures as relative flux, one at a time; those that cannot be measured on are added to `skipped`."""
    for path in paths:
        grey = photograph(path).astype(np.float32)
        if min(grey.shape) < _SMALLEST or not grey.any():
            skipped[str(path)] = f"{grey.shape[0]} x {grey.shape[1]}; at least {_SMALLEST} a side, not black, needed"
        else:
            yield path, grey / np.float32(255)
