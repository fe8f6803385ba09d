"""Measures methods against each other on pictures: simulated counts in, restored pictures out, errors counted."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from noise_model.errors import InputError
from spadsr.evaluation.conditions import Condition
from spadsr.evaluation.methods import Answer, Method
from spadsr.evaluation.metrics import Image, Radiometry, block_mean, coverage, psnr, ssim

_SMALLEST = 64  # pixels on a side: at x16 four native pixels remain
_NATIVE = 128  # at most, on a side


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
    model = condition.model((native.shape[0], native.shape[1]))
    generator = torch.Generator().manual_seed(_seed(seed, name, condition))
    counts = model.sample(native * white, generator).numpy()
    for method, restore in methods.items():
        answer = restore(counts, model, condition.scale)
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
