"""Drawing with OpenCV in fractional pixel coordinates (x, y): anti-aliased on 8-bit canvases, hard-edged on labels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Picture
from simulate.textures import Shape

Canvas = NDArray[np.uint8] | NDArray[np.int32]  # the latter for labels, which cannot be blended at edges
Points = NDArray[np.float64]  # (2,) or (n, 2), x and y

_BITS = 4  # fractional bits of the coordinates given to OpenCV
_FONTS = (0, 1, 2, 3, 4, 5, 6, 7)


def blank(shape: Shape) -> NDArray[np.uint8]:
    """A black canvas of `shape`."""
    return np.zeros(shape, np.uint8)


def grey(canvas: NDArray[np.uint8]) -> Picture:
    """The canvas as a field from 0 to 1."""
    return canvas.astype(np.float32) * np.float32(1 / 255)


def somewhere(shape: Shape, rng: np.random.Generator) -> Points:
    """A random point of a picture of `shape`."""
    point: Points = rng.uniform(0, 1, 2) * np.array(shape[::-1])
    return point


def around(centre: Points, radius: Points, angles: Points) -> Points:
    """Points (n, 2) at n radii and angles about a centre."""
    points: Points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points


def disc(canvas: Canvas, centre: Points, radius: float, level: int, thickness: int = -1) -> None:
    """Draws a filled disc, or a circle of the given thickness."""
    cv2.circle(canvas, _fixed(centre), int(radius * 2**_BITS), level, thickness, _line(canvas), _BITS)


def ellipse(
    canvas: Canvas, centre: Points, axes: Points, turn: float, level: int, thickness: int = -1, end: float = 360
) -> None:
    """Draws a filled ellipse, or its outline up to `end` degrees; `axes` are half-lengths."""
    cv2.ellipse(canvas, _fixed(centre), _fixed(axes), turn, 0, end, level, thickness, _line(canvas), _BITS)


def polygon(canvas: Canvas, corners: Points, level: int) -> None:
    """Draws a filled polygon."""
    cv2.fillPoly(canvas, [_fixed_path(corners)], level, _line(canvas), _BITS)


def curve(canvas: Canvas, path: Points, level: int, thickness: int, closed: bool = False) -> None:
    """Draws a line through points."""
    cv2.polylines(canvas, [_fixed_path(path)], closed, level, thickness, _line(canvas), _BITS)


def words(
    canvas: NDArray[np.uint8], text: str, at: Points, height: float, level: int, weight: float, rng: np.random.Generator
) -> None:
    """Draws a line of text in a random font; `weight` 1 is a regular stroke."""
    font = int(rng.choice(_FONTS)) | int(rng.choice([0, cv2.FONT_ITALIC]))
    thickness = max(1, round(height / 22 * weight))
    cv2.putText(canvas, text, (int(at[0]), int(at[1])), font, height / 22, level, thickness, cv2.LINE_AA)


def turned(canvas: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The canvas turned about its centre, black at the corners."""
    height, width = canvas.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(canvas, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _line(canvas: Canvas) -> int:
    return cv2.LINE_AA if canvas.dtype == np.uint8 else cv2.LINE_8


def _fixed(point: Points) -> tuple[int, int]:
    return int(point[0] * 2**_BITS), int(point[1] * 2**_BITS)


def _fixed_path(path: Points) -> NDArray[np.int32]:
    return np.asarray(np.round(path * 2**_BITS), np.int32)
