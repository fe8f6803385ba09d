"""Binary frames packed eight pixels to a byte, most significant bit first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.parsing.source import Counts

#: Fewer rows than any array has that is read out as packed frames: smaller ones are never taken for packed.
FEWEST_ROWS = 32


def unpacked(frames: Counts) -> NDArray[np.uint8]:
    """(n, H, W) of 0 and 1, from (n, H, W / 8) bytes."""
    return np.unpackbits(frames, axis=-1)


def looks_packed(shape: tuple[int, int, int], dtype: np.dtype[Any], sample: Counts) -> bool:
    """Whether bytes of `shape` are packed binary frames rather than counts, by two signs that both must hold.

    An image as narrow as 1:16 to 1:4 is of usual proportions only when unpacked; and in `sample` (first images) every
    place of a byte is set about as often as another, whereas counts fill the low places first.
    """
    rows, columns = shape[1:]
    if dtype != np.uint8 or rows < FEWEST_ROWS or not rows <= 16 * columns <= 4 * rows:
        return False
    places = np.array([np.count_nonzero(sample & np.uint8(1 << place)) for place in range(8)])
    return bool(places.max() <= 4 * places.min())
