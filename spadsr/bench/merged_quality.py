"""How well a network restores merged counts, whose pixels were looked at for unequal times and by parts of a pixel.

Every picture is set beside that of a plain sum of the same exposure, on a known ideal array.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from noise_model.arrays import Floats, Picture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report
from noise_model.sensor import Exposure
from simulate.moving import sample_moving
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.evaluate import scene, usable
from spadsr.evaluation.metrics import block_mean, psnr
from spadsr.restoration.restorer import Restorer, in_pixels

#: Periods of the bars drawn, native pixels: a still array tells those from 2 on.
PERIODS = (4.0, 2.5, 1.75, 1.5, 1.25)

_SCALE = 4
_FEWEST = 16  # frames of the exposure for one of the pixels that looked least
_PARTS = (1, 2, 8, 16)  # sixteenths of the frames, of pixels at random
_STEPS = 32  # of a moving array
_MARGIN = 16  # pixels at x4, of which those of another exposure, or the edge, may have a say


@dataclass(frozen=True)
class MergedQuality:
    """The PSNR of a picture, dB, restored from merged counts and from a plain sum.

    Attributes:
        image: name of the picture.
        case: what was merged.
        merged, plain: of the same pixels.
    """

    image: str
    case: str
    merged: float
    plain: float


@dataclass(frozen=True)
class MeanQuality:
    """The means of a case over pictures, dB: of both, of their difference, and the standard error of that."""

    case: str
    merged: float
    plain: float
    difference: float
    error: float


@dataclass(frozen=True)
class Bars:
    """What is left of bars of one period, over their true amplitude.

    Attributes:
        period: native pixels.
        true: amplitude at the period drawn.
        false: amplitude at the coarser period that native pixels make of it; 0 where they make none.
    """

    case: str
    period: float
    true: float
    false: float


def merged_quality(
    pictures: Path, restorer: Restorer, flux: float, frames: int, limit: int | None, seed: int, progress: Report
) -> list[MergedQuality]:
    """Restores pictures at x4 from merged counts and from plain sums.

    Args:
        pictures: folder.
        flux: detections of white in one frame of a binary array.
        frames: N of a plain sum, a multiple of 32.
        limit: the number of pictures to use, the first ones; None uses all.
        progress: called with the number of pictures done and that of all.

    Raises:
        InputError: no picture, a flux that the array cannot reach, or frames that are no multiple of 32.
    """
    from simulate.scenes import photographs

    bench = _Bench(restorer, flux, frames, seed)
    source, _ = photographs(pictures, seed=0)
    paths, rows = source.paths[:limit], list[MergedQuality]()
    for done, (path, picture) in enumerate(usable(paths, {}), start=1):
        truth = scene(picture, _SCALE)
        rows += [MergedQuality(path.name, case, *both) for case, both in bench.compared(truth)]
        progress(done, len(paths))
    if not rows:
        raise InputError(f"{pictures}: no usable picture")
    return rows


def mean_of(rows: Sequence[MergedQuality]) -> list[MeanQuality]:
    """The means of every case over pictures."""
    means = []
    for case in dict.fromkeys(row.case for row in rows):
        pairs = np.array([(row.merged, row.plain) for row in rows if row.case == case])
        differences = pairs[:, 0] - pairs[:, 1]
        error = differences.std(ddof=1) / len(pairs) ** 0.5 if len(pairs) > 1 else np.nan
        merged, plain = pairs.mean(axis=0).tolist()
        means.append(MeanQuality(case, merged, plain, float(differences.mean()), float(error)))
    return means


def bars_left(restorer: Restorer, flux: float, frames: int, seed: int) -> list[Bars]:
    """Restores bars at x4, finer ones than native pixels tell among them, at rest and from an array that moves.

    Args:
        flux, frames: as of `merged_quality`.
    """
    bench = _Bench(restorer, flux, frames, seed)
    columns = (np.arange(256) + 0.5) / _SCALE
    rows = []
    for period in PERIODS:
        wave = np.sin(2 * np.pi * columns / period)
        truth = np.broadcast_to((0.5 + 0.45 * wave).astype(np.float32), (128, 256)).copy()
        pictures = {"at rest": bench.at_rest(truth, frames), "moving, places known": bench.moving(truth)[0]}
        rows += [Bars(case, period, *_amplitudes(each, columns, period)) for case, each in pictures.items()]
    return rows


class _Bench:
    """The array, its light, and the random numbers of a comparison."""

    def __init__(self, restorer: Restorer, flux: float, frames: int, seed: int) -> None:
        if frames % _STEPS:
            raise InputError(f"frames {frames}: expected a multiple of {_STEPS}", "frames")
        self.restorer, self.frames = restorer, frames
        self.condition = Condition("binary", _SCALE, flux, frames)
        self.white = self.condition.white_rate()
        self.generator = torch.Generator().manual_seed(seed)

    def compared(self, truth: Picture) -> Iterator[tuple[str, tuple[float, float]]]:
        """(case, PSNR of merged counts and of a plain sum) of a picture."""
        few, many = self.frames // _FEWEST, self.frames
        upper = np.s_[: truth.shape[0] // (2 * _SCALE)]
        halves = torch.full(self._native(truth), many)
        halves[upper] = few
        both = self.at_rest(truth, halves)
        middle = truth.shape[0] // 2
        top, bottom = np.s_[_MARGIN : middle - _MARGIN], np.s_[middle + _MARGIN : -_MARGIN]
        yield f"half at N = {few}", (_psnr(both, truth, top), _psnr(self.at_rest(truth, few), truth, top))
        yield f"half at N = {many}", (_psnr(both, truth, bottom), _psnr(self.at_rest(truth, many), truth, bottom))
        parts = torch.tensor(_PARTS) * many // _FEWEST
        mixed = parts[torch.randint(len(_PARTS), self._native(truth), generator=self.generator)]
        mean = round(float(mixed.float().mean()))
        inner = np.s_[_MARGIN:-_MARGIN]
        named = ", ".join(map(str, parts.tolist()))
        pair = self.at_rest(truth, mixed), self.at_rest(truth, mean)
        yield f"{named} at random, beside their mean", (_psnr(pair[0], truth, inner), _psnr(pair[1], truth, inner))
        still = _psnr(self.at_rest(truth, many), truth, inner)
        known, blurred = self.moving(truth)
        yield "moving, places known, beside at rest", (_psnr(known, truth, inner), still)
        yield "moving, places not told, beside at rest", (_psnr(blurred, truth, inner), still)

    def at_rest(self, truth: Picture, cycles: int | Tensor) -> Picture:
        """The picture, over white, of counts in so many frames."""
        model = self._model(truth, cycles)
        rates = torch.from_numpy(block_mean(truth, _SCALE)) * self.white
        return self._restored(model.sample(rates, self.generator)[None], model)

    def moving(self, truth: Picture) -> tuple[Picture, Picture]:
        """Pictures, over white, of counts of an array that moves at random within a pixel: places told, and not."""
        model = self._model(truth, self.frames)
        path = [(row, column) for row, column in (torch.rand(_STEPS, 2, generator=self.generator) - 0.5).tolist()]
        counts, cycles = sample_moving(model, torch.from_numpy(truth)[None] * self.white, _SCALE, path, self.generator)
        placed = replace(model, exposure=replace(model.exposure, cycles=cycles))
        return self._restored(counts, placed), self._restored(in_pixels(counts, placed)[0], model)

    def _restored(self, counts: Tensor, model: ForwardModel) -> Picture:
        return np.asarray(self.restorer.answer(counts, model, _SCALE)[0][0].cpu() / self.white)

    def _model(self, truth: Picture, cycles: int | Tensor) -> ForwardModel:
        sensor = self.condition.model(self._native(truth)).sensor
        return ForwardModel(sensor, Exposure(self.condition.exposure.count_time, cycles))

    def _native(self, truth: Picture) -> tuple[int, int]:
        return truth.shape[0] // _SCALE, truth.shape[1] // _SCALE


def _psnr(picture: Picture, truth: Picture, rows: slice) -> float:
    return psnr(picture[rows], truth[rows])


def _amplitudes(picture: Picture, columns: Floats, period: float) -> tuple[float, float]:
    inner = slice(_MARGIN, -_MARGIN)
    profile, places = picture[inner, inner].mean(axis=0), columns[inner]
    frequency = 1 / period
    false = _amplitude(profile, places, 1 - frequency) if frequency > 0.5 else 0.0
    return _amplitude(profile, places, frequency), false


def _amplitude(profile: Picture, places: Floats, frequency: float) -> float:
    """Of a sine of that frequency (over native pixels) by least squares, over 0.45."""
    angle = 2 * np.pi * frequency * places
    design = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle)], axis=1)
    sine, cosine, _ = np.linalg.lstsq(design, profile.astype(np.float64), rcond=None)[0]
    return float(np.hypot(sine, cosine) / 0.45)
