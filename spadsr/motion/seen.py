"""Pictures to align to: what native pixels see of a scene, wherever they look."""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from noise_model.arrays import Floats, Picture
from spadsr.motion.blocks import Blocks, dark_of, gain_of
from spadsr.motion.kernels import Law, Seen
from spadsr.motion.law import law_of, light_of
from spadsr.motion.merging import merge

#: Makes the picture to align to out of blocks and their poses.
Painter: TypeAlias = Callable[[Blocks, Floats], Seen]

_WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)  # native pixels, standard deviations of the smoothing
_WIDER = 1.4
_FINER = 3
_LEAST_SHARE = 0.2  # of the frames that looked at a mean place
_LEAST_GAIN = 0.1  # where no pixel looked there is none
_BRIGHTEST = 8.0  # light over the mean


def seen_of(light: Picture, scale: int) -> Seen:
    """What native pixels see of a picture (s H, s W) of light in a frame: its means over s x s, at every place."""
    boxes = cv2.boxFilter(light.astype(np.float64), -1, (scale, scale), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    return Seen(np.asarray(boxes), scale, scale / 2, 0.0)


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


def smoothed(blocks: Blocks, poses: Floats, width: float | None = None) -> Seen:
    """The counts of blocks along a path, smoothed by a Gaussian as wide as they are worth.

    They are merged three times as finely as the array: an odd number, so that pixels at rest look at the middle of a
    cell. Without `width` (native pixels) it is that of the least expected error, and wider: noise in a picture, to
    which its own counts fit, leads a path astray more than a lack of detail.

    Source: Mallows, Technometrics 15 (1973) 661.
    """
    merged = merge(blocks, poses, _FINER)
    frames, mean = merged.frames.astype(np.float64), merged.mean
    law = law_of(merged.typical, _BRIGHTEST * mean)
    measured = merged.counts / np.maximum(frames, 1)
    if width is None:
        width = _WIDER * _best_width(frames, measured, law)
    share = np.maximum(_blurred(frames, width), 1e-9)
    light = light_of(law, _blurred(frames * measured, width) / share)
    maps = gain_of(merged.sensor), dark_of(merged.sensor, merged.count_time)
    gain, dark = (_blurred(frames * each, width) / share for each in maps)
    light = np.maximum(light - dark, 0) / np.maximum(gain, _LEAST_GAIN)
    return Seen(np.where(share > _LEAST_SHARE * share.mean(), light, np.nan), _FINER, 0.5, width)


def _best_width(frames: Floats, measured: Floats, law: Law) -> float:
    """The width of smoothing with the least expected error, native pixels."""
    mean = float((frames * measured).sum() / max(frames.sum(), 1))
    around = _blurred(frames * measured, 1.0) / np.maximum(_blurred(frames, 1.0), 1e-9)
    rows = np.interp(around, law.mean, np.arange(len(law.mean)))
    noise = np.maximum(around, mean / 10) * np.interp(rows, np.arange(len(law.spread)), law.spread)
    certain = frames / np.maximum(noise, 1e-12)  # over its variance
    errors = []
    for width in _WIDTHS:
        share = np.maximum(_blurred(frames, width), 1e-9)
        answer = _blurred(frames * measured, width) / share
        own = _own_share(width) * frames / share
        errors.append(float((np.square(measured - answer) * certain).sum() + 2 * own.sum()))
    return _WIDTHS[int(np.argmin(errors))]


def _blurred(values: Floats, width: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), width * _FINER, borderType=cv2.BORDER_REFLECT))


def _own_share(width: float) -> float:
    """What a cell keeps of itself when smoothed."""
    return float(cv2.getGaussianKernel(2 * round(4 * width * _FINER) + 1, width * _FINER).max() ** 2)
