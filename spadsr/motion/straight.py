"""Straight paths: the one velocity, of all that a scene could have, along which its counts are likeliest.

A path that grows block by block needs counts in every block. Where they are few, a scene that moves evenly (a channel,
a conveyor, a slow pan) still shows in all blocks together. Poisson's likelihood of the counts along a line, each place
with its own mean, is tried for a grid of velocities, coarse ones first.
"""

from itertools import product

import numpy as np

from noise_model.arrays import Floats
from noise_model.progress import Report, silent
from spadsr.motion.blocks import Blocks
from spadsr.motion.motion import Path

_BLOCKS = 32  # that time is divided into
_CELLS = 4096  # of a coarse picture, about
_COARSE = 2  # native pixels over the recording, from one velocity tried to the next
_PEAK = np.arange(-3.0, 4.0)  # velocities about the best to which a parabola is fitted, in each direction
_TRIED = 6  # of the coarse velocities about which it is fitted: the likeliest
_LEAST_BEND = 0.1  # of the log likelihood, native pixels^-2


def straight_path(blocks: Blocks, reach: tuple[int, int], progress: Report = silent) -> Path:
    """The path of an array over a scene that moves evenly, as it would have to be.

    Args:
        reach: the fastest velocity down and right, native pixels over the whole recording.
        progress: called with the coarse velocities tried and their number.
    """
    joined = blocks.joined(-(-len(blocks) // _BLOCKS))
    good = blocks.good
    pool = max(1, round((good.size / _CELLS) ** 0.5))
    counts: Floats = (joined.counts * good).astype(np.float64)
    frames: Floats = joined.frames[:, None, None].astype(np.float64) * good
    lines = _Lines(_pooled(counts, pool), _pooled(frames, pool), joined.times, reach, pool)
    step = max(_COARSE, pool)
    sides = (range(-(limit // step), limit // step + 1) for limit in reach)
    velocities = sorted((step * np.array(each, float) for each in product(*sides)), key=lambda each: np.hypot(*each))
    scores = []
    for velocity in velocities:
        scores.append(lines.score(velocity))
        progress(len(scores), len(velocities))
    fine = lines if pool == 1 else _Lines(counts, frames, joined.times, reach)
    best = [velocities[at] for at in np.argsort(scores)[-_TRIED:]]
    _, velocity, bent = max((_top(fine, each) for each in best), key=lambda top: top[0])
    poses, sd = np.zeros((len(blocks), 3)), np.zeros((len(blocks), 3))
    poses[:, :2] = -blocks.times[:, None] * velocity
    sd[:, :2] = np.abs(blocks.times[:, None]) / np.sqrt(np.maximum(bent, _LEAST_BEND))
    return Path(poses, sd, np.ones(len(blocks)))


def _top(lines: "_Lines", near: Floats) -> tuple[float, Floats, Floats]:
    """The likelihood at its top near a velocity, that velocity, and how much it bends there in both directions.

    Counts jump from pixel to pixel, and the likelihood with them: parabolas smooth it.
    """
    velocity, bent, score = near, np.zeros(2), 0.0
    for axis in (0, 1, 0, 1):
        along = velocity + _PEAK[:, None] * np.eye(2)[axis]
        curve = np.polynomial.Polynomial.fit(_PEAK, [lines.score(each) for each in along], 2)
        bent[axis] = -curve.deriv(2)(0.0)
        top = np.clip(curve.deriv()(0.0) / bent[axis], _PEAK[0], _PEAK[-1]) if bent[axis] > 0 else 0.0
        velocity, score = velocity + top * np.eye(2)[axis], float(curve(top))
    return score, velocity, bent


class _Lines:
    """Counts and frames (G, h, w) of pools of native pixels, added up along lines through time."""

    def __init__(self, counts: Floats, frames: Floats, times: Floats, reach: tuple[int, int], pool: int = 1) -> None:
        self.counts, self.frames, self.times, self.pool = counts, frames, times, pool
        self.margin = [-(-(limit + 2) // (2 * pool)) for limit in reach]  # what lies within it all lines stay on

    def score(self, velocity: Floats) -> float:
        """Log likelihood of the counts along lines over that in even light; native pixels over the recording."""
        counts, frames = (self._along(each, velocity) for each in (self.counts, self.frames))
        usual = counts.sum() / max(frames.sum(), 1)
        return float((counts * np.log(np.maximum(counts, 1) / np.maximum(frames * usual, 1e-9))).sum())

    def _along(self, values: Floats, velocity: Floats) -> Floats:
        height, width = (side - 2 * margin for side, margin in zip(values.shape[1:], self.margin, strict=True))
        total = np.zeros((height, width))
        for value, (down, right) in zip(values, np.rint(self.times[:, None] * velocity / self.pool), strict=True):
            top, left = (
                int(np.clip(margin + off, 0, 2 * margin))
                for margin, off in zip(self.margin, (down, right), strict=True)
            )
            total += value[top : top + height, left : left + width]
        return total


def _pooled(values: Floats, pool: int) -> Floats:
    """Sums over pools of native pixels, those at the edges left out where they fill none."""
    height, width = (side // pool for side in values.shape[1:])
    whole = values[:, : height * pool, : width * pool]
    return np.asarray(whole.reshape(len(values), height, pool, width, pool).sum(axis=(2, 4)))
