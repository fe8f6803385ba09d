"""The inner loops of motion, compiled: scores of blocks under a picture, counts moved to a grid, lines through time.

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
        gain, dark: efficiency over the mean, and dark light in a frame.
        height, width: of the array.
    """

    row: Floats
    column: Floats
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
        gains, darks: efficiency and dark light of the pixels that looked, times these frames.
    """

    counts: NDArray[np.int64]
    frames: NDArray[np.int64]
    gains: Floats
    darks: Floats


class Explained(NamedTuple):
    """Mean and variance (G, P) of counts under a picture, and their quasi-likelihood."""

    mean: Floats
    variance: Floats
    likelihood: Floats


_SMOOTHER = 0.6  # by interpolation half way between pixels, of counts smoothed by a Gaussian of 1 pixel
_SMOOTHED_VARIANCE = 1 / (4 * math.pi)  # of such counts, over that before
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
def _within(seen: Seen, y: float, x: float) -> bool:
    return y >= 0 and x >= 0 and y < seen.light.shape[0] - 1 and x < seen.light.shape[1] - 1


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
def score_blocks(
    counts: NDArray[np.float32],
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
        counts: (G, P).
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
            y, x = _where(pixels, seen, pixel, pose, sine, cosine)
            if not _within(seen, y, x):
                continue
            light, by_row, by_column = _sample(seen, y, x)
            if math.isnan(light):
                continue
            gain = pixels.gain[pixel] * bright
            row, part = _row(law, gain * light + pixels.dark[pixel])
            mean, slope = _between(law.mean, row, part), _between(law.slope, row, part)
            by_row, by_column = by_row * gain * seen.scale, by_column * gain * seen.scale
            along, across = pixels.row[pixel], pixels.column[pixel]
            change[0], change[1], change[3] = by_row, by_column, gain * light
            change[2] = by_column * (cosine * along - sine * across) - by_row * (sine * along + cosine * across)
            certainty = 1 / (mean * _between(law.spread, row, part))
            off, weight = counts[block, pixel] - cycles * mean, slope * certainty
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
    counts: NDArray[np.float32],
    frames: NDArray[np.int64],
    pixels: Pixels,
    seen: Seen,
    law: Law,
    poses: Floats,
    brightness: Floats,
    explained: Explained,
) -> None:
    """Fills in how a picture explains the counts (G, P) of blocks; all is 0 for pixels that look beyond the picture."""
    for block in range(len(counts)):
        cycles, sine, cosine = frames[block], math.sin(poses[block, 2]), math.cos(poses[block, 2])
        for pixel in range(pixels.row.size):
            y, x = _where(pixels, seen, pixel, poses[block], sine, cosine)
            light = math.nan
            if _within(seen, y, x):
                light, _, _ = _sample(seen, y, x)
            if math.isnan(light):
                explained.mean[block, pixel] = 0.0
                explained.variance[block, pixel] = 0.0
                explained.likelihood[block, pixel] = 0.0
                continue
            row, part = _row(law, pixels.gain[pixel] * brightness[block] * light + pixels.dark[pixel])
            mean = _between(law.mean, row, part)
            likelihood = counts[block, pixel] * (math.log(mean) + _between(law.above, row, part))
            explained.mean[block, pixel] = cycles * mean
            explained.variance[block, pixel] = cycles * mean * _between(law.spread, row, part)
            explained.likelihood[block, pixel] = likelihood - cycles * _between(law.below, row, part)


@compiled
def move_counts(
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    pixels: Pixels,
    efficiency: Floats,
    poses: Floats,
    scale: int,
    sums: Sums,
) -> None:
    """Adds the counts (G, P) of blocks, whole, to the cells of a grid (s H, s W) that their pixels looked at."""
    height, width = sums.counts.shape
    for block in range(len(counts)):
        pose, cycles = poses[block], frames[block]
        sine, cosine = math.sin(pose[2]), math.cos(pose[2])
        for pixel in range(pixels.row.size):
            along, across = pixels.row[pixel], pixels.column[pixel]
            y = math.floor((cosine * along - sine * across + 0.5 * pixels.height + pose[0]) * scale)
            x = math.floor((sine * along + cosine * across + 0.5 * pixels.width + pose[1]) * scale)
            if 0 <= y < height and 0 <= x < width:
                sums.counts[y, x] += counts[block, pixel]
                sums.frames[y, x] += cycles
                sums.gains[y, x] += cycles * efficiency[pixel]
                sums.darks[y, x] += cycles * pixels.dark[pixel]


@compiled
def line_sums(
    light: Floats,
    lines: Floats,
    windows: NDArray[np.int64],
    level: float,
    dispersion: float,
    sums: Floats,
    squares: Floats,
    chi_squared: NDArray[np.float32],
) -> None:
    """Fills in chi-squared (n, H, W) of smoothed counts along lines that are alike for all pixels, for windows (n, 2).

    The variance of the counts is `dispersion` times their mean, which is taken for `level` or more.
    Between pixels the counts are interpolated, which smooths them further: their variance is lowered to match.

    Args:
        light: (G, H + 2 a, W + 2 b), with margins that are wide enough for all lines, and a pixel wider.
        lines: (G, 2), how far down and right the lines are in each block.
        sums, squares: (G + 1, H, W), where the kernel works.
    """
    blocks = len(light)
    height, width = sums.shape[1:]
    corner = (light.shape[1] - height) // 2, (light.shape[2] - width) // 2
    weights = np.zeros(blocks + 1)
    for block in range(blocks):
        y, x = corner[0] + lines[block, 0], corner[1] + lines[block, 1]
        top, left = int(y), int(x)
        below, across = y - top, x - left
        less = (1 - _SMOOTHER * below * (1 - below)) * (1 - _SMOOTHER * across * (1 - across))
        weights[block + 1] = weights[block] + 1 / less
        for row in range(height):
            upper, lower = light[block, top + row, left:], light[block, top + row + 1, left:]
            before, total = sums[block, row], sums[block + 1, row]
            square_before, square = squares[block, row], squares[block + 1, row]
            for column in range(width):
                first = upper[column] + (lower[column] - upper[column]) * below
                second = upper[column + 1] + (lower[column + 1] - upper[column + 1]) * below
                value = first + (second - first) * across
                total[column] = before[column] + value / less
                square[column] = square_before[column] + value * value / less
    for n in range(len(windows)):
        start, stop = windows[n, 0], windows[n, 1]
        weight, scale = weights[stop] - weights[start], 1 / (dispersion * _SMOOTHED_VARIANCE)
        for row in range(height):
            for column in range(width):
                total_here = sums[stop, row, column] - sums[start, row, column]
                mean = total_here / weight
                excess = squares[stop, row, column] - squares[start, row, column] - total_here * mean
                chi_squared[n, row, column] = max(excess, 0.0) * scale / max(mean, level)


@compiled
def keep_better(
    chi_squared: NDArray[np.float32], cost: Floats, down: float, right: float, best: Floats, velocity: Floats
) -> None:
    """Takes a velocity where chi-squared (n, H, W), and what the velocity costs (n,), are less than the best so far.

    Args:
        best, velocity: (n, H, W) and (n, 2, H, W), changed in place.
    """
    windows, height, width = chi_squared.shape
    for n in range(windows):
        for row in range(height):
            for column in range(width):
                value = chi_squared[n, row, column] + cost[n]
                if value < best[n, row, column]:
                    best[n, row, column] = value
                    velocity[n, 0, row, column] = down
                    velocity[n, 1, row, column] = right


@compiled
def gather_counts(
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    times: Floats,
    place: NDArray[np.int64],
    efficiency: Floats,
    dark: Floats,
    poses: Floats,
    velocity: Floats,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    sums: Sums,
) -> None:
    """Adds up, for each pixel of the scene, the counts (G, P) of the pixels that looked at it along its line.

    Args:
        place: (H, W), the index of each pixel among the P used, -1 for others.
        velocity: (2, H, W), over the whole recording; `first` and `last` are the windows of blocks.
        sums: (H, W).
    """
    height, width = place.shape
    for block in range(len(counts)):
        sine, cosine = math.sin(poses[block, 2]), math.cos(poses[block, 2])
        for row in range(height):
            for column in range(width):
                if not first[row, column] <= block < last[row, column]:
                    continue
                down = row + 0.5 + velocity[0, row, column] * times[block] - 0.5 * height - poses[block, 0]
                right = column + 0.5 + velocity[1, row, column] * times[block] - 0.5 * width - poses[block, 1]
                y = math.floor(cosine * down + sine * right + 0.5 * height)
                x = math.floor(cosine * right - sine * down + 0.5 * width)
                if not (0 <= y < height and 0 <= x < width):
                    continue
                pixel = place[y, x]
                if pixel >= 0:
                    sums.counts[row, column] += counts[block, pixel]
                    sums.frames[row, column] += frames[block]
                    sums.gains[row, column] += frames[block] * efficiency[pixel]
                    sums.darks[row, column] += frames[block] * dark[pixel]


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
