"""Families of drawings: each is a function (shape, rng) -> float32 (H, W), 0 to 1, bright on dark, anti-aliased."""

import cv2
import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Picture
from simulate.brushes import Points, around, blank, curve, disc, ellipse, grey, polygon, somewhere, turned, words
from simulate.charts import polar
from simulate.textures import (
    Shape,
    blurred,
    edge,
    gradient,
    log_uniform,
    octave_noise,
    smooth_noise,
    stretched,
    texture,
)

_LETTERS = np.array(list("ABCDEFGHJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-=/?&%#()"))


def dead_leaves(shape: Shape, rng: np.random.Generator) -> Picture:
    """Dead leaves: discs, ellipses and polygons of power-law sizes that hide one another.

    Each has its own grey and texture.
    """
    labels = np.zeros((2 * shape[0], 2 * shape[1]), np.int32)  # twice the size, averaged below
    count, kind = int(log_uniform(rng, 20, 1500)), int(rng.integers(4))
    sizes = _power_law(rng, count, 2.0, 0.8 * min(shape), rng.uniform(1.5, 3.0))
    for label, size in enumerate(sizes.tolist(), start=1):
        _leaf(labels, rng, size, label, int(rng.integers(3)) if kind == 3 else kind)
    dark, bright = rng.uniform(0.6, 2, 2)
    levels = rng.beta(dark, bright, count + 1).astype(np.float32)
    picture = _textured(levels[labels], labels, rng)
    return np.asarray(cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _power_law(rng: np.random.Generator, count: int, low: float, high: float, exponent: float) -> Points:
    """Random sizes with density s^-exponent between low and high."""
    power = 1 - exponent
    u = rng.uniform(0, 1, count)
    return np.asarray((low**power + u * (high**power - low**power)) ** (1 / power))


def _leaf(labels: NDArray[np.int32], rng: np.random.Generator, size: float, label: int, kind: int) -> None:
    centre = somewhere((labels.shape[0], labels.shape[1]), rng)
    if kind == 0:
        disc(labels, centre, size, label)
    elif kind == 1:
        ellipse(labels, centre, size * np.array([1, rng.uniform(0.15, 1)]), rng.uniform(0, 180), label)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        polygon(labels, around(centre, size * rng.uniform(0.5, 1, len(angles)), angles), label)


def _textured(picture: Picture, labels: NDArray[np.int32], rng: np.random.Generator) -> Picture:
    """A picture whose labels, some and always the background (0), take one of a few textures, each at its own depth."""
    half = (labels.shape[0] // 2, labels.shape[1] // 2)
    most = int(labels.max()) + 1
    for _ in range(rng.integers(1, 4)):
        depth = np.where(rng.uniform(size=most) < 0.4, rng.uniform(0, 1, most), 0).astype(np.float32)
        depth[0] = rng.uniform(0.1, 0.9)
        pattern = cv2.resize(texture(half, rng), labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
        picture *= 1 - depth[labels] * pattern
    return picture


def filaments(shape: Shape, rng: np.random.Generator) -> Picture:
    """Filaments of a plasma ball: thin branching curves with a glow, far brighter at some places than at others."""
    canvas, size, centre = blank(shape), min(shape), somewhere(shape, rng)
    width = log_uniform(rng, 1, max(1.5, size / 70))
    for _ in range(rng.integers(2, 16)):
        start = centre if rng.uniform() < 0.8 else somewhere(shape, rng)
        angle, reach, level = rng.uniform(0, 2 * np.pi), size * rng.uniform(0.3, 1.2), int(rng.integers(90, 256))
        _branch(canvas, rng, start, angle, reach, width, level, int(rng.integers(0, 4)))
    if rng.uniform() < 0.5:
        disc(canvas, centre, size * rng.uniform(0.01, 0.12), 255)  # the electrode
    uneven = np.exp(rng.uniform(0, 1.6) * smooth_noise(shape, rng, size * rng.uniform(0.05, 0.4)))
    light = np.asarray(grey(canvas) * uneven, np.float32)
    light += np.float32(log_uniform(rng, 0.02, 1)) * blurred(light, size * log_uniform(rng, 0.01, 0.12))
    return _brightest_at_one(light)


def _branch(
    canvas: NDArray[np.uint8],
    rng: np.random.Generator,
    start: Points,
    angle: float,
    reach: float,
    width: float,
    level: int,
    children: int,
) -> None:
    """Draws a curve that wanders away from `start`, and thinner, dimmer ones that branch off."""
    steps = 24
    angles = (
        angle + np.cumsum(rng.normal(0, rng.uniform(0.05, 0.45), steps)) + np.linspace(0, rng.normal(0, 0.5), steps)
    )
    path = start + np.cumsum(around(np.zeros(2), np.full(steps, reach / steps), angles), axis=0)
    for child in range(children):
        at = int(rng.integers(steps // 5, steps))
        aside = angles[at] + rng.choice([-1, 1]) * rng.uniform(0.2, 0.9)
        further = reach * rng.uniform(0.15, 0.6)
        _branch(canvas, rng, path[at], aside, further, width / 2, level * 2 // 3, children - 1 - child)
    curve(canvas, np.concatenate([start[None], path]), level, max(1, round(width)))


def points(shape: Shape, rng: np.random.Generator) -> Picture:
    """Stars: spots of three sizes over powers of ten in brightness."""
    picture = np.zeros(shape, np.float32)
    decades = rng.uniform(0.5, 4)
    for _ in range(3):
        count = int(log_uniform(rng, 1, 200))
        layer = np.zeros(shape, np.float32)
        at = (rng.integers(0, shape[0], count), rng.integers(0, shape[1], count))
        np.add.at(layer, at, 10 ** -rng.uniform(0, decades, count))
        sigma = log_uniform(rng, 0.6, max(0.7, min(shape) / 25))
        picture += blurred(layer, sigma) * np.float32(2 * np.pi * sigma**2)
    return _brightest_at_one(picture)


def discs(shape: Shape, rng: np.random.Generator) -> Picture:
    """Beads: filled or hollow discs of similar size, some with a highlight."""
    canvas = blank(shape)
    size = log_uniform(rng, 2, max(3, min(shape) / 6))
    count = min(rng.uniform(3, 60), 0.5 * shape[0] * shape[1] / size**2)
    thickness = -1 if rng.uniform() < 0.7 else int(rng.integers(1, 2 + int(size / 4)))
    for _ in range(int(count)):
        centre, radius = somewhere(shape, rng), size * rng.uniform(0.6, 1.4)
        disc(canvas, centre, radius, int(255 * 10 ** -rng.uniform(0, 1.5)), thickness)
        if rng.uniform() < 0.5:
            disc(canvas, centre - 0.35 * radius, 0.25 * radius, 255)
    return grey(canvas)


def text(shape: Shape, rng: np.random.Generator) -> Picture:
    """Text: one large label, or a page of lines."""
    canvas = blank(shape)
    height, weight = log_uniform(rng, 7, max(8, min(shape) / 2)), rng.uniform(0.7, 4)
    row = rng.uniform(0.8, 1.5) * height
    while row < shape[0] + height:
        letters = "".join(rng.choice(_LETTERS, rng.integers(2, 40)))
        at = np.array([rng.uniform(-0.1, 0.4) * shape[1], row])
        words(canvas, letters, at, height, int(rng.integers(60, 256)), weight, rng)
        row += height * rng.uniform(1.2, 2.5)
    return grey(turned(canvas, rng.normal(0, 25)) if rng.uniform() < 0.6 else canvas)


def line_art(shape: Shape, rng: np.random.Generator) -> Picture:
    """Line art: boxes, arcs and straight lines, or the contour lines of a landscape."""
    if rng.uniform() < 0.25:
        return _contours(shape, rng)
    canvas, size = blank(shape), min(shape)
    for _ in range(int(log_uniform(rng, 3, 25))):
        level, thickness = int(rng.integers(60, 256)), int(log_uniform(rng, 1, max(2, size / 25)))
        centre = somewhere(shape, rng)
        if rng.uniform() < 0.4:
            axes, end = size * rng.uniform(0.02, 0.6, 2), rng.choice([360, rng.uniform(30, 330)])
            ellipse(canvas, centre, axes, rng.uniform(0, 360), level, thickness, end)
        else:
            corners = centre + size * rng.uniform(-0.5, 0.5, (rng.integers(2, 7), 2))
            curve(canvas, corners, level, thickness, closed=bool(rng.uniform() < 0.4))
    return grey(canvas)


def _contours(shape: Shape, rng: np.random.Generator) -> Picture:
    field = smooth_noise(shape, rng, min(shape) * rng.uniform(0.08, 0.5)) * np.float32(rng.integers(1, 5))
    slope = np.hypot(cv2.Sobel(field, -1, 1, 0, scale=0.125), cv2.Sobel(field, -1, 0, 1, scale=0.125))
    distance = np.abs(np.mod(field, 1) - np.float32(0.5)) / np.maximum(slope, np.float32(1e-3))  # pixels
    return edge(np.float32(rng.uniform(0.5, 2)) - distance, 1)


def shading(shape: Shape, rng: np.random.Generator) -> Picture:
    """Shading without edges: clouds, ramps and a vignette."""
    wide = smooth_noise(shape, rng, min(shape) * rng.uniform(0.15, 0.8))
    picture = stretched(wide) if rng.uniform() < 0.5 else octave_noise(shape, rng)
    if rng.uniform() < 0.5:
        picture = picture * gradient(shape, rng)
    if rng.uniform() < 0.5:
        radius, _, size = polar(shape, rng)
        picture = picture * np.exp(-((radius / np.float32(size * rng.uniform(0.5, 1.5))) ** 2))
    return stretched(picture)


def cells(shape: Shape, rng: np.random.Generator) -> Picture:
    """Cells under a microscope: soft-edged blobs with a rim and a nucleus."""
    canvas = blank(shape)
    size = log_uniform(rng, 5, max(6, min(shape) / 4))
    body, rim, nucleus = rng.uniform(10, 255, 3)
    for _ in range(int(min(rng.uniform(3, 80), 0.6 * shape[0] * shape[1] / size**2))):
        centre, radius, gain = somewhere(shape, rng), size * rng.uniform(0.6, 1.4), rng.uniform(0.3, 1)
        outline = _blob(centre, radius, rng)
        polygon(canvas, outline, int(gain * body))
        curve(canvas, outline, int(gain * rim), max(1, round(radius / 10)), closed=True)
        inner = _blob(centre + rng.normal(0, 0.2 * radius, 2), radius * rng.uniform(0.2, 0.45), rng)
        polygon(canvas, inner, int(gain * nucleus))
    picture = grey(canvas) * (1 - np.float32(rng.uniform(0, 0.8)) * octave_noise(shape, rng, max(4.0, size)))
    return blurred(picture, rng.uniform(0.3, 0.1 * size + 0.4))


def _blob(centre: Points, radius: float, rng: np.random.Generator) -> Points:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outline = np.ones(40)
    for harmonic in range(2, 6):
        outline += rng.normal(0, 0.25 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    return around(centre, radius * outline, angles)


def _brightest_at_one(picture: Picture) -> Picture:
    return np.asarray(picture * np.float32(1 / max(float(picture.max()), 1e-9)), np.float32)
