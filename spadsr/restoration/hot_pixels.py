"""Finding hot pixels: those that count far more than all around them, as no light does.

Light through any optics reaches the neighbours of a pixel as well: of a point in focus on it, as wide at half its
height as a pixel, 60 % stay in the pixel. So where pixels count far more than their neighbours, and these no more than
what lies beyond them, they are hot. Counts are compared as Poisson ones, than which those of a binary array, or with
dead time, spread less.

Source: Li & Ma, Astrophysical Journal 272 (1983) 317, equation 17: how significantly counts exceed those beside.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.errors import Note

#: A hot pixel that stands alone is left out; where some touch, which light might do, they are shown as they counted.
LEFT_OUT, AS_COUNTED = 1, 2

_OUTSTANDING = 5.0  # standard deviations above the restored image, and above all neighbours but one
_EVEN = 2.0  # standard deviations of chi-squared that counts around may scatter more than chance has them
_FAR, _RARE = 5.0, 4.5  # where they are even: times their mean; standard deviations, for three pixels in a million
_TIMES, _SURELY = 3.0, 3.1  # else: times the brightest neighbour; standard deviations above so many times the mean
_MOST_TOUCHING = 4  # pixels of a group; what is larger is light
_MOST_NEIGHBOURS = 5  # of eight
_SURE = 1.0  # log-likelihood of a pixel that is left out: hot, over lit
_WIDTH, _ASIDE = 1.0, 0.3  # pixels: a point of light at half its height, and how far from a pixel's middle it may be

_NAMED = 5  # groups named in a warning, at most
_BESIDE = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
_WIDER = [(0, 0), (2, 2), (2, 2)]
_BEYOND = [(row, column) for row in range(-2, 3) for column in range(-2, 3) if max(abs(row), abs(column)) == 2]


def find_hot(counts: Floats, frames: Floats) -> NDArray[np.uint8]:
    """Hot pixels (B, H, W) of images: `LEFT_OUT`, `AS_COUNTED`, or 0 for ordinary ones.

    Hot are pixels alone, or up to four that touch, each of which counts far more than the 24 pixels around it: where
    these are as even as chance leaves them, five times their mean, and more than one pixel in 300,000 does by chance;
    else three times the brightest neighbour, and significantly more than three times the mean. And the neighbours'
    counts must be likelier those of the pixels beyond them than these with the light added that optics would bring:
    2.7 times for a pixel alone. One that counts as much more than those that it touches is alone, too.

    Of even scenes one pixel in 300,000, or fewer, is taken for hot; of 88 pictures (1.5 million pixels at 0.2
    detections a frame and white) none with N = 1 to 16, 3 with 64, 15 with 256. Of pixels of 10 times a background of
    1, 1.5, 2 and 5 counts 46, 73, 82 and 98 % are found, and of 100 times all. A point of light whose width at half its
    height is a pixel is left out in 2 % of cases if it counts 20, else in none; if 1.5 pixels, never.

    Args:
        counts: (B, H, W), as recorded.
        frames: hardware frames of each pixel, to be broadcast to that shape; 0 for pixels that are not looked at.
    """
    frames = np.broadcast_to(np.asarray(frames, np.float64), counts.shape)
    images = _Images(np.where(frames > 0, counts, 0).astype(np.float64), frames)
    hot = images.candidates()
    while hot.any():  # what is not hot is compared with in the next round
        fewer = images.outstanding(hot, hot)
        if fewer.sum() == hot.sum():
            break
        hot = fewer
    if not hot.any():  # as in most images
        return np.zeros(counts.shape, np.uint8)
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

    @cached_property
    def wide(self) -> tuple[Floats, Floats]:
        """Counts and frames with two pixels more on each side, which nobody looked at."""
        return np.pad(self.counts, _WIDER), np.pad(self.frames, _WIDER)

    def candidates(self) -> NDArray[np.bool_]:
        """Pixels above most of their neighbours: five of these are beside a group of four."""
        above = np.zeros(self.rate.shape, np.uint8)
        for beside in _around(_TIMES * self.rate):
            above += self.rate > beside
        return np.asarray((self.counts > 0) & (above >= _MOST_NEIGHBOURS))

    def outstanding(self, pixels: NDArray[np.bool_], apart: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the pixels count far more than all around them."""
        beside, near = self._of(_BESIDE, pixels, apart)
        around, live = self._of(_BESIDE + _BEYOND, pixels, apart)
        counts, frames = self.counts[pixels], self.frames[pixels]
        summed, watched = around.sum(1), live.sum(1)
        level = (summed + 0.5) / np.maximum(watched, 1)
        mean, places = level[:, None] * live, (live > 0).sum(1)
        scatter = ((around - mean) ** 2 / np.maximum(mean, np.finfo(np.float64).tiny)).sum(1)
        brightest = (beside / np.maximum(near, 1)).max(1)
        found = np.zeros_like(pixels)
        found[pixels] = np.where(
            scatter <= places + _EVEN * np.sqrt(2 * places),
            (counts > _FAR * level * frames) & (_significance(counts, frames, summed, watched) > _RARE),
            (counts > _TIMES * brightest * frames)
            & (_significance(counts, _TIMES * frames, summed, watched) > _SURELY),
        )
        return found

    def evidence(self, pixels: NDArray[np.bool_], apart: NDArray[np.bool_]) -> Floats:
        """Log-likelihood that the neighbours are as dark as what lies beyond them, over that of light; 0 elsewhere."""
        beside, near = self._of(_BESIDE, pixels, apart)
        further, live = self._of(_BEYOND, pixels, apart)
        beyond = (further.sum(1) + 0.5) / np.maximum(live.sum(1), 1)
        dark = np.maximum(beyond[:, None] * near, np.finfo(np.float64).tiny)[:, None]
        light = np.maximum(self.rate[pixels] - beyond, 0)[:, None, None] * _SKIRTS * near[:, None]
        found = np.zeros_like(self.rate)
        found[pixels] = (light - beside[:, None] * np.log1p(light / dark)).sum(2).min(1)
        return found

    def _of(
        self, places: list[tuple[int, int]], pixels: NDArray[np.bool_], apart: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """(n, places) counts and frames of the pixels in these places around each."""
        image, row, column = (each[:, None] for each in np.nonzero(pixels))
        down, right = (np.array(each) + 2 for each in zip(*places, strict=True))
        there = image, row + down, column + right
        compared = ~np.pad(apart, _WIDER)[there]
        counts, frames = (values[there] * compared for values in self.wide)
        return counts, frames


def _significance(counts: Floats, frames: Floats, around: Floats, watched: Floats) -> Floats:
    """Standard deviations by which counts exceed what their frames and those around lead to; 0 where they do not."""
    whole = counts + around
    with np.errstate(divide="ignore", invalid="ignore"):
        share = frames / (frames + watched)
        own = counts * np.log(counts / (whole * share))
        rest = np.where(around > 0, around * np.log(around / (whole * (1 - share))), 0)
        return np.where((counts > share * whole) & (watched > 0), np.sqrt(2 * (own + rest)), 0.0)


def _skirts() -> Floats:
    """Light on the eight neighbours over that on the pixel, (places of the point in the pixel, 8)."""

    def across(middle: float) -> Floats:
        edges = [math.erf((edge - middle) * 2 * math.sqrt(math.log(2)) / _WIDTH) for edge in (-1.5, -0.5, 0.5, 1.5)]
        return np.diff(edges)

    middles = [across(middle) for middle in (-_ASIDE, 0, _ASIDE)]
    points = [np.outer(down, right) / (down[1] * right[1]) for down in middles for right in middles]
    return np.array([[point[1 + row, 1 + column] for row, column in _BESIDE] for point in points])


_SKIRTS = _skirts()


def _groups(hot: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """A number for each group of pixels that touch, and how many pixels it has; 0 where none is hot."""
    label, groups = np.zeros(hot.shape, np.int32), 0
    for image in np.flatnonzero(hot.any(axis=(1, 2))):
        more, found = cv2.connectedComponents(hot[image].astype(np.uint8), connectivity=8)
        label[image] = np.where(found > 0, found + groups, 0)
        groups += more - 1
    return label, np.where(hot, np.bincount(label.ravel())[label], 0)


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
    label *= size >= least
    groups = [np.nonzero(label[0] == number) for number in np.unique(label) if number]
    return [f"{_range('row', rows)}, {_range('column', columns)}" for rows, columns in groups]


def _named(places: list[str]) -> str:
    return "; ".join(places[:_NAMED]) + ("; ..." if len(places) > _NAMED else "")


def _range(name: str, places: NDArray[np.intp]) -> str:
    first, last = places.min(), places.max()
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
    for row, column in _BESIDE:
        yield wide[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]
