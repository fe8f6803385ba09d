"""Binary frames packed eight pixels to a byte, most significant bit first."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Counts

#: Arrays that are read out as packed frames have more rows; smaller images are never taken for packed.
FEWEST_ROWS = 32


def unpacked(frames: Counts) -> NDArray[np.uint8]:
    """Binary frames (n, H, W) of 0 and 1, from (n, H, W / 8) bytes."""
    return np.unpackbits(frames, axis=-1)


def looks_packed(shape: tuple[int, int, int], dtype: np.dtype[Any], sample: Counts) -> bool:
    """Whether bytes of `shape` look like packed binary frames rather than counts: two signs must both hold.

    The image has usual proportions (1:2 to 2:1) only when unpacked. And in `sample`, the first images, each of the
    eight bits of a byte is set about as often, whereas counts fill the low bits first.
    """
    rows, columns = shape[1:]
    if dtype != np.uint8 or rows < FEWEST_ROWS or not rows <= 16 * columns <= 4 * rows:
        return False
    places = np.array([np.count_nonzero(sample & np.uint8(1 << place)) for place in range(8)])
    return bool(places.max() <= 4 * places.min())
