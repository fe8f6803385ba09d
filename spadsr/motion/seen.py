"""Pictures to align to: what native pixels see of a scene, wherever they look."""

from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np

from noise_model.arrays import Floats, Picture
from spadsr.motion.kernels import Seen
from spadsr.motion.law import law_of, light_of
from spadsr.motion.merging import Merged

#: Makes the picture to align to out of merged counts.
Painter: TypeAlias = Callable[[Merged], Seen]

_WIDTHS = (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0, 2.8)  # native pixels, standard deviations of the smoothing
_WIDER = 1.8
_FINER = 4
_LEAST_GAIN = 0.1  # where no pixel looked there is none
_BRIGHTEST = 8.0  # light over the mean


def seen_of(light: Picture, scale: int) -> Seen:
    """What native pixels see of a picture (s H, s W) of light in a frame: its means over s x s, at every place."""
    boxes = cv2.boxFilter(light.astype(np.float64), -1, (scale, scale), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    return Seen(np.asarray(boxes), scale, scale / 2)


def softened(seen: Seen, width: float) -> Seen:
    """The same picture out of focus: blurred by a standard deviation of `width` native pixels."""
    if width == 0:
        return seen
    return seen._replace(light=np.asarray(cv2.GaussianBlur(seen.light, (0, 0), width * seen.scale)))


def at_rest(seen: Seen) -> Floats:
    """What the pixels of an array at rest see, (H, W)."""
    start = round(seen.scale / 2 - seen.origin)
    return np.asarray(seen.light[start :: seen.scale, start :: seen.scale])


def smoothed(merged: Merged) -> Seen:
    """Counts, smoothed by a Gaussian as wide as they are worth, between the pixels by cubic curves.

    The width is that of the least expected error.

    Source: Mallows, Technometrics 15 (1973) 661.
    """
    frames, mean = merged.frames.astype(np.float64), merged.mean
    law = law_of(merged.typical, _BRIGHTEST * mean)
    measured = np.where(frames > 0, merged.counts / np.maximum(frames, 1), 0)
    rows = np.interp(measured, law.mean, np.arange(len(law.mean)))
    noise = np.maximum(measured, mean / 4) * np.interp(rows, np.arange(len(law.spread)), law.spread)
    certain = frames / np.maximum(noise, 1e-12)  # over its variance
    best, chosen = np.inf, _WIDTHS[0]
    for width in _WIDTHS:
        share = np.maximum(_blurred(frames, width), 1e-9)
        answer = _blurred(frames * measured, width) / share
        own = np.square(_blurred_peak(width)) * frames / share
        error = float((np.square(measured - answer) * certain).sum() + 2 * own.sum())
        if error < best:
            best, chosen = error, width
    chosen *= _WIDER
    share = np.maximum(_blurred(frames, chosen), 1e-9)
    light = light_of(law, _blurred(frames * measured, chosen) / share)
    gain, dark = (_blurred(frames * each, chosen) / share for each in (merged.gain, merged.dark))
    light = np.maximum(light - dark, 0) / np.maximum(gain, _LEAST_GAIN)
    fine = cv2.resize(light, None, fx=_FINER, fy=_FINER, interpolation=cv2.INTER_CUBIC)
    return Seen(np.maximum(fine, 0), _FINER, 0.5)


def _blurred(values: Floats, width: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), width, borderType=cv2.BORDER_REFLECT))


def _blurred_peak(width: float) -> float:
    """What a single row keeps of itself when smoothed."""
    return float(cv2.getGaussianKernel(2 * round(4 * width) + 1, width).max())
