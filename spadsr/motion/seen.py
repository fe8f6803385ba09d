"""Pictures to align to: what native pixels see of a scene, wherever they look."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats, Picture
from noise_model.sensor import PLACES
from spadsr.motion.blocks import Blocks
from spadsr.motion.fine import sharpened
from spadsr.motion.kernels import Law, Seen, Sums
from spadsr.motion.law import law_of, light_of, typical_frames
from spadsr.motion.merging import merged_of, summed

Singles: TypeAlias = NDArray[np.float32]

_WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # native pixels, standard deviations of the smoothing
_WIDER = 1.4
_DETAIL = 0.3  # of the standard deviation of the light over a picture: that of what smoothing lacks
_FINER = 3  # than the array: an odd number, so that pixels at rest look at the middle of a cell
_LEAST_SHARE = 0.2  # of the frames that looked at a mean place
_LEAST_GAIN = 0.1  # where no pixel looked there is none
_BRIGHTEST = 8.0  # light over the mean, or of a frame
_SATURATED = 0.2  # change of a count for that of the light, both relative


def seen_of(light: Picture, scale: int) -> Seen:
    """What native pixels see of a picture (s H, s W) of light in a frame: its means over s x s, at every place."""
    return Seen(_boxes(light, scale), scale, scale / 2, 0.0)


def detailed(blocks: Blocks, poses: Floats) -> Seen:
    """The counts of blocks along a path, smoothed, with the detail that they hold beyond that."""
    sums = summed(blocks, poses, PLACES)
    smooth = smoothed_sums(blocks, sums, None, PLACES)
    known = np.isfinite(smooth.light)
    if not known.any():
        return smooth
    light = np.where(known, smooth.light, smooth.light[known].mean()).astype(np.float32)
    sd = np.full_like(light, _DETAIL * light[known].std())
    seen = seen_of(sharpened(light, sd, merged_of(blocks, sums, PLACES)), PLACES)
    unknown = _boxes(~known, PLACES) > 0
    return seen._replace(light=np.where(unknown, np.nan, seen.light), width=smooth.width)


def _boxes(values: Picture | NDArray[np.bool_], side: int) -> Floats:
    """Means over squares that begin at each place."""
    boxes = cv2.boxFilter(values.astype(np.float64), -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    return np.asarray(boxes)


def softened(seen: Seen, width: float) -> Seen:
    """The same picture out of focus: blurred by a standard deviation of `width` native pixels."""
    if width == 0:
        return seen
    known = np.isfinite(seen.light)
    light, share = (
        cv2.GaussianBlur(each, (0, 0), width * seen.scale)
        for each in (np.where(known, seen.light, 0), known.astype(np.float64))
    )
    return seen._replace(light=np.where(known, light / np.maximum(share, 1e-3), np.nan))


def at_rest(seen: Seen) -> Floats:
    """What the pixels of an array at rest see, (H, W)."""
    start = round(seen.scale / 2 - seen.origin)
    return np.asarray(seen.light[start :: seen.scale, start :: seen.scale])


def smoothed(blocks: Blocks, poses: Floats, width: float | None = None, scale: int = _FINER) -> Seen:
    """The counts of blocks along a path, smoothed by a Gaussian as wide as they are worth.

    They are merged `scale` times as finely as the array. Without `width` (native pixels) it is that of the least
    expected error, and wider: noise in a picture, to which its own counts fit, leads a path astray more than a lack of
    detail.

    Source: Mallows, Technometrics 15 (1973) 661.
    """
    return smoothed_sums(blocks, summed(blocks, poses, scale), width, scale)


def smoothed_sums(blocks: Blocks, sums: Sums, width: float | None, scale: int) -> Seen:
    """The same of what the counts of blocks add up to on such a grid."""
    frames, counts = sums.frames.astype(np.float32), sums.counts.astype(np.float32)
    mean = float(sums.counts.sum() / max(sums.frames.sum(), 1))
    law = law_of(blocks.model(typical_frames(sums.frames)), _BRIGHTEST * max(mean, 1.0))
    if width is None:
        width = _WIDER * _best_width(frames, counts, scale, law)
    share, measured, gain, dark = _blurred(width * scale, frames, counts, sums.gains, sums.darks)
    share = np.maximum(share, 1e-9)
    fired = light_of(law, measured / share)
    light = np.maximum(fired - dark / share, 0) / np.maximum(gain / share, _LEAST_GAIN)
    known = (share > _LEAST_SHARE * share.mean()) & ~_beside_saturated(fired, law, scale)
    return Seen(np.where(known, light, np.nan), scale, 0.5, width)


def _beside_saturated(fired: Floats, law: Law, scale: int) -> NDArray[np.bool_]:
    """Where counts hardly tell the light, and a native pixel around: it is smoothed beyond its edges."""
    light = np.square(np.arange(1, len(law.mean)) / law.rows)
    saturated = law.slope[1:] * light < _SATURATED * law.mean[1:]
    if not saturated.any() or fired.max() < light[saturated.argmax()]:
        return np.zeros(fired.shape, bool)
    there = (fired >= light[saturated.argmax()]).astype(np.uint8)
    return np.asarray(cv2.dilate(there, np.ones((2 * scale + 1,) * 2, np.uint8)) > 0)


def _best_width(frames: Singles, counts: Singles, scale: int, law: Law) -> float:
    """The width of smoothing with the least expected error, native pixels: that before the first which is worse."""
    measured = counts / np.maximum(frames, 1)
    mean = float(counts.sum() / max(frames.sum(), 1))
    share, around = _blurred(scale, frames, counts)
    around = around / np.maximum(share, 1e-9)
    noise = np.maximum(around, mean / 10) * np.interp(around, law.mean, law.spread)
    certain = frames / np.maximum(noise, 1e-12)  # over its variance
    best, least = _WIDTHS[0], np.inf
    for width in _WIDTHS:
        share, answer = _blurred(width * scale, frames, counts)
        share = np.maximum(share, 1e-9)
        own = _own_share(width * scale) * frames / share
        expected = float((np.square(measured - answer / share) * certain).sum() + 2 * own.sum())
        if expected > least:
            break
        best, least = width, expected
    return best


def _blurred(width: float, *images: Floats | Singles) -> Singles:
    """Images (n, s H, s W) smoothed by a Gaussian of `width` of their own pixels."""
    together = np.stack(images, axis=-1).astype(np.float32, copy=False)
    blurred = np.asarray(cv2.GaussianBlur(together, (0, 0), width, borderType=cv2.BORDER_REFLECT), np.float32)
    return np.moveaxis(blurred, -1, 0)


def _own_share(width: float) -> float:
    """What a cell keeps of itself when smoothed."""
    return float(cv2.getGaussianKernel(2 * round(4 * width) + 1, width).max() ** 2)
