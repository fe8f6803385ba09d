"""A recording as calibration sees it, and its exact sums, gathered in one pass whatever its length.

A recording of 10^6 images cannot be held in memory, but all that calibration asks of it are sums over its images: of
counts, of their squares, and of products of counts that lie `LAGS` images or a few pixels apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.errors import InputError
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure

#: Distances in images between the two counts of a product. Over the last four no afterpulse reaches: only changes of
#: the light show there.
LAGS = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128)
LONG_LAGS = slice(6, 10)

#: Half of the neighbours that crosstalk reaches; the other half are the same pairs, seen from the other pixel.
NEAR = tuple((row, column) for row in range(3) for column in range(-2, 3) if row > 0 or column > 0)

#: Stretches of equal length that a recording is cut into, to see whether the light drifts.
SEGMENTS = 100

_ROOM = 1 << 25  # counts held at once, but at least twice as many images as the longest lag
_MOST_AT_ONCE = 1024  # images: a few rows of pixels then stay in the cache

Offset = tuple[int, int]


@dataclass(frozen=True)
class Stream:
    """A recording that is read block by block, and how it was taken.

    Attributes:
        name: the file name, for messages.
        shape: (T, H, W): images, rows, columns.
        exposure: of one image.
        dead_time: s, from the header; None is unknown; 0 for a binary array.
        counter_bits: of the in-pixel counter; 1 is a binary array.
        blocks: gives the images in order, (n, H, W) unsigned integers at a time; may be called more than once.
        corrected: the counts are dead-time corrected.
        background_subtracted: a background was subtracted from the counts.
        peak_normalised: the images were stretched, each to its own largest count.
    """

    name: str
    shape: tuple[int, int, int]
    exposure: Exposure
    dead_time: float | None
    counter_bits: int
    blocks: Callable[[], Iterator[NDArray[Any]]]
    corrected: bool = False
    background_subtracted: bool = False
    peak_normalised: bool = False

    @property
    def saturation_value(self) -> int:
        """The largest count an image can hold."""
        return self.exposure.most_cycles * ((1 << self.counter_bits) - 1)


@dataclass(frozen=True)
class StreamStatistics:
    """Exact int64 sums over the T images of a recording; k_t is a count of image t.

    Attributes:
        name, exposure, dead_time, counter_bits: those of the stream.
        images: T.
        total: (H, W) sum of k_t.
        square: (H, W) sum of k_t^2.
        saturated: (H, W) number of images at the largest count they can hold.
        lagged: (L, H, W) sum of k_t k_(t+m) over the T - m pairs, m = LAGS.
        leading, trailing: (L, H, W) sum of the k_t, and of the k_(t+m), of these pairs.
        beside: (H, W) sum of the products of k_t and the count of the same image at an offset from the pixel, by offset
            (rows, columns): those of NEAR and of `far_offsets`; 0 where there is no such pixel.
        segment_counts, segment_images: (S,) sum over all pixels, and number of images, of S <= SEGMENTS stretches.
    """

    name: str
    exposure: Exposure
    dead_time: float | None
    counter_bits: int
    images: int
    total: NDArray[np.int64]
    square: NDArray[np.int64]
    saturated: NDArray[np.int64]
    lagged: NDArray[np.int64] = field(repr=False)
    leading: NDArray[np.int64] = field(repr=False)
    trailing: NDArray[np.int64] = field(repr=False)
    beside: dict[Offset, NDArray[np.int64]] = field(repr=False)
    segment_counts: NDArray[np.int64] = field(repr=False)
    segment_images: NDArray[np.int64] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.total.shape[0], self.total.shape[1]

    @property
    def binary(self) -> bool:
        """Whether the array is binary: one bit per hardware frame."""
        return self.counter_bits == 1

    @property
    def frames(self) -> int:
        """Number of hardware frames in the recording."""
        return self.images * self.exposure.most_cycles

    @property
    def live_time(self) -> float:
        """Time that the pixels were live in the whole recording, s, dead times included."""
        return self.frames * self.exposure.count_time

    @property
    def mean(self) -> Floats:
        """Mean count (H, W) of an image."""
        return self.total / self.images

    @property
    def variance(self) -> Floats:
        """Unbiased variance (H, W) of an image's count; NaN for a single image."""
        n = self.images
        return _ratio(self.square - self.mean * self.total, n - 1)

    @property
    def lag_covariance(self) -> Floats:
        """Covariance (L, H, W) of counts LAGS images apart; NaN where the recording is no longer than that."""
        pairs = self.images - np.asarray(LAGS)[:, None, None]
        return _ratio(self.lagged - _ratio(self.leading, pairs) * self.trailing, pairs)

    def covariance(self, offset: Offset) -> Floats:
        """Unbiased covariance (H, W) of each pixel with the one at `offset`; NaN where there is none."""
        first, second = pair(offset, self.shape)
        covariance = np.full(self.shape, np.nan)
        expected = self.mean[first] * self.total[second]
        covariance[first] = _ratio(self.beside[offset][first] - expected, self.images - 1)
        return covariance


def pair(offset: Offset, shape: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of an array of `shape` that select the pixels with a neighbour at `offset`, and these neighbours."""
    spans = [(max(0, -step), size - max(0, step), step) for step, size in zip(offset, shape, strict=True)]
    first = tuple(slice(low, max(low, high)) for low, high, _ in spans)
    second = tuple(slice(low + step, max(low, high) + step) for low, high, step in spans)
    return (first[0], first[1]), (second[0], second[1])


def far_offsets(shape: tuple[int, int]) -> tuple[Offset, ...]:
    """Offsets beyond the reach of crosstalk: such pixels have nothing in common but the light."""
    height, width = shape
    straight = [offset for n in (2, 3) for offset in ((height // n, 0), (0, width // n))]
    slanting = [(height // n, sign * (width // n)) for n in (3, 4) for sign in (1, -1)]
    return tuple(dict.fromkeys(offset for offset in straight + slanting if max(map(abs, offset)) > 3))


def gather(stream: Stream, report: Report = silent) -> StreamStatistics:
    """Gathers the statistics of a recording in one pass over its blocks; memory does not depend on T.

    Args:
        report: called after every block with the images done and T.

    Raises:
        InputError: a count is above the largest possible, or the sums could exceed 63 bits.
    """
    largest = stream.saturation_value
    if largest**2 * stream.shape[0] >= 1 << 63:
        raise InputError(
            f"{stream.name}: {stream.shape[0]} images with counts of up to {largest}: sums of their squares"
            " would exceed 63 bits; sum fewer frames into an image"
        )
    sums = _Sums(stream)
    for block in stream.blocks():
        if block.max() > largest:
            raise InputError(
                f"{stream.name}: holds the count {block.max()}, above the largest possible, {largest};"
                " correct its cycles and counter bits"
            )
        sums.add(np.ascontiguousarray(block).reshape(len(block), -1))
        report(sums.images, stream.shape[0])
    return sums.statistics()


class _Sums:
    """The sums so far, and the last images, which the next ones are multiplied by."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.images = stream, 0
        pixels, self.memory = stream.shape[1] * stream.shape[2], LAGS[-1]
        room = self.memory + min(max(_ROOM // pixels - self.memory, self.memory), _MOST_AT_ONCE)
        largest = stream.saturation_value
        self.counts = np.zeros((pixels, room), dtype=np.min_scalar_type(largest))  # the last images, pixel by pixel
        self.kept = 0  # of them
        self.lags = np.array(LAGS)
        self.offsets = np.array(NEAR + far_offsets(stream.shape[1:]))
        self.total, self.square, self.saturated = np.zeros((3, pixels), dtype=np.int64)
        self.first, self.lagged = np.zeros((2, len(LAGS), pixels), dtype=np.int64)
        self.beside = np.zeros((len(self.offsets), pixels), dtype=np.int64)
        segments = min(SEGMENTS, stream.shape[0])
        self.segment_counts, self.segment_images = np.zeros((2, segments), dtype=np.int64)

    def add(self, block: NDArray[Any]) -> None:
        """Adds images (n, P) to the sums."""
        self._add_segments(block)
        while len(block):
            if self.kept == self.counts.shape[1]:
                self._make_room()
            part, block = np.split(block, [self.counts.shape[1] - self.kept])
            self._add_part(part)

    def _add_segments(self, block: NDArray[Any]) -> None:
        at = np.arange(self.images, self.images + len(block)) * len(self.segment_images) // self.stream.shape[0]
        np.add.at(self.segment_counts, at, block.sum(axis=1, dtype=np.int64))
        np.add.at(self.segment_images, at, 1)

    def _make_room(self) -> None:
        self.counts[:, : self.memory] = self.counts[:, self.kept - self.memory : self.kept]
        self.kept = self.memory

    def _add_part(self, part: NDArray[Any]) -> None:
        from noise_model.calibration import accumulate

        start, stop = self.kept, self.kept + len(part)
        accumulate.lay_out(part, self.counts, start)
        sums = self.total, self.square, self.saturated, self.lagged
        accumulate.add_up(self.counts, start, stop, self.stream.saturation_value, self.lags, *sums)
        accumulate.add_beside(self.counts, start, stop, self.stream.shape[2], self.offsets, self.beside)
        self.kept, self.images = stop, self.images + len(part)
        if start < self.memory and self.images == stop:
            self.first = self._edge(lambda lag: self.counts[:, : min(lag, stop)])

    def _edge(self, images: Callable[[int], NDArray[Any]]) -> NDArray[np.int64]:
        """Sums (L, P) of the outermost images at one end of the recording, as many as each lag."""
        return np.stack([images(lag).sum(axis=1, dtype=np.int64) for lag in LAGS])

    def statistics(self) -> StreamStatistics:
        """The statistics of all images added."""
        last = self._edge(lambda lag: self.counts[:, max(0, self.kept - lag) : self.kept])
        maps = self.total, self.square, self.saturated, self.lagged, self.total - last, self.total - self.first
        total, square, saturated, lagged, leading, trailing = (
            one.reshape(*one.shape[:-1], *self.stream.shape[1:]) for one in maps
        )
        beside = self.beside.reshape(-1, *self.stream.shape[1:])
        return StreamStatistics(
            name=self.stream.name,
            exposure=self.stream.exposure,
            dead_time=self.stream.dead_time,
            counter_bits=self.stream.counter_bits,
            images=self.images,
            total=total,
            square=square,
            saturated=saturated,
            lagged=lagged,
            leading=leading,
            trailing=trailing,
            beside={(int(row), int(column)): one for (row, column), one in zip(self.offsets, beside, strict=True)},
            segment_counts=self.segment_counts,
            segment_images=self.segment_images,
        )


def _ratio(sums: NDArray[Any], terms: int | NDArray[Any]) -> Floats:
    """Sums over a number of terms; NaN where that is not positive."""
    return np.asarray(sums / np.where(np.asarray(terms) > 0, terms, np.nan), dtype=np.float64)
