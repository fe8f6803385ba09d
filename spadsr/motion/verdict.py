"""What can be said of an estimated path from the counts alone: whether to move, where not to, and what is left.

The picture of the merged counts explains the blocks along the path, that of the plain sum explains them at rest: the
difference of their quasi-likelihoods is what the path gains. Residuals over 5 x 5 pixels, squared and over their
variance, are 1 on average where the path explains all: more is motion that is not that of the whole scene.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from spadsr.motion.blocks import Blocks
from spadsr.motion.kernels import Explained, Seen, explain_counts
from spadsr.motion.merging import pixels_of
from spadsr.motion.motion import Path, Verdict
from spadsr.motion.path import block_law
from spadsr.motion.seen import at_rest, smoothed
from spadsr.motion.standing import standing_out, unexplained

_LEAST_GAIN = 30.0  # of log likelihood
_LOST = 0.5  # share of the pixels that must still look at the scene
_OFF = 5.0  # standard errors of a block's chi-squared above that of the median block
_SUMS = 5  # pixels on a side
_REPEAT_REACH, _REPEAT_LEAST, _REPEAT_GAIN = 8, 2, 6.0


def judge(blocks: Blocks, path: Path) -> Verdict:
    """Decides how far an estimated path is to be followed.

    Args:
        path: as `estimate_path` found it for these blocks.
    """
    unknown, hot = 2 - path.directions, standing_out(blocks)
    blocks = blocks.without(hot)
    still = replace(Path.still(blocks), brightness=path.brightness, size=path.size)
    joined = blocks.joined(path.size)
    moved = _explained(blocks, joined, path, None)
    resting = _explained(blocks, joined, still, moved.picture.width)  # smoothed alike, both fit their own noise alike
    both = resting.seen & moved.seen
    gain = float((moved.likelihood - resting.likelihood)[both].sum())
    follow = gain > _LEAST_GAIN and unknown < 2 and bool((moved.within > _LOST).mean() > 0.5)
    chosen, of = (path, moved) if follow else (still, resting)
    used = np.repeat(_used(of), path.size)[: len(blocks)]
    hot = (hot | moved.standing) & follow & (not blocks.sensor.measured)
    repeats = follow and _repeats(blocks, of.picture, path.size)
    before, after = (float(each.chi_squared.mean()) for each in (resting, of))
    return Verdict(chosen, gain, before, after, unknown, used, repeats, hot)


@dataclass(frozen=True, eq=False)
class _Explanation:
    """How blocks are explained along a path: (G, H W) likelihood and whether seen, (G,) chi-squared and its error.

    `standing` are pixels (H, W) that count more than the scene along the path.
    """

    picture: Seen
    likelihood: Floats
    seen: NDArray[np.bool_]
    chi_squared: Floats
    error: Floats
    within: Floats
    standing: NDArray[np.bool_]


def _explained(blocks: Blocks, joined: Blocks, path: Path, width: float | None) -> _Explanation:
    """How blocks, joined as they were for the path, are explained by their own picture along it."""
    picture = smoothed(blocks, path.poses, width)
    starts = np.arange(0, len(blocks), path.size)
    poses = np.add.reduceat(path.poses, starts) / np.diff(np.append(starts, len(blocks)))[:, None]
    brightness = np.add.reduceat(path.brightness, starts) / np.diff(np.append(starts, len(blocks)))
    counts, pixels, law = joined.flat, pixels_of(blocks), block_law(joined, picture)
    found = Explained(*(np.zeros(counts.shape) for _ in range(3)))
    explain_counts(counts, joined.frames, pixels, picture, law, poses, brightness, found)
    seen = found.variance > 0
    off = (counts - found.mean) * seen
    squares, expected = (_sums(each.reshape(joined.counts.shape)) for each in (off, found.variance))
    squares = np.square(squares)
    known = expected > 0
    number = np.maximum(known.sum(axis=(1, 2)), 1)
    chi_squared = (np.where(known, squares / np.where(known, expected, 1), 0)).sum(axis=(1, 2)) / number
    error = np.sqrt(2 * _SUMS**2 / number)
    within = seen.sum(axis=1) / max(len(pixels.place), 1)
    standing = unexplained(off.sum(axis=0), found.variance.sum(axis=0), found.mean.sum(axis=0))
    return _Explanation(
        picture, found.likelihood, seen, chi_squared, error, within, standing.reshape(blocks.sensor.shape)
    )


def _sums(values: Floats) -> Floats:
    """Sums over 5 x 5 pixels that lie wholly on the array."""
    edge = _SUMS // 2
    sums = [cv2.boxFilter(value, -1, (_SUMS, _SUMS), normalize=False)[edge:-edge, edge:-edge] for value in values]
    return np.asarray(sums)


def _used(found: _Explanation) -> NDArray[np.bool_]:
    """Joined blocks that look at the scene and are explained about as well as others."""
    usual = float(np.median(found.chi_squared))
    return np.asarray((found.within > _LOST) & (found.chi_squared < usual + _OFF * usual * found.error))


def _repeats(blocks: Blocks, picture: Seen, size: int) -> bool:
    """Whether a picture moved by some pixels explains the counts of a block nearly as well."""
    cycles = float(np.median(blocks.frames)) * size
    mean, edge = np.maximum(at_rest(picture), 1e-6), _REPEAT_REACH
    inner = mean[edge:-edge, edge:-edge]
    if inner.size == 0:
        return False
    share = mean.size / inner.size
    height, width = inner.shape
    for down in range(_REPEAT_REACH + 1):
        for right in range(-_REPEAT_REACH, _REPEAT_REACH + 1):
            if max(down, abs(right)) < _REPEAT_LEAST or (down == 0 and right < 0):
                continue
            moved = mean[edge + down : edge + down + height, edge + right : edge + right + width]
            worse = cycles * share * float(np.nansum(np.square(moved - inner) / inner)) / 2
            if worse < _REPEAT_GAIN:
                return True
    return False
