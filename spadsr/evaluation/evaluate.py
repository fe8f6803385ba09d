"""Measures methods against each other on pictures: simulated counts in, restored pictures out, errors measured."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from noise_model.arrays import Counts, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.image_files import photograph
from noise_model.plain_text import encodable
from noise_model.progress import Report, silent
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.methods import Answer, Method
from spadsr.evaluation.metrics import Radiometry, block_mean, coverage, psnr, ssim

_SMALLEST = 64  # pixels on a side: at x16 four native pixels remain
_NATIVE = 128  # at most, on a side


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
    """

    rows: list[Row] = field(default_factory=list)
    radiometry: dict[tuple[Condition, str], Radiometry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, recording: RecordedPicture, method: str, answer: Answer) -> None:
        """Measures a method's answer to a recording."""
        self.rows.append(recording.row(method, answer))
        radiometry = self.radiometry.setdefault((recording.condition, method), Radiometry())
        radiometry.add(answer.rate / np.float32(recording.white), recording.truth)


def evaluate(
    folder: Path,
    conditions: Sequence[Condition],
    methods: Mapping[str, Method],
    seed: int = 0,
    limit: int | None = None,
    progress: Report = silent,
) -> Evaluation:
    """Runs every method on every picture of a folder under every condition.

    The pictures' grey values over 255 are relative flux. They are cropped about their centre to a multiple of 16
    pixels, so that at most 128 native pixels on a side are simulated; at scales below 4 block means are the truth.
    Random counts depend on the seed, the picture's name and the condition alone.

    Args:
        limit: the number of pictures to use, the first ones; None uses all.
        progress: called with the number of rows done and that of all.

    Raises:
        InputError: no folder, no picture in it, or a flux that the array cannot reach.
    """
    from simulate.scenes import photographs

    white = {condition: condition.white_rate() for condition in conditions}
    source, corrupt = photographs(folder, seed=0)
    result = Evaluation(skipped={str(path): "cannot be read as an image" for path in corrupt})
    paths = source.paths[:limit]
    for path, picture in usable(paths, result.skipped):
        for condition in conditions:
            recording = _recorded(
                encodable(path.relative_to(folder).as_posix()), picture, condition, white[condition], seed
            )
            for name, method in methods.items():
                result.add(recording, name, method(recording.counts, recording.model, condition.scale))
                progress(len(result.rows), len(paths) * len(conditions) * len(methods))
    if not result.rows:
        raise InputError(f"{folder}: no usable picture; expected images of at least {_SMALLEST} pixels a side")
    return result


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
