"""Procedural scenes: one or two random drawings, put together, with a random brightness scale."""

from collections.abc import Callable

import numpy as np

from noise_model.arrays import Picture
from simulate.charts import chart, fan
from simulate.drawings import cells, dead_leaves, discs, filaments, line_art, points, shading, text
from simulate.textures import Shape, blurred, log_uniform, octave_noise, smooth_noise

Family = Callable[[Shape, np.random.Generator], Picture]

#: Families of drawings, and how often each is used.
FAMILIES: dict[Family, float] = {
    dead_leaves: 0.30,
    filaments: 0.12,
    fan: 0.10,
    cells: 0.10,
    line_art: 0.08,
    chart: 0.08,
    text: 0.07,
    discs: 0.06,
    shading: 0.05,
    points: 0.04,
}
_DRAWINGS = tuple(FAMILIES)
_CHANCES = np.array(list(FAMILIES.values()))


def procedural_scene(shape: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Draws a random scene.

    Args:
        shape: rows and columns.
        rng: the only source of randomness: the same state gives the same scene.

    Returns:
        (H, W) float32 relative flux, finite, >= 0; 1.0 is white, which some scenes exceed.
    """
    picture = _random_drawing(shape, rng)
    if rng.uniform() < 0.35:
        picture = _composed(picture, _random_drawing(shape, rng), rng)
    if rng.uniform() < 0.3:
        picture = 1 - picture.clip(0, 1)
    if rng.uniform() < 0.2:  # out of focus
        picture = blurred(picture, log_uniform(rng, 0.5, max(0.6, min(shape) / 80)))
    return _exposed(picture, rng)


def _random_drawing(shape: Shape, rng: np.random.Generator) -> Picture:
    """A drawing of a random family."""
    return _DRAWINGS[rng.choice(len(_DRAWINGS), p=_CHANCES)](shape, rng)


def _composed(first: Picture, second: Picture, rng: np.random.Generator) -> Picture:
    """Two drawings put together: one in front of the other, added, multiplied, or side by side with a ragged border."""
    kind = rng.integers(4)
    if kind == 0:
        return np.maximum(first, second)
    if kind == 1:
        return first + np.float32(log_uniform(rng, 0.03, 1)) * second
    if kind == 2:
        return first * (np.float32(rng.uniform(0, 0.3)) + second)
    border = octave_noise(_shape(first), rng) > rng.uniform(0.35, 0.65)
    return np.where(border, first, second)


def _exposed(picture: Picture, rng: np.random.Generator) -> Picture:
    """A picture with a random gamma, brightness range of 1:2 to 1:1000, background, and level of white."""
    contrast = log_uniform(rng, 2, 1000)
    picture = np.maximum(picture, 0)
    if rng.uniform() < 0.25:  # the range spread evenly over the decades
        picture = np.exp(np.float32(np.log(contrast)) * (np.minimum(picture, 2) - 1))
    else:
        picture = picture ** np.float32(log_uniform(rng, 0.5, 2.2))
    if rng.uniform() < 0.35:  # lit unevenly
        picture = picture * _uneven_light(_shape(picture), rng)
    floor = max(1 / contrast, rng.choice([0.0, rng.uniform(0, 0.3)])) if rng.uniform() < 0.8 else 0.0
    picture = np.float32(floor) + np.float32(1 - floor) * picture
    return picture * np.float32(_gain(float(picture.mean()), rng))


def _gain(mean: float, rng: np.random.Generator) -> float:
    """A random factor of brightness: peaks of sparse scenes may be brighter than white."""
    if rng.uniform() < 0.5:
        return 1.0
    brightest = min(8.0, 0.4 / max(mean, 0.01))
    return log_uniform(rng, 0.3, 1) if brightest < 1 else log_uniform(rng, 0.5, brightest)


def _uneven_light(shape: Shape, rng: np.random.Generator) -> Picture:
    light = np.exp(rng.uniform(0.1, 0.7) * smooth_noise(shape, rng, min(shape) / 2))
    return np.asarray(light / light.max(), np.float32)


def _shape(picture: Picture) -> Shape:
    return picture.shape[0], picture.shape[1]
