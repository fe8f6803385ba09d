"""Grey images that are stored in colour, with the same numbers in three channels, as many programs save them."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from noise_model.errors import InputError

#: The axes of a page that can be grey: rows and columns, with samples behind or before them.
GREY_AXES = ("YX", "YXS", "SYX")


def grey(path: Path, images: NDArray[Any]) -> NDArray[Any]:
    """One of the equal colours of images (..., H, W, samples); opacity may follow one or three of them.

    Raises:
        InputError: the colours differ, or opacity differs from pixel to pixel.
    """
    samples = images.shape[-1]
    colours = images[..., : 3 if samples > 2 else 1]
    if (colours != colours[..., :1]).any() or samples > 4:
        raise InputError(f"{path}: in colour; expected grey images of counts")
    opacity = images[..., colours.shape[-1] :]
    if opacity.size and (opacity != opacity.max()).any():
        raise InputError(f"{path}: partly transparent; expected grey images of counts")
    return images[..., 0]
