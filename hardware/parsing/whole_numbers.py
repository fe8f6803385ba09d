"""Counts stored as floating-point numbers: whole ones, averages of frames, and NaN for pixels without a count."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.sampling import spread
from hardware.parsing.source import MARKED, Source, masking
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError, Note

#: Images that are looked at.
SAMPLE = 16

#: The most frames that an average is taken for, what a frame of 1 may be stored as, and how far numbers may be from
#: those of an average, in frames: float32 is off by a quarter of this at most.
MOST_FRAMES, WHITES, TOLERANCE = 4096, (1, 255, 65535), 1e-3

#: Different numbers that must agree with an average if nobody says of how many frames it is. Others do so with a
#: probability of 2 * TOLERANCE each.
ENOUGH = 4


def whole_numbers(path: Path, source: Source, known: PartialSettings) -> Source:
    """The source as integers (int64); `source` itself if that is what it holds.

    Pixels that are NaN in all images looked at are masked. What is not whole is refused as it is read, but for averages
    of frames: numbers k / N, or 255 k / N, are the counts k of N frames.

    Raises:
        InputError: there is no number at all.
    """
    if source.dtype.kind != "f":
        return source
    sample = spread(source, SAMPLE)
    nothing: NDArray[np.bool_] = np.asarray(np.isnan(sample).all(axis=0))
    if nothing.all():
        raise InputError(f"{path}: holds no numbers, all pixels are NaN; expected counts")
    frames, white = _average(np.unique(sample[:, ~nothing]), known)
    step = white / frames
    source = masking(source, nothing, MARKED) if nothing.any() else source
    good, read_numbers = ~nothing, source.read

    def read(start: int, stop: int) -> NDArray[np.int64]:
        return np.stack([image(*each) for each in enumerate(read_numbers(start, stop), start)])

    def image(index: int, numbers: Counts) -> NDArray[np.int64]:
        with np.errstate(invalid="ignore", over="ignore"):  # what is infinite or NaN is off as well
            scaled = numbers.astype(np.float64) / step
            whole = np.rint(scaled)
            near = np.abs(scaled - whole) <= (TOLERANCE if frames > 1 else 0.0)
        off = good & ~(near & (np.abs(whole) < 2**53))
        if off.any():
            number = f"{numbers[off][0]:.6g}"
            raise InputError(
                f"{path}: image {index} holds {number}, which is not whole; expected counts, not rates or averages"
            )
        return np.where(good, whole, 0).astype(np.int64)

    remarks = (f"pixels that are NaN in all images are masked: {nothing.sum()}",) if nothing.any() else ()
    if frames == 1:
        return replace(source, dtype=np.dtype(np.int64), read=read, remarks=(*source.remarks, *remarks))
    said = f"numbers lie {step:.4g} apart: taken for averages of {frames} frames, integer counts recovered"
    return replace(
        source,
        dtype=np.dtype(np.int64),
        read=read,
        usual=PartialSettings(counter_bits=1, cycles=frames) if np.nanmax(sample) <= white else source.usual,
        remarks=(*source.remarks, *remarks, Note(said, "cycles")),
    )


def _average(numbers: NDArray[np.floating[Any]], known: PartialSettings) -> tuple[int, int]:
    """Frames whose averages all `numbers` (in order) are, and what a frame of 1 is stored as; 1 and 1 for others."""
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    if finite.size < 2 or (finite == np.rint(finite)).all() or finite[0] < 0:
        return 1, 1
    for white in WHITES:
        for frames in _numbers_of_frames(finite / white, known):
            scaled = finite / white * frames
            agree = (np.abs(scaled - np.rint(scaled)) <= TOLERANCE).all()
            if agree and (finite.size >= ENOUGH or frames == known.cycles):
                return frames, white
    return 1, 1


def _numbers_of_frames(numbers: NDArray[np.float64], known: PartialSettings) -> Iterator[int]:
    """The number that is known, or that by which neighbouring averages would be as far apart as the closest are."""
    frames = round(min(1 / max(np.diff(numbers).min(), 1e-9), 1e9))
    yield from (each for each in (known.cycles, frames) if each and 2 <= each <= MOST_FRAMES)
