"""Random fields that fill a picture: noise, gratings, gradients; float32 (H, W) from 0 to 1."""

import cv2
import numpy as np

from noise_model.arrays import Picture

Shape = tuple[int, int]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random positive number, equally likely in every decade."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def stretched(field: Picture) -> Picture:
    """The field moved and scaled to fill 0 to 1."""
    low, high = float(field.min()), float(field.max())
    return (field - low) * np.float32(1 / max(high - low, 1e-9))


def smooth_noise(shape: Shape, rng: np.random.Generator, cell: float) -> Picture:
    """Smooth noise of unit variance, not stretched to 0 to 1, whose grains are about `cell` pixels wide."""
    rows, columns = (int(np.ceil(side / cell)) + 3 for side in shape)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    # Offset by a part of a cell, so that grains do not line up with the frame.
    shift = rng.uniform(0, 1, 2)
    matrix = np.array([[1 / cell, 0, shift[1] + 0.5], [0, 1 / cell, shift[0] + 0.5]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grid, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT), np.float32)


def octave_noise(shape: Shape, rng: np.random.Generator, coarsest: float | None = None) -> Picture:
    """Noise at several octaves, from clouds (steep) to sand (flat)."""
    cell = coarsest or min(shape) * rng.uniform(0.1, 0.6)
    persistence = rng.uniform(0.35, 0.85)
    total = smooth_noise(shape, rng, cell)
    weight = 1.0
    while cell > 3 and weight > 0.04:
        cell, weight = cell / 2, weight * persistence
        total += np.float32(weight) * smooth_noise(shape, rng, max(cell, 1.0))
    return stretched(total)


def gradient(shape: Shape, rng: np.random.Generator) -> Picture:
    """A ramp in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = coordinates(shape)
    return stretched(np.cos(angle).astype(np.float32) * columns + np.sin(angle).astype(np.float32) * rows)


def grating(shape: Shape, rng: np.random.Generator) -> Picture:
    """Straight stripes, from sine to square, of 2.5 pixels to a third of the field."""
    angle, period = rng.uniform(0, np.pi), log_uniform(rng, 2.5, max(3.0, min(shape) / 3))
    rows, columns = coordinates(shape)
    wave = np.float32(2 * np.pi / period)
    phase = columns * (wave * np.float32(np.cos(angle))) + (
        rows * (wave * np.float32(np.sin(angle))) + rng.uniform(0, 6)
    )
    return edge(np.sin(phase.astype(np.float32)), rng.uniform(0.5, max(0.6, period / 4)))


def edge(signed: Picture, sharpness: float) -> Picture:
    """An edge from 0 to 1 where `signed` crosses zero, with slope `sharpness`."""
    return np.asarray(np.clip(signed * np.float32(sharpness) + np.float32(0.5), 0, 1), np.float32)


def coordinates(shape: Shape) -> tuple[Picture, Picture]:
    """Row and column of each pixel, as (H, 1) and (1, W)."""
    return np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]


def texture(shape: Shape, rng: np.random.Generator) -> Picture:
    """A random texture: octave noise, a grating, a gradient, or noise times a grating."""
    kind = rng.choice(4, p=[0.5, 0.2, 0.15, 0.15])
    if kind == 0:
        return octave_noise(shape, rng)
    if kind == 1:
        return grating(shape, rng)
    if kind == 2:
        return gradient(shape, rng)
    return octave_noise(shape, rng) * grating(shape, rng)


def blurred(picture: Picture, sigma: float) -> Picture:
    """The picture after a Gaussian blur; a wide one is made at a coarser resolution, far faster and as smooth."""
    step = 1 << max(0, int(np.log2(max(sigma, 1) / 2)))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    coarse = cv2.resize(picture, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), sigma / step)
    return np.asarray(cv2.resize(coarse, picture.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
