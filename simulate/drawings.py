"""Families of drawings. Each is a function (shape, rng) -> float32 (H, W), 0 to 1, bright on dark, anti-aliased."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from simulate.textures import (
    Field,
    Shape,
    coordinates,
    edge,
    gradient,
    log_uniform,
    octave_noise,
    smooth_noise,
    stretched,
    texture,
)

Drawing = Callable[[Shape, np.random.Generator], Field]
Canvas = NDArray[np.uint8]
Points = NDArray[np.float64]  # (n, 2) as x, y in pixels

_BITS = 4  # fractional bits of the coordinates given to OpenCV
_FONTS = (0, 1, 2, 3, 4, 5, 6, 7)
_LETTERS = np.array(list("ABCDEFGHJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-=/?&%#()"))


def dead_leaves(shape: Shape, rng: np.random.Generator) -> Field:
    """Discs, ellipses and polygons with power-law sizes that hide one another, each with its own grey and texture."""
    double = (2 * shape[0], 2 * shape[1])  # drawn at twice the size: labels cannot be blended at edges
    number = int(log_uniform(rng, 20, 1500))
    sizes = _power_law(rng, number, 2.0, 0.8 * min(shape), rng.uniform(1.5, 3.0))
    labels = np.zeros(double, np.int32)
    kind = rng.integers(4)  # 3 mixes the shapes
    for label, size in enumerate(sizes, start=1):
        _leaf(labels, rng, float(size), label, int(rng.integers(3) if kind == 3 else kind))
    levels = rng.beta(*rng.choice([(0.6, 0.6), (1, 1), (2, 2), (0.6, 2)]), number + 1).astype(np.float32)
    picture = levels[labels]
    picture = _textured(picture, labels, rng)
    return np.asarray(cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _power_law(rng: np.random.Generator, number: int, low: float, high: float, exponent: float) -> NDArray[np.float64]:
    """Sizes with density s^-exponent between low and high."""
    power = 1 - exponent
    u = rng.uniform(0, 1, number)
    return np.asarray((low**power + u * (high**power - low**power)) ** (1 / power))


def _leaf(labels: NDArray[np.int32], rng: np.random.Generator, size: float, label: int, kind: int) -> None:
    centre = rng.uniform(0, 1, 2) * labels.shape[::-1]
    if kind == 0:
        cv2.circle(labels, _fixed(centre), int(size * 2**_BITS), label, -1, cv2.LINE_8, _BITS)
    elif kind == 1:
        axes = _fixed(size * np.array([1, rng.uniform(0.15, 1)]))
        cv2.ellipse(labels, _fixed(centre), axes, rng.uniform(0, 180), 0, 360, label, -1, cv2.LINE_8, _BITS)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        corners = centre + size * rng.uniform(0.5, 1, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(labels, [_fixed_points(corners)], label, cv2.LINE_8, _BITS)


def _textured(picture: Field, labels: NDArray[np.int32], rng: np.random.Generator) -> Field:
    """Every third label or so takes a texture, of a few shared ones, at its own depth."""
    shape = (labels.shape[0] // 2, labels.shape[1] // 2)
    number, most = int(rng.integers(0, 4)), int(labels.max()) + 1
    for _ in range(number):
        depth = np.where(rng.uniform(size=most) < 0.4, rng.uniform(0, 1, most), 0).astype(np.float32)
        pattern = cv2.resize(texture(shape, rng), labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
        picture *= 1 - depth[labels] * pattern
    return picture


def filaments(shape: Shape, rng: np.random.Generator) -> Field:
    """Discharges of a plasma ball: thin branching curves with a glow, far brighter at some places than at others."""
    canvas = np.zeros(shape, np.uint8)
    size = min(shape)
    centre = _somewhere(shape, rng)
    width = log_uniform(rng, 1, max(1.5, size / 60))
    for _ in range(rng.integers(1, 14)):
        angle, reach = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.3, 1.2)
        start = centre if rng.uniform() < 0.8 else _somewhere(shape, rng)
        _branch(canvas, rng, start, angle, reach, width, int(rng.integers(90, 256)), int(rng.integers(0, 4)))
    if rng.uniform() < 0.5:  # the electrode
        cv2.circle(canvas, _fixed(centre), int(size * rng.uniform(0.01, 0.12) * 2**_BITS), 255, -1, cv2.LINE_AA, _BITS)
    uneven = np.exp(rng.uniform(0, 1.6) * smooth_noise(shape, rng, size * rng.uniform(0.05, 0.4)))
    light = _grey(canvas) * uneven
    light += np.float32(log_uniform(rng, 0.02, 1)) * _glow(light, size * log_uniform(rng, 0.01, 0.12))
    return light / max(float(light.max()), 1e-9)


def _branch(
    canvas: Canvas,
    rng: np.random.Generator,
    start: Points,
    angle: float,
    reach: float,
    width: float,
    level: int,
    depth: int,
) -> None:
    """One curve that wanders away from `start`, and thinner ones that leave it."""
    steps = 24
    turn = rng.uniform(0.05, 0.35)
    angles = angle + np.cumsum(rng.normal(0, turn, steps)) - np.linspace(0, 0.5, steps) * rng.normal(0, 1)
    path = start + np.cumsum(reach / steps * np.stack([np.cos(angles), np.sin(angles)], 1), axis=0)
    path = np.concatenate([start.reshape(1, 2), path])
    for part in range(depth):
        at = int(rng.integers(steps // 5, steps))
        aside = angles[at - 1] + rng.choice([-1, 1]) * rng.uniform(0.2, 0.9)
        _branch(
            canvas, rng, path[at], aside, reach * rng.uniform(0.15, 0.6), width / 2, level * 2 // 3, depth - 1 - part
        )
    cv2.polylines(canvas, [_fixed_points(path)], False, level, max(1, round(width)), cv2.LINE_AA, _BITS)


def fan(shape: Shape, rng: np.random.Generator) -> Field:
    """A fan: blades that sweep around a hub inside a rim, sharp at rest and smeared when turning, often behind a grill."""
    radius, angle, size = _polar(shape, rng)
    blades = int(rng.integers(2, 10))
    rim, hub = size * rng.uniform(0.45, 1.1), size * rng.uniform(0.03, 0.2)
    swept = angle + np.float32(rng.normal(0, 0.8)) * radius / np.float32(size)
    turn = np.mod(swept * np.float32(blades / (2 * np.pi)), np.float32(blades))
    blade = np.minimum(turn.astype(np.int32), blades - 1)
    turn -= blade.astype(np.float32)
    duty, blur = rng.uniform(0.2, 0.8), rng.choice([0.0, rng.uniform(0, 0.25)])
    arc = radius * np.float32(2 * np.pi / blades)  # pixels that one blade and its gap take up at this radius
    inside = (np.float32(duty / 2) - np.abs(turn - np.float32(0.5))) * arc
    picture = np.clip(inside / np.maximum(1, np.float32(blur) * arc) + np.float32(0.5), 0, 1)
    picture *= rng.uniform(rng.choice([0.4, 0.95]), 1, blades).astype(np.float32)[blade]
    picture *= 1 - np.float32(rng.uniform(0, 0.7)) * turn  # lit from one side
    picture *= edge(rim - radius, 1)
    picture += np.float32(rng.uniform(0.3, 1)) * _ring(radius, rim, rng.uniform(1, 0.04 * size + 1.1))
    picture = np.where(radius < hub, np.float32(rng.uniform(0, 1)), picture)
    return _behind_grill(picture, radius, angle, size, rng)


def _behind_grill(picture: Field, radius: Field, angle: Field, size: float, rng: np.random.Generator) -> Field:
    if rng.uniform() < 0.6:
        return picture.clip(0, 1)
    pitch, wire = size * rng.uniform(0.06, 0.25), rng.uniform(1, max(1.2, size / 60))
    rings = edge(wire / 2 - np.abs(np.mod(radius, np.float32(pitch)) - np.float32(pitch / 2)), 1)
    number = int(rng.integers(3, 24))
    off = np.abs(np.mod(angle * np.float32(number / (2 * np.pi)), 1) - np.float32(0.5)) * radius * (2 * np.pi / number)
    wires = np.maximum(rings, edge((wire / 2 - off).astype(np.float32), 1))
    return (picture + wires * (np.float32(rng.uniform(0, 1)) - picture)).clip(0, 1)


def points(shape: Shape, rng: np.random.Generator) -> Field:
    """Stars: spots of three sizes over powers of ten in brightness."""
    picture = np.zeros(shape, np.float32)
    decades = rng.uniform(0.5, 4)
    for _ in range(3):
        number = int(log_uniform(rng, 1, 200))
        layer = np.zeros(shape, np.float32)
        at = (rng.integers(0, shape[0], number), rng.integers(0, shape[1], number))
        np.add.at(layer, at, 10 ** -rng.uniform(0, decades, number))
        sigma = log_uniform(rng, 0.6, max(0.7, min(shape) / 25))
        picture += _glow(layer, sigma) * np.float32(2 * np.pi * sigma**2)
    return picture / max(float(picture.max()), 1e-9)


def discs(shape: Shape, rng: np.random.Generator) -> Field:
    """Beads: filled or hollow discs of similar size, with highlights, in rows or scattered."""
    canvas = np.zeros(shape, np.uint8)
    size = log_uniform(rng, 2, min(shape) / 6)
    number = int(min(rng.uniform(3, 60), 0.5 * shape[0] * shape[1] / size**2))
    thickness = -1 if rng.uniform() < 0.7 else int(rng.integers(1, 2 + size / 4))
    for _ in range(number):
        centre, radius = _somewhere(shape, rng), size * rng.uniform(0.6, 1.4)
        level = int(255 * 10 ** -rng.uniform(0, 1.5))
        cv2.circle(canvas, _fixed(centre), int(radius * 2**_BITS), level, thickness, cv2.LINE_AA, _BITS)
        if rng.uniform() < 0.5:
            spot = _fixed(centre - 0.35 * radius)
            cv2.circle(canvas, spot, int(0.25 * radius * 2**_BITS), 255, -1, cv2.LINE_AA, _BITS)
    return _grey(canvas)


def text(shape: Shape, rng: np.random.Generator) -> Field:
    """Words: one large label, or a page of lines."""
    canvas = np.zeros(shape, np.uint8)
    height = log_uniform(rng, 7, min(shape) / 2)
    font = int(rng.choice(_FONTS)) | int(rng.choice([0, cv2.FONT_ITALIC]))
    scale, thickness = height / 22, max(1, round(height / 22 * rng.uniform(0.7, 4)))
    row = rng.uniform(0.8, 1.5) * height
    while row < shape[0] + height:
        words = "".join(rng.choice(_LETTERS, rng.integers(2, 40)))
        at = (int(rng.uniform(-0.1, 0.4) * shape[1]), int(row))
        cv2.putText(canvas, words, at, font, scale, int(rng.integers(60, 256)), thickness, cv2.LINE_AA)
        row += height * rng.uniform(1.2, 2.5)
    if rng.uniform() < 0.6:
        canvas = _turned(canvas, rng.normal(0, 25))
    return _grey(canvas)


def line_art(shape: Shape, rng: np.random.Generator) -> Field:
    """Strokes: boxes, arcs, curves and straight lines, or the contour lines of a landscape."""
    if rng.uniform() < 0.25:
        return _contours(shape, rng)
    canvas = np.zeros(shape, np.uint8)
    size = min(shape)
    for _ in range(rng.integers(3, 30)):
        level, thickness = int(rng.integers(60, 256)), int(log_uniform(rng, 1, max(2, size / 25)))
        centre = _somewhere(shape, rng)
        if rng.uniform() < 0.4:
            axes = _fixed(size * rng.uniform(0.02, 0.6, 2))
            turn, end = rng.uniform(0, 360), rng.choice([360, rng.uniform(30, 330)])
            cv2.ellipse(canvas, _fixed(centre), axes, turn, 0, end, level, thickness, cv2.LINE_AA, _BITS)
            continue
        corners = centre + size * rng.uniform(-0.5, 0.5, (rng.integers(2, 7), 2))
        closed = bool(rng.uniform() < 0.4)
        cv2.polylines(canvas, [_fixed_points(corners)], closed, level, thickness, cv2.LINE_AA, _BITS)
    return _grey(canvas)


def _contours(shape: Shape, rng: np.random.Generator) -> Field:
    field = octave_noise(shape, rng) * np.float32(rng.integers(3, 16))
    slope = np.hypot(cv2.Sobel(field, -1, 1, 0, scale=0.125), cv2.Sobel(field, -1, 0, 1, scale=0.125))
    distance = np.abs(np.mod(field, 1) - np.float32(0.5)) / np.maximum(slope, np.float32(1e-3))
    return edge(np.float32(rng.uniform(0.5, 2)) - distance, 1)


def chart(shape: Shape, rng: np.random.Generator) -> Field:
    """A test target: Siemens star, chequers, rings of growing frequency, or groups of three bars."""
    kind = rng.integers(4)
    if kind == 0:
        return _siemens_star(shape, rng)
    if kind == 1:
        return _chequers(shape, rng)
    if kind == 2:
        return _zone_plate(shape, rng)
    return _bar_groups(shape, rng)


def _siemens_star(shape: Shape, rng: np.random.Generator) -> Field:
    radius, angle, size = _polar(shape, rng)
    spokes = int(rng.integers(4, 48))
    arc = radius / np.float32(spokes)  # sin changes by 1 over this many pixels
    star = np.clip(np.sin(angle * np.float32(spokes)) * np.maximum(arc, np.float32(0.5)) + np.float32(0.5), 0, 1)
    return star * edge(np.float32(size * rng.uniform(0.5, 1.5)) - radius, 1)


def _chequers(shape: Shape, rng: np.random.Generator) -> Field:
    angle, side = rng.choice([0, rng.uniform(0, np.pi / 2)]), log_uniform(rng, 3, min(shape) / 3)
    rows, columns = coordinates(shape)
    cos, sin, wave = np.float32(np.cos(angle)), np.float32(np.sin(angle)), np.float32(np.pi / side)
    first = np.sin((columns * cos + rows * sin) * wave + np.float32(rng.uniform(0, 6)))
    second = np.sin((rows * cos - columns * sin) * wave + np.float32(rng.uniform(0, 6)))
    return edge(np.clip(first * side, -1, 1) * np.clip(second * side, -1, 1), 0.5)


def _zone_plate(shape: Shape, rng: np.random.Generator) -> Field:
    radius, _, size = _polar(shape, rng)
    finest = rng.uniform(2.5, 8)  # period at the rim, pixels
    reach = np.float32(2 * size)
    phase = radius**2 * np.float32(np.pi / (finest * reach)) + np.float32(rng.uniform(0, 6))
    return edge(np.sin(phase), rng.choice([0.5, 1.5]))


def _bar_groups(shape: Shape, rng: np.random.Generator) -> Field:
    canvas = np.zeros(shape, np.uint8)
    top, width = float(rng.uniform(2, 10)), min(shape) / rng.uniform(12, 30)
    shrink = rng.choice([2 ** (-1 / 6), 2 ** (-1 / 3), 0.5**0.5])
    while top < shape[0] and width > 0.6:
        left = float(rng.uniform(2, 8))
        while left < shape[1]:
            for bar in range(3):
                _box(canvas, left + 2 * bar * width, top, width, 5 * width)
                _box(canvas, left + 7 * width, top + 2 * bar * width, 5 * width, width)
            left += 15 * width
        top, width = top + 7 * width, width * shrink
    return _grey(_turned(canvas, float(rng.choice([0, 90, rng.normal(0, 10)]))))


def _box(canvas: Canvas, left: float, top: float, width: float, height: float) -> None:
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    cv2.fillPoly(canvas, [_fixed_points(corners)], 255, cv2.LINE_AA, _BITS)


def shading(shape: Shape, rng: np.random.Generator) -> Field:
    """No edges at all: clouds, ramps and a vignette."""
    picture = stretched(smooth_noise(shape, rng, min(shape) * rng.uniform(0.15, 0.8)))
    if rng.uniform() < 0.5:
        picture = picture * gradient(shape, rng)
    if rng.uniform() < 0.5:
        radius, _, size = _polar(shape, rng)
        picture = picture * np.exp(-((radius / np.float32(size * rng.uniform(0.5, 1.5))) ** 2))
    return stretched(picture)


def cells(shape: Shape, rng: np.random.Generator) -> Field:
    """Cells under a microscope: soft-edged blobs with a rim and a nucleus."""
    canvas = np.zeros(shape, np.uint8)
    size = log_uniform(rng, 5, min(shape) / 4)
    number = int(min(rng.uniform(3, 80), 0.6 * shape[0] * shape[1] / size**2))
    body, rim, nucleus = (int(level) for level in rng.integers(10, 256, 3))
    for _ in range(number):
        centre, radius = _somewhere(shape, rng), size * rng.uniform(0.6, 1.4)
        gain = rng.uniform(0.3, 1)
        outline = [_fixed_points(_blob(centre, radius, rng))]
        cv2.fillPoly(canvas, outline, int(gain * body), cv2.LINE_AA, _BITS)
        cv2.polylines(canvas, outline, True, int(gain * rim), max(1, round(radius / 10)), cv2.LINE_AA, _BITS)
        inner = _blob(centre + rng.normal(0, 0.2 * radius, 2), radius * rng.uniform(0.2, 0.45), rng)
        cv2.fillPoly(canvas, [_fixed_points(inner)], int(gain * nucleus), cv2.LINE_AA, _BITS)
    picture = _grey(canvas) * (1 - np.float32(rng.uniform(0, 0.8)) * octave_noise(shape, rng, max(4.0, size)))
    return _glow(picture, rng.uniform(0.3, 0.1 * size + 0.4))


def _blob(centre: Points, radius: float, rng: np.random.Generator) -> Points:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.ones(40)
    for harmonic in range(2, 6):
        outline += rng.normal(0, 0.25 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    return centre + radius * outline[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)


def _polar(shape: Shape, rng: np.random.Generator) -> tuple[Field, Field, float]:
    """Radius (pixels) and angle about a random point, seen at a slant, and the half-size of the picture."""
    rows, columns = coordinates(shape)
    centre = _somewhere(shape, rng) if rng.uniform() < 0.5 else np.array(shape[::-1]) / 2
    x = np.broadcast_to(columns - np.float32(centre[0]), shape).copy()
    y = np.broadcast_to((rows - np.float32(centre[1])) * np.float32(rng.uniform(1, 1.6)), shape).copy()
    radius, angle = cv2.cartToPolar(x, y)
    turn = np.float32(rng.uniform(0, 2 * np.pi))
    return np.asarray(radius, np.float32), np.asarray(angle, np.float32) + turn, min(shape) / 2


def _ring(radius: Field, at: float, width: float) -> Field:
    return edge(np.float32(width / 2) - np.abs(radius - np.float32(at)), 1)


def _glow(picture: Field, sigma: float) -> Field:
    """A Gaussian blur; a wide one at a coarser resolution, where it is as smooth and far cheaper."""
    step = 1 << max(0, int(np.log2(max(sigma, 1) / 2)))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    coarse = cv2.resize(picture, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma / step)
    return np.asarray(cv2.resize(coarse, picture.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _turned(canvas: Canvas, degrees: float) -> Canvas:
    height, width = canvas.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(canvas, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _somewhere(shape: Shape, rng: np.random.Generator) -> Points:
    return rng.uniform(0, 1, 2) * np.array(shape[::-1])


def _grey(canvas: Canvas) -> Field:
    return canvas.astype(np.float32) * np.float32(1 / 255)


def _fixed(point: Points) -> tuple[int, int]:
    return int(point[0] * 2**_BITS), int(point[1] * 2**_BITS)


def _fixed_points(path: Points) -> NDArray[np.int32]:
    return np.round(path * 2**_BITS).astype(np.int32)
