"""Whether a scene changes within a sum: from the counts alone, in a moment, without a picture of it.

At rest the counts of a pixel vary over time by chance alone, whose size is known. Residuals against the pixel's own
mean are gathered over neighbours (a Gaussian) and over slow waves in time (cosines): motion moves them together, chance
does not. A lamp that flickers changes all pixels by one factor, which is taken out; a pixel that blinks alone is the
sensor's and is left out.

Source: Pearson's test of homogeneity, Phil. Mag. 50 (1900) 157.
"""

from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.moments import moments
from spadsr.motion.blocks import Blocks
from spadsr.motion.motion import Change
from spadsr.motion.standing import second_brightest

_T = TypeVar("_T", np.float32, np.float64)

_MOST_BLOCKS, _FEWEST_BLOCKS = 32, 4
_FEWEST_COUNTS = 1.0  # of a pixel in all blocks: fewer vary by other laws than those of squares of normal numbers
_WIDTH = 1.5  # native pixels, of the Gaussian over neighbours
_WAVES = (2, 8, 31)  # how many of the slowest waves are looked at together
_STANDARD_ERRORS = 4.0
_UNKNOWN = 1.02  # times the variance: afterpulses and crosstalk that nobody told of
_TANGENT = 0.8  # native pixels, of the picture whose slopes say what a shift changes
_ALONE = 3.0  # times as much as its neighbours
_LEAST_SIDE = 3  # pixels: with fewer there are none but those at the edges, of which slopes are not known


def change_within(blocks: Blocks) -> Change:
    """How much the scene changes from block to block."""
    blocks = blocks if len(blocks) <= _MOST_BLOCKS else blocks.joined(-(-len(blocks) // _MOST_BLOCKS))
    good = blocks.good
    total = blocks.counts.sum(axis=0, dtype=np.int64) * good
    if len(blocks) < _FEWEST_BLOCKS or not good.any() or total[good].mean() < _FEWEST_COUNTS:
        return Change()
    variance = _variance(blocks, total)
    waves = _waves(blocks, total, good)
    mean = total / len(blocks)
    used = good & ~_blinking(waves, variance)
    waves *= used[..., None]
    return Change(*_of_neighbours(waves, variance, mean, used), *_of_all(waves, variance, mean, used))


def _waves(blocks: Blocks, total: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(H, W, G - 1), slow waves in time first: of residuals against each pixel's mean, for an even brightness."""
    counts = blocks.counts.reshape(len(blocks), -1)
    whole = counts.sum(axis=1, dtype=np.float64, where=good.ravel())
    evened = _cosines(len(blocks)) / np.sqrt(np.maximum(whole / whole.mean(), 0.1))
    mean = np.outer(total, evened @ (whole / whole.sum()))
    waves = (counts.astype(np.float32).T @ evened.astype(np.float32).T - mean) * good.reshape(-1, 1)
    return np.asarray(waves.reshape(*good.shape, -1), np.float32)


@cache
def _cosines(blocks: int) -> Floats:
    """(G - 1, G), orthonormal cosines over G blocks, but for the constant one."""
    wave, block = np.indices((blocks - 1, blocks))
    return np.asarray(np.sqrt(2 / blocks) * np.cos(np.pi / blocks * (wave + 1) * (block + 0.5)))


def _of_neighbours(
    waves: NDArray[np.float32], variance: Floats, counts: Floats, used: NDArray[np.bool_]
) -> tuple[float, float]:
    """Standard errors above chance, and rms change, of what neighbours count together."""
    noise = _gathered(variance * used, _WIDTH / np.sqrt(2)) / (4 * np.pi * _WIDTH**2)  # a Gaussian squared is narrower
    energy = np.square(_gathered(waves, _WIDTH)).reshape(used.size, -1)
    weights = np.stack([used / np.maximum(noise, 1e-9), used]).reshape(2, -1)
    square, power_of = (weights.astype(np.float32) @ energy).astype(np.float64)
    square, excess = square / used.sum(), power_of - noise[used].sum()
    level = float(np.square(_gathered(counts * used, _WIDTH))[used].sum())
    independent = used.sum() / (2 * np.pi * _WIDTH**2)
    found = 0.0, 0.0
    for slowest in _WAVES:
        some = square[:slowest]
        errors = _standard_errors(float(some.mean()) / _UNKNOWN, len(some) * independent)
        power = float(excess[:slowest].sum() / (len(square) + 1) / level)
        found = max(found, (errors, float(np.sqrt(max(power, 0)))))
    return found


def _of_all(
    waves: NDArray[np.float32], variance: Floats, counts: Floats, used: NDArray[np.bool_]
) -> tuple[float, float]:
    """Standard errors above chance, and rms shift in pixels, of what a shift or turn of the whole scene explains."""
    if min(counts.shape) < _LEAST_SIDE:
        return 0.0, 0.0
    picture = _gathered(counts * used, _TANGENT) / np.maximum(_gathered(used.astype(np.float64), _TANGENT), 1e-3)
    down, right = np.gradient(picture)
    row, column = np.indices(picture.shape)
    turned = right * (row + 0.5 - picture.shape[0] / 2) - down * (column + 0.5 - picture.shape[1] / 2)
    inner = used.copy()
    inner[[0, -1]] = inner[:, [0, -1]] = False
    tangents = (np.stack([down, right, turned]) * inner).reshape(3, -1)
    weighted = tangents / np.maximum(variance, 1e-3).ravel()
    information = weighted @ tangents.T + 1e-6 * np.eye(len(tangents))
    slopes = (weighted.astype(np.float32) @ waves.reshape(used.size, -1)).T.astype(np.float64)
    moved = np.linalg.solve(information, slopes.T).T
    square = (slopes * moved).sum(axis=1)
    chance = np.linalg.inv(information).diagonal()[:2].sum()
    found = 0.0, 0.0
    for slowest in _WAVES:
        some = square[:slowest]
        errors = _standard_errors(float(some.mean()) / len(tangents), len(tangents) * len(some))
        power = float((np.square(moved[:slowest, :2]).sum(axis=1) - chance).sum() / (len(slopes) + 1))
        found = max(found, (errors, float(np.sqrt(max(power, 0)))))
    return found


def _standard_errors(mean_square: float, degrees: float) -> float:
    """How far a mean of squares of normal numbers is above 1, as a normal number would be.

    Source: Wilson and Hilferty, PNAS 17 (1931) 684.
    """
    spread = 2 / (9 * degrees)
    return float((np.cbrt(mean_square) - (1 - spread)) / np.sqrt(spread))


def _variance(blocks: Blocks, total: NDArray[np.int64]) -> Floats:
    """Variance (H, W) of the counts of a mean block, by the law of counts with the mean that was counted.

    That mean is known from n frames only: for a binary array the variance is on average (n - 1) / n of the true one.
    """
    frames, all_frames = int(blocks.frames.mean()), int(blocks.frames.sum())
    table = moments(blocks.model(frames).process, 4 * float(total.max()) / all_frames)
    mean, known = total / len(blocks), all_frames / (all_frames - 1) if blocks.sensor.binary else 1.0
    return np.asarray(known * np.interp(mean, table.mean, table.variance))


def _blinking(waves: NDArray[np.float32], variance: Floats) -> NDArray[np.bool_]:
    """Pixels that vary by more than chance while at most one of their neighbours does as much."""
    own = np.einsum("...k,...k->...", waves, waves) / np.maximum(variance, 0.5)
    degrees = waves.shape[-1]
    return np.asarray(
        (own > degrees + _STANDARD_ERRORS * np.sqrt(2 * degrees)) & (own > _ALONE * second_brightest(own))
    )


def _gathered(values: NDArray[_T], width: float) -> NDArray[_T]:
    """What neighbours have together, of one picture (H, W) or of many, (H, W, K)."""
    found = cv2.GaussianBlur(values, (0, 0), width, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(found, values.dtype).reshape(values.shape)
