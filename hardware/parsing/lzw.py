"""LZW of TIFF, unpacked within bounds: the decoders of other libraries overrun their memory over damaged files.

Format: TIFF revision 6.0, section 13. Codes of 9 to 12 bits, most significant bit first, wider one code early.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_model.kernels import compiled

_CLEAR, _END, _FIRST, _LAST = 256, 257, 258, 4096


def unpacked(packed: bytes, size: int) -> NDArray[np.uint8]:
    """The first `size` bytes of a stream.

    Raises:
        ValueError: it is damaged, or has fewer.
    """
    whole = np.empty(size, np.uint8)
    there = _unpack(np.frombuffer(packed, np.uint8), whole)
    if there < size:
        raise ValueError(f"LZW: {max(there, 0)} of {size} bytes")
    return whole


@compiled
def _unpack(packed: NDArray[np.uint8], whole: NDArray[np.uint8]) -> Any:
    """Fills `whole`, and returns how many bytes there are; -1 over a code that means nothing yet.

    What a code stands for is a piece of what is unpacked already: the piece before, and one byte more.
    """
    starts, lengths = np.zeros(_LAST, np.int64), np.zeros(_LAST, np.int64)
    width, free, held, buffer, place, at = 9, _FIRST, 0, 0, 0, 0
    before, length = 0, 0
    while at < whole.size:
        while held < width:
            if place == packed.size:
                return at
            buffer = ((buffer << 8) | int(packed[place])) & 0xFFFFFF
            place += 1
            held += 8
        held -= width
        code = (buffer >> held) & ((1 << width) - 1)
        if code == _END:
            return at
        if code == _CLEAR:
            width, free, length = 9, _FIRST, 0
            continue
        if length > 0 and free < _LAST:
            starts[free], lengths[free] = before, length + 1
            free += 1
            if free == (1 << width) - 1 and width < 12:
                width += 1
        if code >= free:
            return -1
        before = at
        if code < _CLEAR:
            length = 1
            whole[at] = code
            at += 1
        else:
            length = lengths[code]
            for step in range(min(length, whole.size - at)):
                whole[at + step] = whole[starts[code] + step]
            at += min(length, whole.size - at)
    return at
