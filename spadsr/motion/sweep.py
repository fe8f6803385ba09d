"""Local motion: which straight line through time each pixel's counts came along, and how far it can be followed.

For every velocity of a grid, and every window of time about the centre of the recording, before it or after it, the
smoothed counts along the line should vary by chance alone. Each pixel takes the longest window in which they do, and
the slowest velocity for which they do. Its counts are gathered, whole, along that line: k of N frames once more.
Larger arrays align patches instead (Hasinoff et al., ACM TOG 35 (2016) 192); small ones have too few pixels for that.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.progress import Report, silent
from spadsr.motion.blocks import Blocks, dark_of, gain_of
from spadsr.motion.kernels import gather_counts, keep_better, line_sums
from spadsr.motion.law import law_of
from spadsr.motion.merging import Merged, merged_of, no_sums, pixels_of

_BLOCKS = 32  # that time is divided into
_SMOOTHED, _POOLED = 1.0, 2.0  # native pixels: of the counts, and of chi-squared
_LIMIT, _TOLERATED = 3.0, 0.05  # standard errors, and the share above, that chance explains
_SLOWEST = 1e-3  # chi-squared that a velocity costs for each native pixel and block
_LEAST_LEVEL = 0.05  # counts: so that dark places are not compared with nothing


@dataclass(frozen=True, eq=False)
class Lines:
    """The line through time along which the counts of each pixel are gathered.

    Attributes:
        velocity: (2, H, W), native pixels down and right over the whole recording.
        first, last: (H, W), the window of blocks, `last` not included.
    """

    velocity: Floats
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @property
    def moving(self) -> float:
        """Share of the pixels that move."""
        return float(np.any(self.velocity != 0, axis=0).mean())


def find_lines(blocks: Blocks, reach: tuple[int, int], poses: Floats | None = None, progress: Report = silent) -> Lines:
    """The lines that explain the counts of every pixel in the longest windows.

    Args:
        reach: the fastest velocity down and right, native pixels over the whole recording.
        poses: (G, 3) of an array that moves as well: lines are those of the scene, as seen at the centre in time.
        progress: called with the velocities tried and their number.
    """
    size = -(-len(blocks) // _BLOCKS)
    light = _smoothed_light(blocks, size, poses)
    windows = _windows(len(light))
    centre = len(light) // 2
    times, dispersion = blocks.joined(size).times, _dispersion(blocks, size)
    shape = light.shape[1:]
    best, velocity = np.full((len(windows), *shape), np.inf), np.zeros((len(windows), 2, *shape))
    at_rest, bounds = np.zeros((len(windows), *shape), np.float32), np.array(windows)
    lengths = np.array([last - first for first, last in windows], np.float64)
    velocities = sorted(
        product(range(-reach[0], reach[0] + 1), range(-reach[1], reach[1] + 1)), key=lambda v: np.hypot(*v)
    )
    margin = [(side // 2 + 2,) * 2 for side in reach]
    wide = np.pad(light, [(0, 0), *margin], mode="edge")  # a line that leaves the array keeps its last value
    sums, squares = (np.zeros((len(light) + 1, *shape)) for _ in range(2))
    chi_squared = np.empty((len(windows), *shape), np.float32)
    for number, (down, right) in enumerate(velocities):
        line_sums(wide, times, float(down), float(right), bounds, _LEAST_LEVEL, dispersion, sums, squares, chi_squared)
        for each in chi_squared:
            cv2.GaussianBlur(each, (0, 0), _POOLED, dst=each)
        if number == 0:
            at_rest[:] = chi_squared
        keep_better(chi_squared, _SLOWEST * np.hypot(down, right) * lengths, down, right, best, velocity)
        progress(number + 1, len(velocities))
    return _longest(windows, centre, best, at_rest, velocity, size)


def gather(blocks: Blocks, lines: Lines, poses: Floats | None = None) -> Merged:
    """The counts of every pixel of the scene along its line, whole, and the frames in which a pixel looked there.

    Args:
        poses: as for `find_lines`.
    """
    if poses is None:
        poses = np.zeros((len(blocks), 3))
    good, pixels = blocks.good, pixels_of(blocks)
    place = np.full(good.shape, -1, np.int64)
    place[good] = np.arange(good.sum())
    sums = no_sums(good.shape)
    gather_counts(
        np.ascontiguousarray(blocks.counts[:, good], np.int64),
        blocks.frames,
        blocks.times,
        place,
        blocks.sensor.pde.double().numpy()[good],
        pixels.dark,
        np.ascontiguousarray(poses, np.float64),
        lines.velocity,
        lines.first,
        lines.last,
        sums,
    )
    return merged_of(blocks, sums, 1)


def _dispersion(blocks: Blocks, size: int) -> float:
    """Variance of the counts of joined blocks over their mean."""
    model = blocks.model(int(np.median(blocks.frames)) * size)
    law = law_of(model, 4 * blocks.mean)
    return float(np.interp(blocks.mean, law.mean, law.spread))


def _smoothed_light(blocks: Blocks, size: int, poses: Floats | None) -> Floats:
    """Counts (g, H, W) of joined blocks without dark ones, smoothed; in the frame of the scene where poses are given.

    Their unit is that of a count of a pixel of mean efficiency, so that their variance is their mean before smoothing.
    """
    good = blocks.good
    gain = np.where(good, gain_of(blocks.sensor), 0)
    dark = np.where(good, dark_of(blocks.sensor, blocks.count_time), 0)
    starts = range(0, len(blocks), size)
    light = np.empty((len(starts), *good.shape))
    for number, start in enumerate(starts):
        counts, weight = np.zeros(good.shape), np.zeros(good.shape)
        for block in range(start, min(start + size, len(blocks))):
            frames = float(blocks.frames[block])
            shift = (0, 0) if poses is None else tuple(np.round(poses[block, :2]).astype(int))
            counts += _shifted(np.where(good, blocks.counts[block] - frames * dark, 0), shift)
            weight += _shifted(gain, shift) * frames
        blurred = cv2.GaussianBlur(weight, (0, 0), _SMOOTHED, borderType=cv2.BORDER_REFLECT_101)
        full = size * float(np.median(blocks.frames))
        light[number] = cv2.GaussianBlur(counts, (0, 0), _SMOOTHED, borderType=cv2.BORDER_REFLECT_101)
        light[number] *= full / np.maximum(blurred, 0.05 * full)
    return light


def _shifted(values: Floats, shift: tuple[int, ...]) -> Floats:
    """Values moved by whole pixels, zeros where none come from."""
    moved, (down, right), (height, width) = np.zeros_like(values), shift, values.shape
    to = slice(max(0, down), min(height, height + down)), slice(max(0, right), min(width, width + right))
    source = slice(max(0, -down), min(height, height - down)), slice(max(0, -right), min(width, width - right))
    moved[to] = values[source]
    return moved


def _windows(blocks: int) -> list[tuple[int, int]]:
    """Windows of time, shortest first: about the centre, and before or after it alone."""
    centre, found, half = blocks // 2, set(), 1
    while half <= centre:
        found |= {(centre - half, centre + half), (centre - half, centre + 1), (centre - 1, centre + half)}
        half *= 2
    return sorted(found, key=lambda window: (window[1] - window[0], abs(window[0] + window[1] - blocks)))


def _longest(
    windows: list[tuple[int, int]], centre: int, best: Floats, at_rest: Floats, velocity: Floats, size: int
) -> Lines:
    """For each pixel the longest window that chance explains, where a short one agrees."""
    shape = best.shape[1:]
    first, last = np.full(shape, windows[0][0]), np.full(shape, windows[0][1])
    chosen = np.zeros((2, *shape))
    independent = 1 + (_POOLED / _SMOOTHED) ** 2
    explained, still = np.zeros(best.shape, bool), np.zeros(best.shape, bool)
    for number, (start, stop) in enumerate(windows):
        degrees = stop - start - 1
        limit = degrees * (1 + _TOLERATED) + _LIMIT * np.sqrt(2 * degrees / independent)
        still[number] = at_rest[number] <= limit
        explained[number] = still[number] | (best[number] <= limit)
    both = {stop - centre: number for number, (start, stop) in enumerate(windows) if start + stop == 2 * centre}
    for number, (start, stop) in enumerate(windows):
        half, right = max(stop - centre, centre - start) // 2, explained[number]
        if half >= 1:
            right = right & explained[both[half]]
        motion = np.where(still[number], 0, velocity[number])
        chosen[:, right] = motion[:, right]
        first[right], last[right] = start, stop
    return Lines(chosen, first * size, last * size)
