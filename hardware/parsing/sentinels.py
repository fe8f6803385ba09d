"""Marked pixels: the largest number of its type, or -1, in place of counts of a pixel that has none."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.sampling import spread
from hardware.parsing.source import MARKED, Source, masking
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import Note

#: Images that are looked at.
SAMPLE = 16

#: How far a mark is above all counts, as a factor: light and hot pixels come in all sizes between.
FAR = 4

#: What marks pixels in signed numbers, as counts are never negative.
NEGATIVE = (-1, -2)


def without_marked(source: Source, known: PartialSettings) -> Source:
    """The source with the pixels masked that hold no counts but a mark in all images looked at.

    A mark is the largest number of the type, if it is not possible as a count by what is known and all other counts
    are below a quarter of it; or, in several images, -1 or -2. In a single image, or in a patch of pixels, 255 may as
    well be light that fills 8 bits, and numbers of which all others are 0 a binary frame.
    """
    if source.dtype.kind == "b" or source.places > 1:  # one bit, and counts that were gathered from images
        return source
    sample = spread(source, SAMPLE)
    if source.pixel_mask is not None:
        sample = np.where(source.pixel_mask == 0, sample, 0)
    marked = _marked(sample, source.dtype, known)
    if not marked.any():
        return source
    mark = int(sample[0][marked][0])
    said = Note(f"pixels that hold {mark} in all images are masked: {marked.sum()}", "cycles", "counter_bits")
    return replace(masking(source, marked, MARKED), remarks=(*source.remarks, said))


def _marked(sample: Counts, dtype: np.dtype[Any], known: PartialSettings) -> NDArray[np.bool_]:
    """Which pixels of a sample (n, H, W) are marked, (H, W)."""
    same: NDArray[np.bool_] = np.asarray((sample == sample[0]).all(axis=0))
    largest = np.iinfo(dtype).max
    full: NDArray[np.bool_] = same & (sample[0] == largest)
    unsaid = dtype.itemsize == 1 and known.cycles is None
    if full.any() and not known.possible(int(largest)) and not (unsaid and _a_patch(full)):
        others = sample[:, ~full]
        counts = others[others < largest]
        rest = int(counts.max()) if counts.size else largest
        decided = rest > 0 if counts.size < others.size else len(sample) > 1
        if rest <= largest // FAR and (decided or (rest > 0 and dtype.itemsize > 1)):
            return full
    return _negative(sample, same) if dtype.kind == "i" else np.zeros_like(same)


def _a_patch(pixels: NDArray[np.bool_]) -> bool:
    """Whether most of the pixels have others at three sides or four, as where light fills them; marks are scattered."""
    around = np.pad(pixels, 1).astype(np.int8)
    beside = around[2:, 1:-1] + around[:-2, 1:-1] + around[1:-1, 2:] + around[1:-1, :-2]
    return bool(2 * np.count_nonzero(pixels & (beside >= 3)) > np.count_nonzero(pixels))


def _negative(sample: Counts, same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    marked = same & np.isin(sample[0], NEGATIVE)
    found = len(sample) > 1 and not marked.all() and (sample[:, ~marked] >= 0).all()
    return marked if found else np.zeros_like(same)
