"""Drawn scenes: of the right kind for any seed and shape, reproducible, and wide in brightness."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulate import charts, drawings
from simulate.procedural import FAMILIES, procedural_scene

SEEDS = st.integers(0, 2**63 - 1)
SHAPES = st.tuples(st.integers(32, 200), st.integers(32, 200))


@given(SEEDS, SHAPES)
def test_scenes_are_finite_flux_of_the_shape(seed: int, shape: tuple[int, int]) -> None:
    scene = procedural_scene(shape, np.random.default_rng(seed))
    assert scene.shape == shape
    assert scene.dtype == np.float32
    assert np.isfinite(scene).all()
    assert scene.min() >= 0
    assert scene.max() < 100


@given(SEEDS)
def test_equal_seeds_give_equal_scenes(seed: int) -> None:
    first, second = (procedural_scene((64, 48), np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, second)


def test_different_seeds_give_different_scenes() -> None:
    scenes = [procedural_scene((64, 64), np.random.default_rng(seed)) for seed in range(200)]
    assert len({hashlib.sha256(scene.tobytes()).digest() for scene in scenes}) == 200


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
@given(seed=SEEDS)
def test_every_family_draws_from_black_to_white(family, seed: int) -> None:  # type: ignore[no-untyped-def]
    picture = family((80, 56), np.random.default_rng(seed))
    assert picture.shape == (80, 56)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() <= picture.max() <= 1 + 1e-5


def test_chances_of_the_families_add_up() -> None:
    assert sum(FAMILIES.values()) == pytest.approx(1)


def test_scenes_span_decades_of_brightness_and_some_exceed_white() -> None:
    scenes = [procedural_scene((128, 64), np.random.default_rng(seed)) for seed in range(300)]
    ranges = [np.percentile(scene, 99.9) / max(float(np.percentile(scene, 1)), 1e-4) for scene in scenes]
    assert np.mean(np.array(ranges) > 100) > 0.1
    assert np.mean(np.array(ranges) < 10) > 0.1
    assert 0.02 < np.mean([scene.max() > 1.05 for scene in scenes]) < 0.4
    assert 0.2 < np.mean([scene.mean() for scene in scenes]) < 0.5


def test_edges_are_anti_aliased() -> None:
    star = charts.chart((256, 256), np.random.default_rng(3))
    leaves = drawings.dead_leaves((256, 256), np.random.default_rng(0))
    assert len(np.unique(star)) > 20
    assert len(np.unique(leaves)) > 100


def test_filaments_are_sparse() -> None:
    pictures = [drawings.filaments((256, 256), np.random.default_rng(seed)) for seed in range(20)]
    assert np.median([np.median(picture) for picture in pictures]) < 0.02
    assert all(picture.max() == pytest.approx(1) for picture in pictures)


def test_fans_repeat_with_their_blades() -> None:
    """Around the axis of a fan seen from the front the picture repeats: its strongest harmonic is no slow one."""
    seen = 0
    for seed in range(40):
        picture = charts.fan((200, 200), np.random.default_rng(seed))
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        rows, columns = 100 + 20 * np.sin(angles), 100 + 20 * np.cos(angles)
        spectrum = np.abs(np.fft.rfft(picture[rows.astype(int), columns.astype(int)]))[1:30]
        seen += bool(spectrum.max() > 3 * np.median(spectrum) and spectrum.argmax() + 1 >= 2)
    assert seen > 20
