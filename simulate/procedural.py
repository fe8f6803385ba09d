"""Procedural scenes: one or two drawings, put together and given a random brightness scale."""

import numpy as np

from simulate.drawings import (
    Drawing,
    cells,
    chart,
    dead_leaves,
    discs,
    fan,
    filaments,
    line_art,
    points,
    shading,
    text,
)
from simulate.textures import Field, Shape, log_uniform, octave_noise

#: Families and how often each is drawn.
FAMILIES: dict[Drawing, float] = {
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


def procedural_scene(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """One random scene.

    Args:
        shape: rows and columns.
        rng: the only source of randomness: the same state gives the same scene.

    Returns:
        (H, W) float32 relative flux, finite, >= 0; 1.0 is white, which some scenes exceed.
    """
    picture = _drawing(shape, rng)
    if rng.uniform() < 0.35:
        picture = _composed(picture, _drawing(shape, rng), rng)
    if rng.uniform() < 0.3:
        picture = 1 - picture.clip(0, 1)
    return _exposed(picture, rng)


def _drawing(shape: Shape, rng: np.random.Generator) -> Field:
    return _DRAWINGS[rng.choice(len(_DRAWINGS), p=_CHANCES)](shape, rng)


def _composed(first: Field, second: Field, rng: np.random.Generator) -> Field:
    """Two drawings: in front of one another, added, multiplied, or side by side with a ragged border."""
    kind = rng.integers(4)
    if kind == 0:
        return np.maximum(first, second)
    if kind == 1:
        return first + np.float32(log_uniform(rng, 0.03, 1)) * second
    if kind == 2:
        return first * (np.float32(rng.uniform(0, 0.3)) + second)
    border = octave_noise((first.shape[0], first.shape[1]), rng) > rng.uniform(0.35, 0.65)
    return np.where(border, first, second)


def _exposed(picture: Field, rng: np.random.Generator) -> Field:
    """Random gamma, brightness range of 1:2 to 1:1000, background, and how white the white is."""
    contrast = log_uniform(rng, 2, 1000)
    picture = np.maximum(picture, 0)
    if rng.uniform() < 0.25:  # the range spread evenly over the decades
        picture = np.exp(np.float32(np.log(contrast)) * (np.minimum(picture, 2) - 1))
    else:
        picture = picture ** np.float32(log_uniform(rng, 0.5, 2.2))
    floor = max(1 / contrast, rng.choice([0.0, rng.uniform(0, 0.3)])) if rng.uniform() < 0.8 else 0.0
    picture = np.float32(floor) + np.float32(1 - floor) * picture
    return picture * np.float32(rng.choice([1.0, rng.uniform(0.3, 1), log_uniform(rng, 1, 8)], p=[0.5, 0.35, 0.15]))
