"""Paths: where an array looked, block by block, found by the likelihood of its counts under a picture of the scene.

From the centre of the recording outward: what is merged so far becomes a picture; the blocks within and beside it are
fitted to it by Fisher scoring, those that are new from coarse to fine; the path is smoothed; the window doubles.
Efficiencies, dark counts and a lamp that flickers are part of the fit. Nothing is aligned to noise: block sums
are never compared with block sums.

Sources: Fisher scoring: Osborne, Int. Stat. Rev. 60 (1992) 99. From coarse to fine: Lucas and Kanade, IJCAI (1981) 674.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from noise_model.arrays import Floats
from noise_model.progress import Report, silent
from spadsr.motion.blocks import Blocks
from spadsr.motion.kernels import Law, Pixels, Scores, Seen, score_blocks
from spadsr.motion.law import law_of
from spadsr.motion.merging import pixels_of
from spadsr.motion.motion import Path
from spadsr.motion.seen import at_rest, detailed, smoothed, softened
from spadsr.motion.smoothness import smooth_path
from spadsr.motion.standing import standing_out

#: Makes the picture to align to out of blocks and their poses.
Painter: TypeAlias = Callable[[Blocks, Floats], Seen]

_DETAILED = 2  # times that the whole path is fitted to a picture with all its detail
_COUNTS = 0.3  # in a pixel of a block, at least: fewer leave a pose to chance
_FEWEST_BLOCKS, _MOST_BLOCKS = 8, 64
_PICTURE_COUNTS = 2.0  # in a pixel of the first picture
_NEW = (0.7, 0.25, 0.0)  # blur of the picture in each step, native pixels
_LONGEST_STEP = 1.0  # native pixels
_BRIGHTNESS_SD = 0.3  # of the logarithm: lamps flicker by less
_LEAST_INFORMATION = 0.25  # of a block on a shift, native pixels^-2
_SURE = 2.0  # standard deviations of that information, by chance
_EDGE = 3  # native pixels
_MISFIT = 0.2  # above the median: blocks that a picture explains no better do not see it
_PREDICTION = 0.5  # pixels: how far a block may lie from where the path before it leads


def estimate_path(blocks: Blocks, *, turning: bool = True, progress: Report = silent) -> Path:
    """The path of an array over a scene, from its counts.

    Where the sensor is not known, pixels that stand out and stand still have no say.

    Args:
        turning: whether the array may also turn about its centre.
        progress: called with the blocks fitted and their number.
    """
    size = _joined_size(blocks)
    fit = _Fit(blocks.without(standing_out(blocks)).joined(size), turning)
    first, last = fit.first_window()
    while last - first < len(fit.blocks):
        fit.refine(first, last)
        width = last - first
        start, stop = max(0, first - (width + 1) // 2), min(len(fit.blocks), last + (width + 1) // 2)
        fit.follow(first, last, start, stop)
        first, last = start, stop
        progress(last - first, len(fit.blocks))
    fit.refine(first, last)
    for _ in range(_DETAILED):
        fit.refine(first, last, detailed)
    return _of_each(fit.path(), fit.blocks, blocks, size)


def _joined_size(blocks: Blocks) -> int:
    """Blocks to join, so that each has counts enough."""
    counts = blocks.mean * float(np.median(blocks.frames))
    enough = int(np.ceil(_COUNTS / max(counts, 1e-9)))
    return max(1, min(enough, len(blocks) // _FEWEST_BLOCKS), -(-len(blocks) // _MOST_BLOCKS))


def _of_each(path: Path, joined: Blocks, blocks: Blocks, size: int) -> Path:
    """The path of the blocks of which some were joined; of these, those that counted more were brighter."""
    if size == 1:
        return path
    known, times = joined.times, blocks.times
    curve = CubicSpline(known, path.poses, bc_type="natural")(times) if len(known) > 2 else None
    own, together = (each.counts[:, blocks.good].sum(axis=1, dtype=np.int64) / each.frames for each in (blocks, joined))
    bright = own * np.repeat(path.brightness / np.maximum(together, 1e-12), size)[: len(blocks)]
    return replace(
        path,
        poses=_linear(times, known, path.poses) if curve is None else np.asarray(curve),
        sd=_linear(times, known, path.sd),
        brightness=bright,
        size=size,
    )


def _linear(times: Floats, known: Floats, values: Floats) -> Floats:
    return np.stack([np.interp(times, known, column) for column in values.T], axis=1)


class _Fit:
    """A path as it grows from the centre of the blocks, and the picture that its counts make."""

    def __init__(self, blocks: Blocks, turning: bool) -> None:
        self.blocks = blocks
        self.pixels: Pixels = pixels_of(blocks)
        self.rim = min(blocks.sensor.shape) / 2  # turns are measured there
        self.units = np.array([1.0, 1.0, 1 / self.rim][: 3 if turning else 2])
        self.counts = blocks.flat
        self.poses, self.sd = np.zeros((len(blocks), 3)), np.zeros((len(blocks), 3))
        self.brightness = np.ones(len(blocks))
        self.misfit = np.ones(len(blocks))
        self.bend = 0.1
        self.turn, self.known = np.eye(len(self.units)), np.ones(len(self.units), bool)  # coordinates; which are known

    def first_window(self) -> tuple[int, int]:
        """The blocks about the centre whose counts make the first picture."""
        blocks = len(self.blocks)
        counts = self.blocks.mean * float(np.median(self.blocks.frames))
        half = max(1, blocks // 32, round(_PICTURE_COUNTS / max(counts, 1e-9) / 2))
        half = min(half, (blocks + 1) // 2)
        return max(0, blocks // 2 - half), min(blocks, blocks // 2 + half)

    def path(self) -> Path:
        """The path with respect to the centre of the recording."""
        centre = _linear(np.zeros(1), self.blocks.times, self.poses)[0]
        light = self.brightness / self.brightness.mean()
        return Path(_from(self.poses, centre), self.sd, light, int(self.known[:2].sum()))

    def refine(self, first: int, last: int, painted: Painter = smoothed) -> None:
        """Fits the blocks of a window anew, all together, to the picture that they make.

        In one step: more would lead each block to the noise that it has itself brought into the picture.
        """
        which = np.arange(first, last)
        self._paint(first, last, painted)
        if len(which) >= _FEWEST_BLOCKS:
            self._find_directions(first, last)
        slopes, information = self._scores(self.picture, which)
        explained = self.misfit[which] < np.median(self.misfit[which]) + _MISFIT
        self._smooth(which, slopes * explained[:, None], information * explained[:, None, None])
        centre = self.poses[which].mean(axis=0)
        self.poses[which] = _from(self.poses[which], centre)

    def _smooth(self, which: NDArray[np.int64], slopes: Floats, information: Floats) -> None:
        """Moves blocks to the path that their scores and its smoothness make most probable.

        It is found in coordinates along the directions in which shifts are known least and best.
        """
        size, turn, known = len(self.units), self.turn, self.known
        start = self.poses[which, :size] / self.units @ turn.T
        slopes, information = _of_known(slopes @ turn.T, turn @ information @ turn.T, known)
        found = smooth_path(start, slopes, information)
        step = (found.path - start) * known @ turn * self.units
        self.poses[which, :size] += self._bounded(step)
        self.sd[which, :size] = np.sqrt(np.square(found.sd) @ np.square(turn)) * self.units
        self.bend = float(found.bends[known].max(initial=0))

    def _find_directions(self, first: int, last: int) -> None:
        """Finds the directions along which the scene has features that tell shifts.

        The slopes of two pictures, each of every other block, are multiplied: their noise has no say.
        """
        which = np.arange(first, last)
        halves, width = (which[::2], which[1::2]), self.picture.width or None
        pictures = [smoothed(self.blocks.only(half), self.poses[half], width, 1) for half in halves]
        light, law = [at_rest(picture) for picture in pictures], block_law(self.blocks, pictures[0])
        rows = np.sqrt((light[0] + light[1]) / 2) * law.rows
        mean, spread, slope = (
            np.interp(rows, np.arange(len(law.mean)), each) for each in (law.mean, law.spread, law.slope)
        )
        weight = np.square(slope) / np.maximum(mean * spread, 1e-9) * np.median(self.blocks.frames)
        inner = np.zeros(weight.shape, bool)
        inner[_EDGE:-_EDGE, _EDGE:-_EDGE] = True  # smoothing bends what lies beside the edges, alike in both
        tangents = [self._tangents(one) for one in light]
        inner &= np.isfinite(weight + tangents[0] + tangents[1]).all(axis=0)
        a, b = (each[:, inner] for each in tangents)
        area = inner.size / max(inner.sum(), 1)
        both, own = area * (a * weight[inner]) @ b.T, [area * (each * weight[inner]) @ each.T for each in (a, b)]
        size = len(self.units)
        self.turn[:2, :2] = np.linalg.eigh((both + both.T)[:2, :2] / 2)[1].T
        along = np.eye(3)
        along[:2, :2] = self.turn[:2, :2]
        information, first_own, second_own = (np.diag(along @ each @ along.T)[:size] for each in (both, *own))
        independent = max(inner.sum() / (4 * np.pi * self.picture.width**2), 1) if self.picture.width else inner.sum()
        chance = np.sqrt(first_own * second_own / independent)
        self.known = information > np.maximum(_LEAST_INFORMATION, _SURE * chance)
        free = (self.turn.T * self.known) @ self.turn
        self.poses[:, :size] = self.poses[:, :size] / self.units @ free * self.units

    def _tangents(self, light: Floats) -> Floats:
        """What a shift along rows and columns and a turn change in the light of each pixel, (3, H, W)."""
        down, right = np.gradient(light)
        row, column = (np.arange(size) + 0.5 - size / 2 for size in light.shape)
        return np.stack([down, right, (right * row[:, None] - down * column) / self.rim])

    def follow(self, first: int, last: int, start: int, stop: int) -> None:
        """Fits the blocks beside a window one after the other outward, each from where the path before it leads."""
        self._paint(first, last)
        levels = [softened(self.picture, width) for width in _NEW]
        for step in range(1, max(first - start, stop - last) + 1):
            beside = [(first - step, 1)] * (first - step >= start) + [(last - 1 + step, -1)] * (last - 1 + step < stop)
            which, inward = np.array(beside).T
            before = self.poses[which + inward]
            further = self.poses[which + 2 * inward] if last - first > 1 else before
            predicted = 2 * before - further
            self.poses[which], self.brightness[which] = predicted, self.brightness[which + inward]
            self._fit(which, predicted, levels)
            lost = self.misfit[which] > np.median(self.misfit[first:last]) + _MISFIT
            self.poses[which] = np.where(lost[:, None], predicted, self.poses[which])

    def _fit(self, which: NDArray[np.int64], predicted: Floats, levels: list[Seen]) -> None:
        """Fits blocks from where the path before them leads, from coarse to fine."""
        size = len(self.units)
        free = (self.turn.T * self.known) @ self.turn
        prior = np.eye(size) / (_PREDICTION**2 + 6 * self.bend**2)
        for level in levels:
            slopes, information = self._scores(level, which)
            away = (predicted[:, :size] - self.poses[which, :size]) / self.units
            towards = slopes @ free.T + away @ prior
            step = np.linalg.solve(free @ information @ free + prior, towards[:, :, None])[:, :, 0]
            self.poses[which, :size] += self._bounded(step @ free.T * self.units)

    def _bounded(self, step: Floats) -> Floats:
        longest = np.abs(step / self.units).max(axis=1, keepdims=True)
        return np.asarray(step * np.minimum(1, _LONGEST_STEP / np.maximum(longest, 1e-9)))

    def _paint(self, first: int, last: int, painted: Painter = smoothed) -> None:
        """Makes the picture of the blocks of a window."""
        self.picture = painted(self.blocks.only(slice(first, last)), self.poses[first:last])
        self.law = block_law(self.blocks, self.picture)

    def _scores(self, seen: Seen, which: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Slopes (n, d) and information (n, d, d) on poses, brightness fitted beside them."""
        n, known = len(which), len(self.units)
        scores = Scores(np.zeros((n, 4)), np.zeros((n, 4, 4)), np.zeros(n))
        score_blocks(
            self.counts, self.blocks.frames, self.pixels, seen, self.law, self.poses, self.brightness, which, scores
        )
        own = scores.information[:, 3, 3] + 1 / _BRIGHTNESS_SD**2
        away = scores.slopes[:, 3] - np.log(self.brightness[which]) / _BRIGHTNESS_SD**2
        shared = scores.information[:, :3, 3]
        information = scores.information[:, :3, :3] - shared[:, :, None] * shared[:, None, :] / own[:, None, None]
        slopes = scores.slopes[:, :3] - shared * (away / own)[:, None]
        self.brightness[which] *= np.exp(np.clip(away / own, -0.5, 0.5))
        self.misfit[which] = scores.misfit
        return slopes[:, :known] * self.units, information[:, :known, :known] * self.units[:, None] * self.units


def _of_known(slopes: Floats, information: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """What the data say of the coordinates that are known."""
    return slopes * known, information * known * known[:, None]


def block_law(blocks: Blocks, seen: Seen) -> Law:
    """The law of the counts of these blocks under a picture."""
    brightest = float(np.nanmax(seen.light, initial=0))  # of a picture of which nothing is known, say
    return law_of(blocks.model(int(np.median(blocks.frames))), 2 * brightest)


def _from(poses: Floats, centre: Floats) -> Floats:
    """Poses as they are with respect to a pose among them."""
    sine, cosine = np.sin(centre[2]), np.cos(centre[2])
    row, column = poses[:, 0] - centre[0], poses[:, 1] - centre[1]
    return np.stack([cosine * row + sine * column, cosine * column - sine * row, poses[:, 2] - centre[2]], axis=1)
