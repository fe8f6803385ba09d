"""Measures methods against each other on pictures: simulated counts in, restored pictures out, errors counted."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.response import expected_counts
from noise_model.sampling import sample_counts
from noise_model.sensor import Exposure, Sensor
from spadsr.baselines import BASELINES, Baseline, Counts
from spadsr.metrics import Image, Radiometry, coverage, psnr, ssim
from spadsr.network import SCALES
from spadsr.pretrained import ENLARGERS, enlarged_by
from spadsr.restorer import Restorer

Mode: TypeAlias = Literal["binary", "counting"]


@dataclass(frozen=True)
class Answer:
    """Rate (s H, s W), counts/s; if the method gives it, its standard uncertainty and the factor that covers 95 %."""

    rate: Image
    uncertainty: Image | None = None
    coverage_factor: float = math.nan


#: counts (H, W), exposure, sensor, scale -> answer.
Method: TypeAlias = Callable[[Counts, Exposure, Sensor, int], Answer]

_COUNT_TIMES: Mapping[Mode, float] = {"binary": 10e-6, "counting": 17.5 * 50e-9}
_DEAD_TIME = 50e-9
_SMALLEST = 64  # pixels on a side: at x16 four native pixels remain
_NATIVE = 128  # at most, on a side


@dataclass(frozen=True)
class Condition:
    """How pictures are taken: an ideal array (equal pixels, no dark counts), N = `frames` summed, a white pixel
    detecting `flux` photons a frame on average, restored at `scale`."""

    mode: Mode
    scale: int
    flux: float
    frames: int

    @property
    def exposure(self) -> Exposure:
        return Exposure(_COUNT_TIMES[self.mode], self.frames)

    def sensor(self, shape: tuple[int, int]) -> Sensor:
        """Binary: one bit, no dead time. Counting: 8 bits, 50 ns dead time, exposure 17.5 times as long."""
        binary = self.mode == "binary"
        bits, dead_time = (1, 0.0) if binary else (8, _DEAD_TIME)
        return Sensor(f"ideal {self.mode}", torch.ones(shape), torch.zeros(shape), dead_time, bits)

    def white_rate(self) -> float:
        """Detection rate of white, counts/s.

        Raises:
            InputError: no rate gives so many counts a frame.
        """
        from scipy.optimize import brentq

        one, sensor = Exposure(self.exposure.count_time), self.sensor((1, 1))
        most = 1.0 if self.mode == "binary" else one.count_time / _DEAD_TIME
        if not 0 < self.flux < 0.99 * most:
            raise InputError(
                f"--flux {self.flux:g}: expected more than 0 and less than {0.99 * most:g} for {self.mode}"
            )

        def excess(rate: float) -> float:
            return float(expected_counts(torch.tensor([[rate]], dtype=torch.float64), one, sensor)) - self.flux

        return float(brentq(excess, 0, 1e4 / one.count_time, rtol=1e-9))


@dataclass(frozen=True)
class Row:
    """One picture, restored by one method under one condition. PSNR in dB; without error bars the last three are None.

    Attributes:
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


@dataclass
class Evaluation:
    """All that was measured.

    Attributes:
        rows: one for every picture, condition and method.
        radiometry: pooled over the pictures.
        skipped: files that are not pictures, and why.
    """

    rows: list[Row] = field(default_factory=list)
    radiometry: dict[tuple[Condition, str], Radiometry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def conditions_of(mode: Mode, scales: Sequence[int], fluxes: Sequence[float], frames: Sequence[int]) -> list[Condition]:
    """Every combination.

    Raises:
        InputError: no such scale, or a number of frames that cannot be.
    """
    for scale in scales:
        if scale not in SCALES:
            raise InputError(f"--scales {scale}: not available; choose from {', '.join(map(str, SCALES))}")
    if min(frames) < 1:
        raise InputError(f"--frames {min(frames)}: expected 1 or more frames summed")
    return [Condition(mode, *values) for values in itertools.product(scales, fluxes, frames)]


def methods_named(names: Sequence[str], networks: Mapping[str, Restorer]) -> dict[str, Method]:
    """The named methods, which are baselines or one of the networks.

    Raises:
        InputError: no such method.
    """
    baselines = {**BASELINES, **{name: enlarged_by(name) for name in ENLARGERS}}
    known: dict[str, Method] = {name: _without_sd(baseline) for name, baseline in baselines.items()}
    known |= {name: _network(restorer) for name, restorer in networks.items()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(f"--methods {unknown[0]}: no such method; choose from {', '.join(known)}")
    return {name: known[name] for name in names}


def evaluate(
    folder: Path,
    conditions: Sequence[Condition],
    methods: Mapping[str, Method],
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int, Row], None] = lambda done, total, row: None,
) -> Evaluation:
    """Runs every method on every picture of a folder under every condition.

    The pictures' grey values over 255 are relative flux. They are cropped about their centre to a multiple of 16
    pixels, so that at most 128 native pixels on a side are simulated; at scales below 4 block means are the truth.
    Draws depend on the seed, the picture's name and the condition alone.

    Args:
        limit: use the first so many pictures only.
        progress: called with the number of rows done, their total, and the latest.

    Raises:
        InputError: no folder, no picture in it, or a flux that cannot be.
    """
    from simulate.scenes import photographs

    white = {condition: condition.white_rate() for condition in conditions}
    source, corrupt = photographs(folder, seed=0)
    result = Evaluation(skipped={str(path): "cannot be read as an image" for path in corrupt})
    paths = source.paths[:limit]
    total = len(paths) * len(conditions) * len(methods)
    for path, picture in _usable(paths, result.skipped):
        name = path.relative_to(folder).as_posix()
        for condition in conditions:
            for row in _measured(name, picture, condition, white[condition], methods, seed, result.radiometry):
                result.rows.append(row)
                progress(len(result.rows), total, row)
    if not result.rows:
        raise InputError(f"{folder}: no usable picture; expected images of at least {_SMALLEST} pixels a side")
    return result


def _measured(
    name: str,
    picture: Image,
    condition: Condition,
    white: float,
    methods: Mapping[str, Method],
    seed: int,
    radiometry: dict[tuple[Condition, str], Radiometry],
) -> Iterator[Row]:
    truth = scene(picture, condition.scale)
    native = torch.from_numpy(block_mean(truth, condition.scale))
    sensor = condition.sensor((native.shape[0], native.shape[1]))
    generator = torch.Generator().manual_seed(_seed(seed, name, condition))
    counts = sample_counts(native * white, condition.exposure, sensor, generator).numpy()
    for method, restore in methods.items():
        answer = restore(counts, condition.exposure, sensor, condition.scale)
        rate = answer.rate / np.float32(white)
        radiometry.setdefault((condition, method), Radiometry()).add(rate, truth)
        total = float(rate.sum(dtype=np.float64) / truth.sum(dtype=np.float64))
        fidelity = psnr(rate, truth), ssim(rate, truth)
        yield Row(name, condition, method, *fidelity, total, *_honesty(answer, rate, truth, white))


def _honesty(
    answer: Answer, rate: Image, truth: Image, white: float
) -> tuple[float | None, float | None, float | None]:
    """Shares within one and within k uncertainties, and the mean uncertainty over white."""
    if answer.uncertainty is None:
        return None, None, None
    uncertainty = answer.uncertainty / np.float32(white)
    within_68, within_95 = (coverage(rate, uncertainty, truth, factor) for factor in (1.0, answer.coverage_factor))
    return within_68, within_95, float(uncertainty.mean())


def scene(picture: Image, scale: int) -> Image:
    """The truth at `scale`: the centre of a picture, or its block means where the whole would take too many pixels."""
    largest = min(_NATIVE * max(scale, 4), 1024)
    height, width = (min(side, largest) // 16 * 16 for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return block_mean(picture[top : top + height, left : left + width], max(4 // scale, 1))


def block_mean(image: Image, side: int) -> Image:
    """Means over blocks of side x side pixels."""
    height, width = image.shape
    blocks = image.reshape(height // side, side, width // side, side)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def _seed(seed: int, name: str, condition: Condition) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {condition}".encode()).digest()[:8], "little") >> 1


def _usable(paths: Sequence[Path], skipped: dict[str, str]) -> Iterator[tuple[Path, Image]]:
    """Pictures as relative flux, one at a time; what cannot be measured on goes into `skipped`."""
    import cv2

    for path in paths:
        grey = np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE), dtype=np.float32)
        if min(grey.shape) < _SMALLEST or not grey.any():
            skipped[str(path)] = f"{grey.shape[0]} x {grey.shape[1]}; at least {_SMALLEST} a side, not black, needed"
        else:
            yield path, grey / np.float32(255)


def _without_sd(baseline: Baseline) -> Method:
    return lambda counts, exposure, sensor, scale: Answer(baseline(counts, exposure, sensor, scale))


def _network(restorer: Restorer) -> Method:
    def restore(counts: NDArray[np.integer], exposure: Exposure, sensor: Sensor, scale: int) -> Answer:
        image = torch.from_numpy(np.asarray(counts))[None]
        rate, uncertainty = restorer.restore(image, exposure, sensor, scale)
        factor = float(restorer.coverage_factor(image, exposure, sensor, scale))
        return Answer(rate[0].cpu().numpy(), uncertainty[0].cpu().numpy(), factor)

    return restore
