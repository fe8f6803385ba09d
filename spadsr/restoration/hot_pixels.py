"""Finding hot pixels: those that count far more than all around them, as no light does.

Light through any optics reaches the neighbours of a pixel as well: of a point in focus on it, as wide at half its
height as a pixel, 60 % stay in the pixel. So where pixels count far more than their neighbours, and these no more than
what lies beyond them, they are hot. Counts are compared as Poisson ones, than which those of a binary array, or with
dead time, spread less.

Source: Przyborowski & Wilenski, Biometrika 31 (1940) 313: of two Poisson counts, given their sum, one is binomial.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import betainc

from noise_model.arrays import Floats
from noise_model.errors import Note

#: A hot pixel that stands alone is left out; where some touch, which light might do, they are shown as they counted.
LEFT_OUT, AS_COUNTED = 1, 2

_OUTSTANDING = 5.0  # standard deviations above the restored image, and above all neighbours but one
_TIMES = 3.0  # what a hot pixel counts over what those around it do, at least
_CHANCE = 1e-3  # that a pixel of `_TIMES` the rate around it counts as much; an ordinary one hardly ever does
_MOST_TOUCHING = 4  # pixels of a group; what is larger is light
_SKIRT = 2 / 3  # light on the eight neighbours over that on the pixel, where 60 % stay in it
_SURE = 3.0  # log-likelihood: a pixel is left out if it is twenty times as likely hot as lit

_NAMED = 5  # groups named in a warning, at most
_BESIDE = np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], bool)
_TOUCHING = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def find_hot(counts: Floats, frames: Floats) -> NDArray[np.uint8]:
    """Hot pixels (B, H, W) of images: `LEFT_OUT`, `AS_COUNTED`, or 0 for ordinary ones.

    Hot are pixels alone, or up to four that touch, of which each counts three times as much as the brightest of its
    other neighbours, and significantly so beside the mean of the 24 pixels around it, if the neighbours' counts are
    likelier those of the pixels beyond them than these with the light added that optics would bring: twenty times for a
    pixel alone. One that counts three times as much as those that it touches is alone, too.

    Of even scenes one pixel in a million, or fewer, is taken for hot by chance; of 88 pictures (1.5 million pixels at
    0.2 detections a frame and white) none with N = 1 to 16, one with 64, 24 with 256. 10 times a background of 5 counts
    are found in 17 of 20 cases, two such that touch in 19, and 100 times always. A point of light whose width at half
    its height is a pixel is left out in 2 % of cases if it counts 20, else in none; if 1.5 pixels, never.

    Args:
        counts: (B, H, W), as recorded.
        frames: hardware frames of each pixel, to be broadcast to that shape; 0 for pixels that are not looked at.
    """
    frames = np.broadcast_to(np.asarray(frames, np.float64), counts.shape)
    images = _Images(np.where(frames > 0, counts, 0).astype(np.float64), frames)
    hot = images.candidates()
    while True:  # what is not hot is compared with in the next round
        fewer = images.outstanding(hot, hot)
        if fewer.sum() == hot.sum():
            break
        hot = fewer
    label, size = _groups(hot)
    evidence = np.bincount(label[hot], images.evidence(hot, hot)[hot], label.max(initial=0) + 1)[label]
    hot &= (size <= _MOST_TOUCHING) & (evidence > np.where(size > 1, 0, _SURE))
    alone = np.zeros_like(hot)
    while True:  # one far above those that it touches is alone, and so, without it, may they be
        touching = hot & ~alone & (_groups(hot & ~alone)[1] > 1)
        more = hot & ~touching | images.outstanding(touching, alone) & (images.evidence(touching, alone) > _SURE)
        if (alone | more).sum() == alone.sum():
            break
        alone |= more
    return np.where(alone, LEFT_OUT, np.where(touching, AS_COUNTED, 0)).astype(np.uint8)


@dataclass(frozen=True)
class _Images:
    """Counts and frames (B, H, W), float64; both 0 where a pixel is not looked at.

    Pixels are compared with those around them, but those `apart`: masks (B, H, W).
    """

    counts: Floats
    frames: Floats

    @cached_property
    def rate(self) -> Floats:
        return self.counts / np.maximum(self.frames, 1)

    def candidates(self) -> NDArray[np.bool_]:
        """Pixels above most of their neighbours: five of these are beside a group of four."""
        fifth = ndimage.rank_filter(self.rate, 4, footprint=_BESIDE, mode="mirror")
        return np.asarray((self.counts > 0) & (self.rate > _TIMES * fifth))

    def outstanding(self, pixels: NDArray[np.bool_], apart: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the pixels count far more than all around them."""
        brightest = ndimage.maximum_filter(np.where(apart, 0, self.rate), footprint=_BESIDE, mode="constant")
        found = np.asarray(pixels & (self.rate > _TIMES * brightest))
        counts, frames = self.counts[found], self.frames[found]
        around, live = self._around(5, found, apart)
        share = _TIMES * frames / (_TIMES * frames + live)
        found[found] = betainc(counts, around + 1, share) < _CHANCE
        return found

    def evidence(self, pixels: NDArray[np.bool_], apart: NDArray[np.bool_]) -> Floats:
        """Log-likelihood that the neighbours are as dark as what lies beyond them, over that of light; 0 elsewhere."""
        around, live = self._around(5, pixels, apart)
        beside, near = self._around(3, pixels, apart)
        beyond = (around - beside + 0.5) / np.maximum(live - near, 1)
        dark = np.maximum(beyond * near, np.finfo(np.float64).tiny)
        light = _SKIRT * near / 8 * np.maximum(self.rate[pixels] - beyond, 0)
        found = np.zeros_like(self.rate)
        found[pixels] = light - beside * np.log1p(light / dark)
        return found

    def _around(self, side: int, pixels: NDArray[np.bool_], apart: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """(n,) counts and frames around pixels, in boxes of so many rows and columns."""
        own = pixels & ~apart
        boxes = (
            _boxes(np.where(apart, 0, values), side) - np.where(own, values, 0) for values in (self.counts, self.frames)
        )
        counts, frames = (box[pixels] for box in boxes)
        return np.maximum(counts, 0), np.maximum(frames, 0)


def _groups(hot: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """A number for each group of pixels that touch, and how many pixels it has; 0 where none is hot."""
    label, _ = ndimage.label(hot, structure=_TOUCHING)
    return label, np.where(hot, np.bincount(label.ravel())[label], 0)


def _boxes(values: Floats, side: int) -> Floats:
    """Sums over boxes of so many rows and columns around each pixel (B, H, W), of what is inside the image."""
    return np.asarray(side**2 * ndimage.uniform_filter(values, size=(1, side, side), mode="constant"))


class HotPixels:
    """Collects the hot pixels found in the images of a recording, and says so. Keeps two maps."""

    def __init__(self) -> None:
        self._found: dict[int, NDArray[np.bool_]] = {}

    def add(self, hot: NDArray[np.uint8]) -> None:
        """Takes in what was found in the next images, (n, H, W), as of `find_hot`."""
        for kind in (LEFT_OUT, AS_COUNTED):
            found = (hot == kind).any(axis=0)
            self._found[kind] = self._found.get(kind, np.zeros_like(found)) | found

    def warnings(self) -> list[str]:
        """A line on those left out, and one on groups shown as they were counted, where there are some."""
        lines: list[str] = []
        left_out, as_counted = self._found[LEFT_OUT], self._found[AS_COUNTED]
        if left_out.any():
            many, touching = int(left_out.sum()), _places(left_out, 2)
            some = f" (some touch: {_named(touching)})" if touching else ""
            lines.append(
                Note(
                    f"{many} pixel{'s' * (many > 1)} ({many / left_out.size:.1%}) far above all around: hot, left out"
                    f"{some}; so is a point of light smaller than a pixel, unless the dark counts are known",
                    "dark",
                    "sensor",
                )
            )
        if as_counted.any():
            places = _places(as_counted, 1)
            lines.append(
                Note(
                    f"{len(places)} spot{'s' * (len(places) > 1)} of up to four touching pixels far above all around:"
                    f" hot, or a point of light; shown as counted ({_named(places)})",
                    "dark",
                    "mask",
                )
            )
        return lines


def _places(found: NDArray[np.bool_], least: int) -> list[str]:
    """Where groups of so many touching pixels of a map (H, W), or more, are."""
    label, size = _groups(found[None])
    boxes = filter(None, ndimage.find_objects(label * (size >= least)))
    return [f"{_range('row', rows)}, {_range('column', columns)}" for _, rows, columns in boxes]


def _named(places: list[str]) -> str:
    return "; ".join(places[:_NAMED]) + ("; ..." if len(places) > _NAMED else "")


def _range(name: str, place: slice) -> str:
    first, last = place.start, place.stop - 1
    return f"{name} {first}" if first == last else f"{name}s {first} to {last}"


def hot_pixels(counts: Floats, expected: Floats, variance: Floats, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Good pixels (..., H, W) whose counts are far above those expected of a restored image, and above all neighbours.

    Args:
        counts: as recorded.
        expected, variance: mean and variance of the counts that the restored rates lead to.
        good: (H, W), pixels that the sensor's mask does not leave out.
    """
    return (counts - expected > _OUTSTANDING * np.sqrt(variance)) & stands_out(counts, good) & good


def stands_out(counts: Floats, good: NDArray[np.bool_], times: float = 1.0) -> NDArray[np.bool_]:
    """Pixels (..., H, W) that count far more than all of their eight neighbours but one.

    Hot pixels do, alone or in pairs; of thin lines only the ends do. The difference is 5 of its standard deviations or
    more, and the pixel counts `times` as much as those neighbours.

    Args:
        good: (H, W), pixels that are compared with; others count as neighbours without counts.
    """
    root = 2 * np.sqrt(counts + 0.375)  # of standard deviation 1 (Anscombe), or less where counts spread less
    first, second = np.zeros_like(root), np.zeros_like(root)
    for beside in _around(np.where(good, root, 0)):
        np.maximum(second, np.minimum(first, beside), out=second)
        np.maximum(first, beside, out=first)
    return np.asarray((root - second > _OUTSTANDING * math.sqrt(2)) & (root > math.sqrt(times) * second))


def _around(values: Floats) -> Iterator[Floats]:
    """The eight neighbours of every pixel (..., H, W), mirrored beyond the edge, so that no line ends there."""
    height, width = values.shape[-2:]
    wide = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)], mode="reflect")
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                yield wide[..., row : row + height, column : column + width]
