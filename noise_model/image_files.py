"""Image files: the one place where they are decoded, from bytes: libraries fail over names that are no UTF-8."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.errors import InputError


def decoded(data: bytes, how: int) -> NDArray[Any] | None:
    """The pixels of an image file, by OpenCV's flags; None if it is no image, or not whole."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the caller says what is wrong, in one line
    if not data:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # larger than OpenCV takes
        return None
    return None if image is None or image.size == 0 else np.asarray(image)


def grey_levels(data: bytes) -> NDArray[Any] | None:
    """The grey levels (H, W) of a photograph from 0, black, to 255, white; None if it is none.

    They are uint8 where the file has 8 bits, else float32 with all levels that the file has: white is then the largest
    number of as many bits as the brightest pixel takes (4095 of 12 bits in 16), of floating-point numbers 1 or the
    brightest pixel.
    """
    levels = decoded(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if levels is None or levels.dtype == np.uint8:
        return levels
    if not np.isfinite(levels).all() or levels.min() < 0:
        return None
    brightest = float(levels.max())
    whole = levels.dtype.kind == "u"
    white = float((1 << max(int(brightest).bit_length(), 8)) - 1) if whole else max(brightest, 1.0)
    return levels.astype(np.float32) * np.float32(255 / white)


def photograph(path: Path) -> NDArray[Any]:
    """The grey levels of a photograph, as `grey_levels`.

    Raises:
        InputError: it is no readable image.
    """
    levels = grey_levels(path.read_bytes()) if path.is_file() else None
    if levels is None:
        raise InputError(f"{path}: no longer a readable image; leave the photographs alone until the set is complete")
    return levels
