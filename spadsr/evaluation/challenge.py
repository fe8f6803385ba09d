"""The measures of the Single Photon Challenge, on pairs of a photon cube and the picture of its last frame.

Pairs are SCENE/FRAME.npy, binary frames packed along rows, and SCENE/FRAME.png, in sRGB of 8 bits; PSNR and SSIM are
those of the pictures, and over them stand their mean, and what 5 % and 1 % of them do not reach (singlephotonchallenge
.com; SSIM there is not said to be of one window or another, here it is as published).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.capture import Capture, open_capture
from hardware.formats import npy
from hardware.parsing.packed_bits import PACKED
from hardware.parsing.source import blaming
from noise_model.arrays import Counts, Picture
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.forward_model import ForwardModel
from noise_model.image_files import decoded
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation.methods import Method
from spadsr.evaluation.metrics import psnr, ssim
from spadsr.evaluation.tables import markdown_page, write_csv

#: Mean detections of linear white in a frame, before a second one is lost, of the cubes of the challenge.
RESPONSE = 0.5

_COUNT_TIME = 1e-5  # s, of a frame; it cancels
_LOW = (0.05, 0.01)  # quantiles over pictures
_FRAMES = 64  # that are read at once

#: Headings of the table: the means and quantiles of PSNR, dB, and of SSIM.
COLUMNS = ["N", "method", "PSNR", "5 % low", "1 % low", "SSIM", "5 % low", "1 % low"]


@dataclass(frozen=True)
class Score:
    """The errors of a picture made of the last `frames` frames of its cube; PSNR in dB."""

    picture: str
    frames: int
    method: str
    psnr: float
    ssim: float


def pairs(folder: Path) -> list[Path]:
    """The cubes in a folder, and in those within it, that a picture of the same name lies beside."""
    return sorted(cube for cube in folder.rglob("*.npy") if cube.with_suffix(".png").is_file())


def scores(
    folder: Path,
    frames: Sequence[int],
    methods: Mapping[str, Method],
    limit: int | None = None,
    progress: Report = silent,
) -> list[Score]:
    """Restores the last frame of every cube of a folder from its last N frames, at its own resolution, and measures it.

    Args:
        limit: the number of pairs to use, the first ones; None uses all.
        progress: called with the number of scores found and that of all.

    Raises:
        InputError: a cube or a picture cannot be read, they do not fit each other, or a cube has fewer frames.
    """
    found, cubes = list[Score](), pairs(folder)[:limit]
    for cube in cubes:
        truth = _truth(cube.with_suffix(".png"))
        name = cube.relative_to(folder).with_suffix("").as_posix()
        for number, counts in _sums(cube, frames, truth.shape):
            for method, restore in methods.items():
                exposure = Exposure(_COUNT_TIME, number)
                picture = np.stack([_linear(restore, each, exposure) for each in counts], axis=-1)
                found.append(Score(name, number, method, *_errors(srgb(picture), truth)))
                progress(len(found), len(cubes) * len(set(frames)) * len(methods))
    return found


def srgb(linear: Picture) -> Picture:
    """Levels from 0 to 1 of a picture of 8 bits in sRGB, from linear light, 1 for white (IEC 61966-2-1)."""
    light = np.clip(linear, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * curve) / 255, np.float32)


def table(found: Sequence[Score]) -> list[list[str]]:
    """A row of `COLUMNS` for each number of frames and each method, in the order in which these came."""
    groups: dict[tuple[int, str], list[Score]] = {}
    for score in found:
        groups.setdefault((score.frames, score.method), []).append(score)
    rows = []
    for (frames, method), group in groups.items():
        fidelity, structure = ([getattr(score, name) for score in group] for name in ("psnr", "ssim"))
        figures = [f"{each:.2f}" for each in _low(fidelity)] + [f"{each:.4f}" for each in _low(structure)]
        rows.append([str(frames), method, *figures])
    return rows


def write_scores(found: Sequence[Score], folder: Path, header: Mapping[str, Any]) -> None:
    """Writes all scores as challenge.csv and their means and quantiles as challenge.md, each whole or not at all.

    Raises:
        InputError: the folder cannot be written to.
    """
    write_csv(folder / "challenge.csv", header, "picture frames method psnr ssim", map(astuple, found))
    page = markdown_page("Single Photon Challenge", header, [("All pictures", [COLUMNS, *table(found)])], numbers=True)
    with whole_file(folder / "challenge.md") as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")


def _low(values: Sequence[float]) -> tuple[float, ...]:
    """Mean, and what 5 % and 1 % do not reach."""
    return float(np.mean(values)), *(float(each) for each in np.quantile(values, _LOW))


def _truth(path: Path) -> Picture:
    """(H, W, C) levels from 0 to 1, red first where there are colours."""
    pixels = decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] < 3):
        raise InputError(f"{path}: expected a picture of 8 bits, grey or in colour; copy it again")
    levels = pixels[..., None] if pixels.ndim == 2 else pixels[..., 2::-1]
    return np.asarray(levels / np.float32(255), np.float32)


def _sums(cube: Path, frames: Sequence[int], shape: tuple[int, ...]) -> Iterator[tuple[int, list[Counts]]]:
    """The sums of the last N frames, fewest first, of each colour (H, W)."""
    with blaming(cube, npy.NAME), cube.open("rb") as file:
        stored = npy.header(file)[0]
    arrays = [None] if len(stored) == 3 else [str(1 + colour) for colour in range(stored[-1])]
    rows, columns, colours = shape
    size = (rows, (columns + 7) // 8)
    if stored[1:3] != size or len(arrays) != colours:
        raise InputError(
            f"{cube}: an array {stored}, but {cube.stem}.png has {rows} x {columns} pixels of {colours} colours;"
            f" expected frames packed along rows, {(stored[0], *size, colours)}"
        )
    if max(frames) > stored[0]:
        raise InputError(f"{cube}: {stored[0]} frames, but {max(frames)} are to be summed; sum fewer", "frames")
    sums, done = [np.zeros((rows, columns), np.int64) for _ in arrays], 0
    for number in sorted(set(frames)):
        for array, total in zip(arrays, sums, strict=True):
            with open_capture(cube, layout=PACKED, array=array, count_time=_COUNT_TIME) as capture:
                total += _sum(capture, stored[0] - number, stored[0] - done)[:, :columns]
        done = number
        yield number, [total.copy() for total in sums]


def _sum(capture: Capture, start: int, stop: int) -> NDArray[np.int64]:
    places = range(start, stop, _FRAMES)
    parts = (capture.read(each, min(each + _FRAMES, stop)).sum(axis=0, dtype=np.int64) for each in places)
    return sum(parts, np.zeros(capture.shape[1:], np.int64))


def _linear(restore: Method, counts: Counts, exposure: Exposure) -> Picture:
    """Linear light, 1 for white, that a method finds in counts (H, W)."""
    shape = counts.shape
    model = ForwardModel(Sensor("ideal binary", torch.ones(shape), torch.zeros(shape), 0.0, 1), exposure)
    return np.asarray(restore(counts, model, 1).rate * np.float32(_COUNT_TIME / RESPONSE))


def _errors(picture: Picture, truth: Picture) -> tuple[float, float]:
    structure = [ssim(picture[..., colour], truth[..., colour]) for colour in range(truth.shape[-1])]
    return psnr(picture, truth), float(np.mean(structure))
