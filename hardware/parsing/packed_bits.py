"""Binary frames packed eight pixels to a byte, most significant bit first."""

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Counts

#: Layouts: eight neighbours of a row in a byte, or of a column.
PACKED, ALONG_ROWS = LAYOUTS_OF_BITS = ("packed", "packed-rows")

#: Arrays that are read out as packed frames have more rows; smaller images are never taken for packed.
FEWEST_ROWS = 32


def unpacked(frames: Counts, layout: str = PACKED) -> NDArray[np.uint8]:
    """Binary frames (n, H, W) of 0 and 1, from (n, H, W / 8) bytes, or from (n, H / 8, W) packed along rows."""
    return np.unpackbits(frames, axis=1 if layout == ALONG_ROWS else 2)


def looks_packed(shape: tuple[int, int, int], sample: Counts) -> str | None:
    """The layout in which bytes of `shape` look like packed binary frames rather than counts: two signs must both hold.

    The image has usual proportions (1:2 to 2:1) only when unpacked. And in `sample`, the first images, each of the
    eight bits of a byte is set about as often, whereas counts fill the low bits first.
    """
    rows, columns = shape[1:]
    if rows >= FEWEST_ROWS and rows <= 16 * columns <= 4 * rows:
        layout = PACKED
    elif columns >= FEWEST_ROWS and columns <= 16 * rows <= 4 * columns:
        layout = ALONG_ROWS
    else:
        return None
    places = np.array([np.count_nonzero(sample & np.uint8(1 << place)) for place in range(8)])
    return layout if places.max() <= 4 * places.min() else None
