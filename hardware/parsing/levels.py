"""Counts that were stored as evenly spaced grey levels: binary frames of 0 and 255, averages of frames, shifted bits.

The levels of such a file are the teeth of a comb: k * step, rounded. The rule that keeps real counts from being taken
for one: all levels of a sample are teeth at least two apart, and there are `ENOUGH` counts, of different pixels or
values, on teeth between 0 and the largest level, those of the most frequent level not among them.

Its reason: let P(k) be the distribution of the counts of all pixels. For any mixture of Poisson distributions, and of
binomial ones (sums of N binary frames), k! P(k), and P(k) over the binomial coefficient, are sequences of moments, so
they are log-convex, which gives P(k - 1) P(k + 1) >= P(k)^2 / 4 for 0 < k < N: whatever the light, values beside a
tooth are at least half as likely as those on it (each value may be beside two teeth). So n independent counts on inner
teeth come with none beside them with a probability of exp(-n / 2) at most: 4e-11 for 48, and below 1e-7 for all combs
that are tried. Nothing follows for 0 and for the largest level, as dead and saturated pixels may have these alone. If
those are all there is, pixels that change between the two decide: counts never jump from nothing to saturation without
any value between.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.sampling import samples, spread
from hardware.parsing.source import Source
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError, Note

#: Counts on inner teeth that decide, and pixels that change between the only two levels, of which the larger is the
#: largest number of its type, or is not.
ENOUGH, ENOUGH_FULL, ENOUGH_CHANGES = 48, 8, 48

#: Levels on a comb that decide where counts as large are impossible.
ENOUGH_LEVELS = 8

_LOOKED_AT = 32  # images, one by one

#: The most frames that an average is taken for; a finer comb of 16 bits is hardly told from counts.
MOST_FRAMES = 4096

#: Depths of grey levels in bits.
DEPTHS = (8, 10, 12, 14, 16)

#: The array of the public peak-normalised frames, and the settings that they show: counting pixels (9 bits) that fill
#: up at exposure / dead time = 17.5.
PUBLIC_SHAPE = (1, 64, 32)
PUBLIC_CAMERA = PartialSettings(count_time=875e-9, dead_time=50e-9, counter_bits=9)


@dataclass(frozen=True)
class Comb:
    """Evenly spaced grey levels.

    Attributes:
        step: distance of two levels before rounding.
        shift: 0 for levels rounded to the nearest, -0.5 for those rounded down.
        full: the largest grey level that can be stored; a higher one is stored as this.
        frames: number of frames whose average has these levels; None if nothing suggests an average.
    """

    step: float
    shift: float
    full: int
    frames: int | None

    def counts(self, levels: Counts) -> NDArray[np.uint32]:
        """Counts k from grey levels."""
        return np.rint((levels.astype(np.float64) - self.shift) / self.step).astype(np.uint32)

    def holds(self, levels: Counts) -> NDArray[np.bool_]:
        """Which levels are teeth. The tolerance admits both ways of rounding a half, as float32 gives either."""
        teeth = np.minimum(self.counts(levels) * self.step + self.shift, self.full)
        return np.asarray(np.abs(levels - teeth) <= 0.501)


def counts_of_levels(path: Path, source: Source, known: PartialSettings) -> Source:
    """The source of the counts behind the grey levels of `source`; `source` itself where it holds counts.

    Args:
        path: the file.
        source: integers.
        known: what the file and the user say. Numbers that are possible as they stand, by this, are counts.
    """
    if source.dtype.kind == "b" or (source.settings.cycles and source.settings.counter_bits):
        return source
    comb, top = _decided(source, known)
    if comb is None:
        return _each_stretched(path, source, known)
    if known.possible(top):
        return replace(source, remarks=(*source.remarks, Note(_doubt(comb), "cycles", "counter_bits")))
    return _recovered(path, source, comb, top)


def _decided(source: Source, known: PartialSettings) -> tuple[Comb | None, int]:
    """The comb of a source, if there is one beyond doubt, and its largest level in the sample."""
    top = 0
    for sample in samples(source):
        if source.pixel_mask is not None:
            sample = sample[:, source.pixel_mask == 0][:, None]
        levels, number = _levels(sample)
        top = int(levels[-1]) if levels.size else 0
        if levels.size < 2 or levels[0] < 0 or np.diff(levels).min() < 2 or levels[0] == 1:
            return None, top
        comb = _comb(levels, source.dtype, known)
        if comb is None or _enough(sample, comb, levels, int(levels[number.argmax()]), source.dtype):
            return comb, top
        # Where counts are impossible, refusing them is all that could be done otherwise.
        if _impossible(known, top) and (comb.frames == known.cycles or levels.size >= ENOUGH_LEVELS):
            return comb, top
    return None, top


def _levels(sample: Counts) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The values of a sample in order, and how often each occurs."""
    if sample.dtype.kind == "u" and sample.dtype.itemsize <= 2:
        numbers = np.bincount(sample.ravel())
        levels = np.flatnonzero(numbers)
        return levels, numbers[levels]
    return np.unique(sample, return_counts=True)


def _comb(levels: NDArray[Any], dtype: np.dtype[Any], known: PartialSettings) -> Comb | None:
    """The coarsest comb on whose teeth all `levels` lie."""
    full = int(np.iinfo(dtype).max)
    return next((comb for comb in _combs(levels, full, known) if comb.holds(levels).all()), None)


def _combs(levels: NDArray[Any], full: int, known: PartialSettings) -> Iterator[Comb]:
    """Combs to try: that of the known number of frames, that of all common factors, then averages of any number."""
    top, gap = int(levels[-1]), int(np.diff(levels).min())
    depths = [bits for bits in DEPTHS if top < 1 << bits <= full + 1]
    if known.cycles and known.counter_bits in (None, 1) and known.cycles < top:
        yield from _averages(depths, lambda white: (known.cycles or 1,))
    common = int(np.gcd.reduce(levels))
    if common > 1:
        yield Comb(common, 0.0, full, 1 if common == top else _frames(common, full))
    yield from _averages(depths, lambda white: _numbers_of_frames(white, gap))


def _averages(depths: Sequence[int], numbers: Callable[[int], Iterable[int]]) -> Iterator[Comb]:
    """Combs of averages of frames, where 1 is stored as the largest number of so many bits, or as the next one."""
    for bits in depths:
        full = (1 << bits) - 1
        for white in (full, full + 1):
            for number in numbers(white):
                yield Comb(white / number, 0.0, full, number)
                yield Comb(white / number, -0.5, full, number)


def _numbers_of_frames(white: int, gap: int) -> range:
    """Numbers of frames whose average has levels that are `gap` apart at the closest."""
    return range(max(2, int(white / (gap + 1))), int(min(MOST_FRAMES, white / (gap - 1), white / 2)) + 1)


def _frames(step: int, full: int) -> int | None:
    """Frames whose average has levels `step` apart, in 8 bits; more bits hold shifted or scaled numbers as well."""
    return next((white // step for white in (255, 256) if full == 255 and white % step == 0), None)


def _enough(sample: Counts, comb: Comb, levels: NDArray[Any], common: int, dtype: np.dtype[Any]) -> bool:
    """Whether a sample on the teeth of a comb, most of which is at the level `common`, cannot be counts."""
    top = int(levels[-1])
    if levels[levels > 0].size > 1:
        flat = sample.reshape(len(sample), -1)
        inner = np.where((flat < top) & (flat != common), flat, 0)
        ordered = np.sort(inner, axis=0)
        different = (ordered[:1] > 0).sum() + ((ordered[1:] != ordered[:-1]) & (ordered[1:] > 0)).sum()
        return bool(different >= ENOUGH)
    full = top in (255, np.iinfo(dtype).max)
    if len(sample) == 1:
        return full
    changing = (sample == 0).any(axis=0) & (sample == top).any(axis=0)
    return bool(np.count_nonzero(changing) >= (ENOUGH_FULL if full else ENOUGH_CHANGES))


def _impossible(known: PartialSettings, top: int) -> bool:
    """Whether a level cannot be a count, whatever is not known."""
    said = known.saturation_value or (known.cycles and (known.counter_bits or not known.dead_time))
    return bool(said) and not known.possible(top)


def _recovered(path: Path, source: Source, comb: Comb, top: int) -> Source:
    dtype = np.min_scalar_type(int(comb.full / comb.step) + 1)
    good = True if source.pixel_mask is None else source.pixel_mask == 0

    def read(start: int, stop: int) -> Counts:
        return np.stack([image(*each) for each in enumerate(source.read(start, stop), start)])

    def image(index: int, levels: Counts) -> Counts:
        off = ~comb.holds(levels) & good
        if off.any():
            raise InputError(
                f"{path}: image {index} holds {levels[off][0]}, but the levels of others lie {comb.step:.4g} apart;"
                " correct the image or, if its numbers are counts, say how they were taken",
                "cycles",
                "counter_bits",
            )
        return comb.counts(levels).astype(dtype)

    largest = int(comb.counts(np.array([top]))[0])
    public = source.shape == PUBLIC_SHAPE and top == 255 and largest > 1
    averages = PartialSettings(counter_bits=1, cycles=comb.frames) if comb.frames else source.usual
    remark = _peak_normalised(largest) if public else _remark(comb, largest)
    return replace(
        source,
        dtype=dtype,
        read=read,
        usual=PUBLIC_CAMERA if public else averages,
        remarks=(*source.remarks, Note(remark, "cycles", "counter_bits")),
        peak_normalised=public,
    )


def _each_stretched(path: Path, source: Source, known: PartialSettings) -> Source:
    """The source of the counts of public frames that were stretched each to its own peak; `source` if it is none."""
    if source.shape[0] < 2 or source.shape[1:] != PUBLIC_SHAPE[1:] or known.possible(255):
        return source
    sample = [_peak_of(source, image, known) for image in spread(source, _LOOKED_AT)]
    if None in sample:
        return source

    def read(start: int, stop: int) -> Counts:
        return np.stack([image(*each) for each in enumerate(source.read(start, stop), start)])

    def image(index: int, levels: Counts) -> Counts:
        comb = _peak_of(source, levels, known)
        if comb is None:
            raise InputError(f"{path}: image {index} is not stretched to its peak as the others are; leave it out")
        return comb.counts(levels).astype(np.uint8)

    largest = max(round(255 / comb.step) for comb in sample if comb)
    remark = _peak_normalised(largest, "each image's largest count, up to ")
    return replace(
        source,
        dtype=np.dtype(np.uint8),
        read=read,
        usual=PUBLIC_CAMERA,
        remarks=(*source.remarks, Note(remark, "cycles", "counter_bits")),
        peak_normalised=True,
    )


def _peak_of(source: Source, image: Counts, known: PartialSettings) -> Comb | None:
    """The comb of an image that is stretched to its own largest count, more than 1."""
    alone = replace(source, shape=(1, *image.shape), read=lambda start, stop: image[None])
    comb, top = _decided(alone, known)
    return comb if comb is not None and top == 255 and comb.step < 255 else None


def _remark(comb: Comb, largest: int) -> str:
    if largest == 1:
        return f"levels 0 and {round(comb.step)} only: read as binary frames"
    what = f"averages of {comb.frames} frames" if comb.frames else "shifted or scaled counts"
    return f"levels lie {comb.step:.4g} apart: taken for {what}, integer counts 0 to {largest} recovered"


def _peak_normalised(largest: int, which: str = "") -> str:
    return (
        f"peak-normalised: levels are round(255 k / {which}{largest}), integer counts 0 to {largest} recovered,"
        " settings of the public 64x32 camera unless given"
    )


def _doubt(comb: Comb) -> str:
    return f"levels lie {comb.step:.4g} apart, as those of averages or scaled counts do, but are counts by what is said"
