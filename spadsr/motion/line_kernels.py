"""The inner loops of the sweep, compiled: chi-squared along lines through time, and counts gathered along them.

They call none of another file: numba takes code on disk for current as long as the file of its function is.
"""

import math

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.kernels import compiled
from spadsr.motion.kernels import Pixels, Sums

_SMOOTHER = 0.6  # by interpolation half way between pixels, of counts smoothed by a Gaussian of 1 pixel
_BETWEEN = 1e-9  # places
_SMOOTHED_VARIANCE = 1 / (4 * math.pi)  # of such counts, over that before


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
    pixels: Pixels,
    which: NDArray[np.int64],
    poses: Floats,
    velocity: Floats,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    scale: int,
    sums: Sums,
) -> None:
    """Adds up, for each pixel of the scene, the counts (G, H W) of the pixels that looked at it along its line.

    Args:
        which: (H, W), the number of each pixel among those used, -1 for others.
        velocity: (2, H, W), over the whole recording; `first` and `last` are the windows of blocks.
        sums: (s H, s W), s = `scale`: counts go to the place within the pixel of the scene that a centre looked at.
    """
    height, width = which.shape
    for block in range(len(counts)):
        sine, cosine = math.sin(poses[block, 2]), math.cos(poses[block, 2])
        for row in range(height):
            for column in range(width):
                if not first[row, column] <= block < last[row, column]:
                    continue
                down = row + 0.5 + velocity[0, row, column] * times[block] - 0.5 * height - poses[block, 0]
                right = column + 0.5 + velocity[1, row, column] * times[block] - 0.5 * width - poses[block, 1]
                y_line = cosine * down + sine * right + 0.5 * height
                x_line = cosine * right - sine * down + 0.5 * width
                y, x = math.floor(y_line), math.floor(x_line)
                if not (0 <= y < height and 0 <= x < width) or which[y, x] < 0:
                    continue
                y_off, x_off, pixel = y + 0.5 - y_line, x + 0.5 - x_line, which[y, x]
                i = row * scale + _place(cosine * y_off - sine * x_off, scale, block)
                j = column * scale + _place(sine * y_off + cosine * x_off, scale, block)
                sums.counts[i, j] += counts[block, y * width + x]
                sums.frames[i, j] += frames[block]
                sums.gains[i, j] += frames[block] * pixels.gain[pixel]
                sums.darks[i, j] += frames[block] * pixels.dark[pixel]


@compiled
def _place(off: float, scale: int, block: int) -> int:
    """The place, of `scale` along an axis of a pixel, that lies `off` pixels from its centre.

    The centre of a pixel at rest lies between two places: it takes turns, so that it is seen there in the mean.
    """
    place = (0.5 + off) * scale
    between = abs(place - round(place)) < _BETWEEN
    number = round(place) - block % 2 if between else math.floor(place)
    return int(min(max(number, 0), scale - 1))
