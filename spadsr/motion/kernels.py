"""The inner loops of paths, compiled: scores of blocks under a picture, counts moved to a grid, evidence of bends.

They share a file because numba takes code on disk for current as long as the file of its function is.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.kernels import compiled


class Law(NamedTuple):
    """How counts of a hardware frame follow from its light x, over a grid even in the square root of x.

    With it a count k of n frames has the quasi-likelihood k (log mean + above) - n below.

    Attributes:
        rows: grid rows for each unit of the square root.
        mean, slope: counts of a frame, and their derivative.
        spread: variance over mean, of the counts of a block.
        above, below: integrals of (1 / spread - 1) / mean and of 1 / spread over the mean.
    """

    rows: float
    mean: Floats
    slope: Floats
    spread: Floats
    above: Floats
    below: Floats


class Pixels(NamedTuple):
    """The pixels that are used, P of them.

    Attributes:
        row, column: of their centres, from that of the array, native pixels.
        place: of each of them among all pixels, row by row.
        gain, dark: efficiency over the mean, and dark light in a frame.
        height, width: of the array.
    """

    row: Floats
    column: Floats
    place: NDArray[np.int64]
    gain: Floats
    dark: Floats
    height: int
    width: int


class Seen(NamedTuple):
    """What a native pixel of mean efficiency sees of a scene, centred anywhere.

    Attributes:
        light: (h, w) of a frame, for centres at ((i, j) + origin) / scale native pixels from the corner; NaN where the
            scene was not seen.
        width: by which it was smoothed, native pixels.
    """

    light: Floats
    scale: int
    origin: float
    width: float


class Scores(NamedTuple):
    """What the quasi-likelihood of n blocks says of pose and brightness.

    Attributes:
        slopes, information: (n, 4) and (n, 4, 4), its first derivatives and Fisher's information.
        misfit: (n,), mean of (count - mean)^2 / variance: about 1 where the picture explains the block.
    """

    slopes: Floats
    information: Floats
    misfit: Floats


class Sums(NamedTuple):
    """What counts add up to in the cells of a grid, (s H, s W) each.

    Attributes:
        counts: whole numbers.
        frames: in which a pixel looked there.
        gains, darks: efficiency over the mean, and dark light, of the pixels that looked, times these frames.
    """

    counts: NDArray[np.int64]
    frames: NDArray[np.int64]
    gains: Floats
    darks: Floats


class Explained(NamedTuple):
    """Mean and variance (G, H W) of counts under a picture, and their quasi-likelihood."""

    mean: Floats
    variance: Floats
    likelihood: Floats


_LEAST_LIGHT = 1e-6  # of a frame: a count anywhere must remain possible


@compiled
def _where(pixels: Pixels, seen: Seen, pixel: int, pose: Floats, sine: float, cosine: float) -> tuple[float, float]:
    """Where a pixel looks, in rows and columns of the picture."""
    row, column = pixels.row[pixel], pixels.column[pixel]
    y = cosine * row - sine * column + 0.5 * pixels.height + pose[0]
    x = sine * row + cosine * column + 0.5 * pixels.width + pose[1]
    return y * seen.scale - seen.origin, x * seen.scale - seen.origin


@compiled
def _sample(seen: Seen, y: float, x: float) -> tuple[float, float, float]:
    """The picture at a place between its points, and its slopes along rows and columns."""
    top, left = int(y), int(x)
    down, across = y - top, x - left
    a, b = seen.light[top, left], seen.light[top, left + 1]
    c, d = seen.light[top + 1, left], seen.light[top + 1, left + 1]
    upper, lower = a + (b - a) * across, c + (d - c) * across
    return upper + (lower - upper) * down, lower - upper, (b - a) + ((d - c) - (b - a)) * down


@compiled
def _look(
    pixels: Pixels, seen: Seen, pixel: int, pose: Floats, sine: float, cosine: float
) -> tuple[float, float, float]:
    """The light that a pixel sees, and its slopes along rows and columns; NaN where nothing was seen."""
    y, x = _where(pixels, seen, pixel, pose, sine, cosine)
    if y >= 0 and x >= 0 and y < seen.light.shape[0] - 1 and x < seen.light.shape[1] - 1:
        return _sample(seen, y, x)
    return math.nan, 0.0, 0.0


@compiled
def _row(law: Law, light: float) -> tuple[int, float]:
    """The row of the law below some light, and how far the light is from it to the next."""
    place = law.rows * math.sqrt(max(light, _LEAST_LIGHT))
    row = min(int(place), law.mean.size - 2)
    return row, min(place - row, 1.0)


@compiled
def _between(values: Floats, row: int, part: float) -> float:
    return float(values[row] + (values[row + 1] - values[row]) * part)


@compiled
def _counted(law: Law, light: float) -> tuple[int, float, float, float]:
    """The row of some light, how far it is to the next, and mean and variance of what a frame counts in it."""
    row, part = _row(law, light)
    mean = _between(law.mean, row, part)
    return row, part, mean, mean * _between(law.spread, row, part)


@compiled
def score_blocks(
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    pixels: Pixels,
    seen: Seen,
    law: Law,
    poses: Floats,
    brightness: Floats,
    which: NDArray[np.int64],
    scores: Scores,
) -> None:
    """Fills in how the quasi-likelihood of blocks depends on pose (rows, columns, radians) and log brightness.

    Args:
        counts: (G, H W).
        poses, brightness: (G, 3) and (G,).
        which: the blocks, n of them.
    """
    change = np.empty(4)
    for n in range(which.size):
        block = which[n]
        pose, bright, cycles = poses[block], brightness[block], frames[block]
        sine, cosine = math.sin(pose[2]), math.cos(pose[2])
        slopes, information = scores.slopes[n], scores.information[n]
        slopes[:] = 0
        information[:] = 0
        misfit, seen_by = 0.0, 0
        for pixel in range(pixels.row.size):
            light, by_row, by_column = _look(pixels, seen, pixel, pose, sine, cosine)
            if math.isnan(light):
                continue
            gain = pixels.gain[pixel] * bright
            row, part, mean, variance = _counted(law, gain * light + pixels.dark[pixel])
            slope, certainty = _between(law.slope, row, part), 1 / variance
            by_row, by_column = by_row * gain * seen.scale, by_column * gain * seen.scale
            along, across = pixels.row[pixel], pixels.column[pixel]
            change[0], change[1], change[3] = by_row, by_column, gain * light
            change[2] = by_column * (cosine * along - sine * across) - by_row * (sine * along + cosine * across)
            off, weight = counts[block, pixels.place[pixel]] - cycles * mean, slope * certainty
            misfit += off * off * certainty
            seen_by += 1
            excess, known = off * weight, cycles * slope * weight
            for i in range(4):
                slopes[i] += excess * change[i]
                part = known * change[i]
                for j in range(i + 1):
                    information[i, j] += part * change[j]
        for i in range(4):
            for j in range(i):
                information[j, i] = information[i, j]
        scores.misfit[n] = misfit / (cycles * max(seen_by, 1))


@compiled
def explain_counts(
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    pixels: Pixels,
    seen: Seen,
    law: Law,
    poses: Floats,
    brightness: Floats,
    explained: Explained,
) -> None:
    """Fills in how a picture explains the counts (G, H W) of blocks; what pixels that see nothing of it have is left.

    Args:
        explained: filled with zeros.
    """
    for block in range(len(counts)):
        cycles, sine, cosine = frames[block], math.sin(poses[block, 2]), math.cos(poses[block, 2])
        for pixel in range(pixels.row.size):
            light, _, _ = _look(pixels, seen, pixel, poses[block], sine, cosine)
            if math.isnan(light):
                continue
            seen_light = pixels.gain[pixel] * brightness[block] * light + pixels.dark[pixel]
            row, part, mean, variance = _counted(law, seen_light)
            place = pixels.place[pixel]
            likelihood = counts[block, place] * (math.log(mean) + _between(law.above, row, part))
            explained.mean[block, place] = cycles * mean
            explained.variance[block, place] = cycles * variance
            explained.likelihood[block, place] = likelihood - cycles * _between(law.below, row, part)


@compiled
def move_counts(
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    pixels: Pixels,
    poses: Floats,
    scale: int,
    sums: Sums,
) -> None:
    """Adds the counts (G, H W) of blocks, whole, to the cells of a grid (s H, s W) that their pixels looked at."""
    height, width = sums.counts.shape
    for block in range(len(counts)):
        pose, cycles = poses[block], frames[block]
        sine, cosine = math.sin(pose[2]), math.cos(pose[2])
        for pixel in range(pixels.row.size):
            along, across = pixels.row[pixel], pixels.column[pixel]
            y = math.floor((cosine * along - sine * across + 0.5 * pixels.height + pose[0]) * scale)
            x = math.floor((sine * along + cosine * across + 0.5 * pixels.width + pose[1]) * scale)
            if 0 <= y < height and 0 <= x < width:
                sums.counts[y, x] += counts[block, pixels.place[pixel]]
                sums.frames[y, x] += cycles
                sums.gains[y, x] += cycles * pixels.gain[pixel]
                sums.darks[y, x] += cycles * pixels.dark[pixel]


@compiled
def bend_evidence(information: Floats, towards: Floats, bend: float) -> float:
    """The logarithm of the marginal likelihood, but for a constant, of a coordinate with second differences of `bend`.

    The most probable path x (G,) solves A x = `towards`, where A is the information of the blocks (G,) on its diagonal
    and that of the second differences. A is factored as L D L', with two diagonals of L below the first.
    """
    blocks, weight = len(towards), 1 / (bend * bend)
    first, second, forward = np.zeros(blocks), np.zeros(blocks), np.zeros(blocks)
    diagonal = np.zeros(blocks)
    evidence = -max(blocks - 2, 0) * math.log(bend)
    for i in range(blocks):
        ahead, behind = i < blocks - 2, i >= 2
        middle = 0 < i < blocks - 1
        own = information[i] + weight * ((1.0 if ahead else 0.0) + (1.0 if behind else 0.0) + (4.0 if middle else 0.0))
        value = towards[i]
        if i >= 2:
            second[i] = weight / diagonal[i - 2]
            own -= second[i] * second[i] * diagonal[i - 2]
            value -= second[i] * forward[i - 2]
        if i >= 1 and blocks > 2:
            beside = -2 * weight * ((1.0 if i >= 2 else 0.0) + (1.0 if i < blocks - 1 else 0.0))
            if i >= 2:
                beside -= second[i] * first[i - 1] * diagonal[i - 2]
            first[i] = beside / diagonal[i - 1]
            own -= first[i] * first[i] * diagonal[i - 1]
            value -= first[i] * forward[i - 1]
        diagonal[i], forward[i] = own, value
        evidence += 0.5 * (value * value / own - math.log(own))
    return evidence
