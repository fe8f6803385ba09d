"""Whether bytes without a header are the packed binary frames that they are taken for, by what frames share."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Counts
from noise_model.errors import InputError

#: How much more often one bit of a byte is set than another where bytes are counts, and standard deviations by which.
UNEQUAL, DEVIATIONS = 4, 8

#: Frames of other arrays, in bytes, the smallest first.
OTHERS = {8192: "256 x 256 pixels", 9600: "240 x 320 pixels", 16384: "256 x 512 pixels"}

#: The share of the likeness of two frames that shows that they are frames, or that parts of them are.
ALIKE = 0.8


def check_bits(path: Path, sample: Counts) -> None:
    """Refuses bytes (n, H, W / 8) of which some bits are set far more often than others, as those of counts are.

    Every bit of packed frames belongs to every eighth column, so all see the same light. A pixel counts once, so that
    hot ones do not decide.

    Raises:
        InputError: they are no packed frames.
    """
    ever = np.bitwise_or.reduce(sample, axis=0, keepdims=True)
    for seen in (ever, sample):  # in bright recordings, every pixel is ever set
        places = _usual_frequencies(seen)
        spread = places.max() - places.min()
        if places.max() > UNEQUAL * places.min() and spread > DEVIATIONS * np.sqrt(places.max()):
            raise InputError(
                f"{path}: its bytes look like counts, not like packed frames of 1 bit; give the size as layout"
                " ROWSxCOLUMNSxBITS, such as 512x512x8, or spad512 if it is 1 bit all the same",
                "layout",
            )


def _usual_frequencies(sample: Counts) -> NDArray[np.int64]:
    """How often each bit of a byte is set, but for an eighth of the columns on either side, such as a bright line."""
    columns = np.sort([((sample >> place) & 1).sum(axis=(0, 1), dtype=np.int64) for place in range(8)], axis=1)
    aside = columns.shape[1] // 8
    usual: NDArray[np.int64] = columns[:, aside:-aside].sum(axis=1)
    return usual


def doubt(sample: Counts) -> str | None:
    """A sentence if the bytes (n, H, W / 8) rather are frames of another array.

    Frames show one scene, so the bytes of a file are like those one frame later. If they are as much like those at the
    distance of a smaller frame, they are frames of that size, or the scene repeats itself.
    """
    if len(sample) < 2:
        return None
    stream = _detail(sample)
    own = _likeness(stream, stream.size // len(sample))
    likeness = {size: _likeness(stream, size) for size in OTHERS}
    most = max(likeness.values())
    if most * np.sqrt(stream.size - max(OTHERS)) < DEVIATIONS or most < ALIKE * own:
        return None
    # Frames are nearly as much like those two frames later.
    size = next(size for size, other in likeness.items() if other >= ALIKE * most)
    return f"may be no frames of 512 x 512: bytes {size} apart are alike, as those of frames of {OTHERS[size]} are"


def _detail(sample: Counts) -> NDArray[np.float64]:
    """Bits set in every byte, less those usual in its column and frame, in the order of the file."""
    bits = np.bitwise_count(sample).astype(np.float64)
    bits -= bits.mean(axis=1, keepdims=True)
    bits -= bits.mean(axis=(1, 2), keepdims=True)
    flat: NDArray[np.float64] = bits.ravel()
    return flat


def _likeness(stream: NDArray[np.float64], apart: int) -> float:
    """Correlation of numbers with those so many places later."""
    if apart >= stream.size:
        return 0.0
    first, second = stream[:-apart], stream[apart:]
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else 0.0
