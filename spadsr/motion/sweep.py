"""Local motion: which straight line through time each pixel's counts came along, and how far it can be followed.

For every velocity of a grid, and every window of time about the centre of the recording, before it or after it, the
smoothed counts along the line should vary by chance alone. Each pixel takes the longest window in which they do, and
the slowest velocity for which they do. Its counts are gathered, whole, along that line: k of N frames once more.
Larger arrays align patches instead (Hasinoff et al., ACM TOG 35 (2016) 192); small ones have too few pixels for that.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.progress import Report, silent
from spadsr.motion.blocks import Blocks, dark_of, gain_of
from spadsr.motion.law import law_of
from spadsr.motion.line_kernels import gather_counts, keep_better, line_sums
from spadsr.motion.merging import Merged, merged_of, no_sums, pixels_of

_BLOCKS = 32  # that time is divided into
_SMOOTHED, _POOLED = 1.0, 2.0  # native pixels: of the counts, and of chi-squared
_LIMIT, _TOLERATED = 3.0, 0.05  # standard errors, and the share above, that chance explains
_SLOWEST = 1e-3  # chi-squared that a velocity costs for each native pixel and block
_LONGER = 1.03  # windows along a path, than those at rest
_LEAST_LEVEL = 0.05  # counts: so that dark places are not compared with nothing


@dataclass(frozen=True, eq=False)
class Lines:
    """The line through time along which the counts of each pixel are gathered.

    Attributes:
        velocity: (2, H, W), native pixels down and right over the whole recording.
        first, last: (H, W), the window of blocks, `last` not included.
        along_path: whether they are those of the scene that a path leads over; else those of the array at rest.
    """

    velocity: Floats
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    along_path: bool = False

    @property
    def moving(self) -> float:
        """Share of the pixels that move."""
        return float(np.any(self.velocity != 0, axis=0).mean())


def find_lines(blocks: Blocks, reach: tuple[int, int], poses: Floats | None = None, progress: Report = silent) -> Lines:
    """The lines that explain the counts of every pixel in the longest windows.

    Args:
        reach: the fastest velocity down and right, native pixels over the whole recording.
        poses: (G, 3) of an array that moves as well: lines are those of the scene, as seen at the centre in time,
            unless those of an array at rest explain about as much: parts that move may be taken for the whole scene.
        progress: called with the velocities tried and their number.
    """
    if poses is None or not np.any(poses):
        return _find_lines(blocks, reach, None, progress)
    with ThreadPoolExecutor(2) as threads:
        at_rest = threads.submit(_find_lines, blocks, reach, None, silent)
        moved, still = _find_lines(blocks, reach, poses, progress), at_rest.result()
    return moved if _length(moved) > _LONGER * _length(still) else still


def _length(lines: Lines) -> float:
    """Mean length of the windows, blocks."""
    return float((lines.last - lines.first).mean())


def _find_lines(blocks: Blocks, reach: tuple[int, int], poses: Floats | None, progress: Report) -> Lines:
    """The lines along a path, or at rest: every other velocity first, then those beside the ones that were taken."""
    sweep = _Sweep(blocks, reach, poses)
    downs, rights = (range(-(side // 2) * 2, side + 1, 2) for side in reach)
    coarse = sorted(product(downs, rights), key=lambda v: np.hypot(*v))
    for number, velocity in enumerate(coarse):
        sweep.try_velocity(*velocity)
        progress(number + 1, 2 * len(coarse))
    likely = {(0, 0), *zip(*sweep.longest().velocity.reshape(2, -1).astype(int).tolist(), strict=True)}
    beside = {(down + i, right + j) for down, right in likely for i, j in product((-1, 0, 1), repeat=2)} - {*coarse}
    for number, velocity in enumerate(sorted(beside)):
        sweep.try_velocity(*velocity)
        progress(len(beside) + number + 1, 2 * len(beside))
    return replace(sweep.longest(), along_path=poses is not None)


class _Sweep:
    """The best velocity of every pixel in every window, as far as velocities were tried."""

    def __init__(self, blocks: Blocks, reach: tuple[int, int], poses: Floats | None) -> None:
        self.size = -(-len(blocks) // _BLOCKS)
        joined = blocks.joined(self.size)
        light, self.times = _smoothed_light(joined), joined.times
        self.shifts = np.zeros((len(joined), 2)) if poses is None else _means(poses[:, :2], self.size)
        self.windows, self.centre = _windows(len(light)), len(light) // 2
        self.dispersion, shape = _dispersion(blocks, self.size), light.shape[1:]
        self.best = np.full((len(self.windows), *shape), np.inf)
        self.velocity = np.zeros((len(self.windows), 2, *shape))
        self.chi_squared, self.at_rest = (np.zeros((len(self.windows), *shape), np.float32) for _ in range(2))
        self.sums, self.squares = (np.zeros((len(light) + 1, *shape)) for _ in range(2))
        furthest = np.abs(self.shifts).max(axis=0)
        margin = [(side // 2 + int(off) + 4,) * 2 for side, off in zip(reach, furthest, strict=True)]
        self.wide = np.pad(light, [(0, 0), *margin], mode="edge")  # a line that leaves the array keeps its last value

    def try_velocity(self, down: int, right: int) -> None:
        """Takes a velocity, native pixels over the recording, where it explains the counts better than others."""
        lines, bounds = np.outer(self.times, (down, right)) - self.shifts, np.array(self.windows)
        dispersion, found = self.dispersion, self.chi_squared
        line_sums(self.wide, lines, bounds, _LEAST_LEVEL, dispersion, self.sums, self.squares, found)
        for each in found:
            cv2.GaussianBlur(each, (0, 0), _POOLED, dst=each)
        if down == right == 0:
            self.at_rest[:] = found
        cost = _SLOWEST * np.hypot(down, right) * np.diff(bounds)[:, 0]
        keep_better(found, cost, down, right, self.best, self.velocity)

    def longest(self) -> Lines:
        """For each pixel the longest window that chance explains, where a short one agrees."""
        windows, centre, shape = self.windows, self.centre, self.best.shape[1:]
        first, last = np.full(shape, windows[0][0]), np.full(shape, windows[0][1])
        chosen = np.zeros((2, *shape))
        independent = 1 + (_POOLED / _SMOOTHED) ** 2
        explained, still = np.zeros(self.best.shape, bool), np.zeros(self.best.shape, bool)
        for number, (start, stop) in enumerate(windows):
            degrees = stop - start - 1
            limit = degrees * (1 + _TOLERATED) + _LIMIT * np.sqrt(2 * degrees / independent)
            still[number] = self.at_rest[number] <= limit
            explained[number] = still[number] | (self.best[number] <= limit)
        both = {stop - centre: number for number, (start, stop) in enumerate(windows) if start + stop == 2 * centre}
        for number, (start, stop) in enumerate(windows):
            half, right = max(stop - centre, centre - start) // 2, explained[number]
            if half >= 1:
                right = right & explained[both[half]]
            motion = np.where(still[number], 0, self.velocity[number])
            chosen[:, right] = motion[:, right]
            first[right], last[right] = start, stop
        return Lines(chosen, first * self.size, last * self.size)


def gather(blocks: Blocks, lines: Lines, poses: Floats | None = None, scale: int = 1) -> Merged:
    """The counts of every pixel of the scene along its line, whole, and the frames in which a pixel looked there.

    Args:
        poses: as for `find_lines`.
        scale: of the grid over that of the array: of places within the pixels of the scene.
    """
    if poses is None or not lines.along_path:
        poses = np.zeros((len(blocks), 3))
    good, pixels = blocks.good, pixels_of(blocks)
    which = np.full(good.shape, -1, np.int64)
    which[good] = np.arange(good.sum())
    sums = no_sums((scale * good.shape[0], scale * good.shape[1]))
    gather_counts(
        blocks.flat,
        blocks.frames,
        blocks.times,
        pixels,
        which,
        np.ascontiguousarray(poses, np.float64),
        lines.velocity,
        lines.first,
        lines.last,
        scale,
        sums,
    )
    return merged_of(blocks, sums, scale)


def _dispersion(blocks: Blocks, size: int) -> float:
    """Variance of the counts of joined blocks over their mean."""
    model = blocks.model(int(np.median(blocks.frames)) * size)
    law = law_of(model, 4 * blocks.mean)
    return float(np.interp(blocks.mean, law.mean, law.spread))


def _means(values: Floats, size: int) -> Floats:
    """Means (g, n) of so many rows of (G, n) each; the last one takes what is left."""
    starts = np.arange(0, len(values), size)
    return np.asarray(np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))[:, None])


def _smoothed_light(blocks: Blocks) -> Floats:
    """Counts (G, H, W) of blocks without dark ones, smoothed.

    Their unit is that of a count of a pixel of mean efficiency, so that their variance is their mean before smoothing.
    """
    good, frames = blocks.good, blocks.frames
    gain, dark = np.where(good, gain_of(blocks.sensor), 0), dark_of(blocks.sensor, blocks.count_time)
    weight = cv2.GaussianBlur(gain, (0, 0), _SMOOTHED, borderType=cv2.BORDER_REFLECT_101)
    usual, light = float(np.median(frames)), np.empty(blocks.counts.shape)
    for number, counts in enumerate(blocks.counts):
        bright = np.where(good, counts - frames[number] * dark, 0)
        bright = cv2.GaussianBlur(bright, (0, 0), _SMOOTHED, borderType=cv2.BORDER_REFLECT_101)
        light[number] = bright * (usual / frames[number]) / np.maximum(weight, 0.05)
    return light


def _windows(blocks: int) -> list[tuple[int, int]]:
    """Windows of time, shortest first: about the centre, and before or after it alone."""
    centre, found = blocks // 2, set()
    for half in sorted({step << power for step in (1, 3) for power in range(centre.bit_length())}):
        if half <= centre:
            found |= {(centre - half, centre + half), (centre - half, centre + 1), (centre - 1, centre + half)}
    return sorted(found, key=lambda window: (window[1] - window[0], abs(window[0] + window[1] - blocks)))
