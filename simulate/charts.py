"""Drawings of regular things: fans and test targets. Each is a function (shape, rng) -> float32 (H, W), 0 to 1."""

import cv2
import numpy as np

from noise_model.arrays import Picture
from simulate.brushes import blank, grey, polygon, somewhere, turned
from simulate.textures import Shape, coordinates, edge, log_uniform


def polar(shape: Shape, rng: np.random.Generator) -> tuple[Picture, Picture, float]:
    """Radius (pixels) and angle (0 to 2 pi) about a random point, seen at a slant, and half of the picture's size."""
    rows, columns = coordinates(shape)
    x0, y0 = somewhere(shape, rng).tolist() if rng.uniform() < 0.5 else (shape[1] / 2, shape[0] / 2)
    x = np.broadcast_to(columns - np.float32(x0), shape).copy()
    y = np.broadcast_to((rows - np.float32(y0)) * np.float32(rng.uniform(1, 1.6)), shape).copy()
    radius, angle = cv2.cartToPolar(x, y)
    return np.asarray(radius, np.float32), np.asarray(angle, np.float32), min(shape) / 2


def fan(shape: Shape, rng: np.random.Generator) -> Picture:
    """A fan: blades around a hub inside a rim, sharp at rest, smeared when turning, some behind a grill."""
    radius, angle, size = polar(shape, rng)
    rim, hub = size * rng.uniform(0.45, 1.1), size * rng.uniform(0.03, 0.2)
    picture = _blades(radius, angle, size, rng) * edge(rim - radius, 1)
    width = rng.uniform(1, 0.04 * size + 1.1)
    picture += np.float32(rng.uniform(0.3, 1)) * edge(np.float32(width / 2) - np.abs(radius - np.float32(rim)), 1)
    picture = np.where(radius < hub, np.float32(rng.uniform(0, 1)), picture).clip(0, 1)
    return _behind_grill(picture, radius, angle, size, rng) if rng.uniform() < 0.4 else picture


def _blades(radius: Picture, angle: Picture, size: float, rng: np.random.Generator) -> Picture:
    count = int(rng.integers(2, 10))
    duty, blur = rng.uniform(0.2, 0.8), rng.uniform(0, 0.25) * rng.integers(2)
    swept = angle + np.float32(rng.uniform(0, 7)) + np.float32(rng.normal(0, 0.8) / size) * radius
    turn = np.mod(swept * np.float32(count / (2 * np.pi)), np.float32(count))
    blade = np.minimum(turn.astype(np.int32), count - 1)
    turn -= blade.astype(np.float32)
    arc = radius * np.float32(2 * np.pi / count)  # pixels that one blade and its gap take up at this radius
    inside = (np.float32(duty / 2) - np.abs(turn - np.float32(0.5))) * arc
    picture = np.clip(inside / np.maximum(1, np.float32(blur) * arc) + np.float32(0.5), 0, 1)
    picture *= rng.uniform(rng.choice([0.4, 0.95]), 1, count).astype(np.float32)[blade]
    picture *= 1 - np.float32(rng.uniform(0, 0.7)) * turn  # lit from one side
    return np.asarray(picture, np.float32)


def _behind_grill(picture: Picture, radius: Picture, angle: Picture, size: float, rng: np.random.Generator) -> Picture:
    pitch, wire = size * rng.uniform(0.06, 0.25), rng.uniform(1, max(1.2, size / 60))
    spokes = int(rng.integers(3, 24))
    half = np.float32(wire / 2)
    rings = edge(half - np.abs(np.mod(radius, np.float32(pitch)) - np.float32(pitch / 2)), 1)
    aside = np.abs(np.mod(angle * np.float32(spokes / (2 * np.pi)), 1) - np.float32(0.5)) * radius
    wires = np.maximum(rings, edge(half - aside * np.float32(2 * np.pi / spokes), 1))
    return np.asarray(picture + wires * (np.float32(rng.uniform(0, 1)) - picture), np.float32)


def chart(shape: Shape, rng: np.random.Generator) -> Picture:
    """A test target: Siemens star, chequers, rings of growing frequency, or groups of three bars."""
    return (_siemens_star, _chequers, _zone_plate, _bar_groups)[rng.integers(4)](shape, rng)


def _siemens_star(shape: Shape, rng: np.random.Generator) -> Picture:
    radius, angle, size = polar(shape, rng)
    spokes = int(rng.integers(4, 48))
    rise = np.maximum(radius / np.float32(spokes), np.float32(0.5))  # pixels over which the sine below grows by 1
    star = np.clip(np.sin(angle * np.float32(spokes)) * rise + np.float32(0.5), 0, 1)
    return np.asarray(star * edge(np.float32(size * rng.uniform(0.5, 1.5)) - radius, 1), np.float32)


def _chequers(shape: Shape, rng: np.random.Generator) -> Picture:
    side = log_uniform(rng, 3, max(4, min(shape) / 3))
    angle = rng.uniform(0, np.pi / 2) * rng.integers(2)
    rows, columns = coordinates(shape)
    cos, sin, wave = np.float32(np.cos(angle)), np.float32(np.sin(angle)), np.float32(np.pi / side)
    first = np.sin((columns * cos + rows * sin) * wave + np.float32(rng.uniform(0, 6)))
    second = np.sin((rows * cos - columns * sin) * wave + np.float32(rng.uniform(0, 6)))
    return edge(np.clip(first * np.float32(side), -1, 1) * np.clip(second * np.float32(side), -1, 1), 0.5)


def _zone_plate(shape: Shape, rng: np.random.Generator) -> Picture:
    radius, _, size = polar(shape, rng)
    finest = rng.uniform(2.5, 8)  # period at the rim, pixels
    phase = radius**2 * np.float32(np.pi / (finest * 2 * size)) + np.float32(rng.uniform(0, 6))
    return edge(np.sin(phase), rng.choice([0.5, 1.5]))


def _bar_groups(shape: Shape, rng: np.random.Generator) -> Picture:
    """Rows of three upright and three level bars, each row finer than the one above, as on the USAF 1951 target."""
    canvas = blank(shape)
    top, width = rng.uniform(2, 10), min(shape) / rng.uniform(12, 30)
    shrink = 2.0 ** -rng.choice([1 / 6, 1 / 3, 1 / 2])
    while top < shape[0] and width > 0.6:
        for left in np.arange(rng.uniform(2, 8), shape[1], 15 * width):
            for bar in range(0, 6, 2):
                polygon(canvas, _box(left + bar * width, top, width, 5 * width), 255)
                polygon(canvas, _box(left + 7 * width, top + bar * width, 5 * width, width), 255)
        top, width = top + 7 * width, width * shrink
    return grey(turned(canvas, rng.choice([0, 90, rng.normal(0, 10)])))


def _box(left: float, top: float, width: float, height: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
