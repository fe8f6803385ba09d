"""Scenes that move evenly, with too few counts in each block to tell how: all blocks together tell."""

import numpy as np
import pytest
from moving_scenes import FINE, MARGIN, SHAPE, binary_array, counted, drawn, drift, seen_along

from noise_model.arrays import Picture
from noise_model.progress import silent
from spadsr.motion.blocks import Blocks
from spadsr.motion.following import _straight_verdict, follow, path_verdict
from spadsr.motion.straight import straight_path
from spadsr.motion.verdict import judge

REACH, BLOCKS = (20, 10), 64


def cells(seed: int) -> Picture:
    """Eight dark discs, 5 native pixels wide, before even light; with a margin around the field."""
    rng, picture = np.random.default_rng(seed), np.ones_like(drawn(0))
    rows, columns = np.indices(picture.shape)
    for _ in range(8):
        row, column = (rng.uniform(MARGIN, MARGIN + side * FINE) for side in SHAPE)
        picture[np.hypot(rows - row, columns - column) < 2.5 * FINE] = 0.5
    return picture


def passing(seed: int, down: float, right: float) -> Blocks:
    """What a binary array counts of them in 64 blocks of two hardware frames."""
    return counted(seen_along(cells(seed), drift(down, right, 0, BLOCKS)), 0.5, binary_array(seed), seed, frames=2)


@pytest.mark.parametrize("seed", range(6))
def test_a_velocity_is_found_within_its_error(seed: int) -> None:
    blocks = passing(seed, 14, -3)
    path = straight_path(blocks, REACH)
    off = (path.poses - drift(14, -3, 0, BLOCKS))[-1, :2]
    assert np.abs(off).max() < 1.0  # at the end, native pixels
    assert (np.abs(off) < 4 * path.sd[-1, :2]).all()
    assert judge(blocks, path).moves


@pytest.mark.parametrize("seed", range(6))
def test_cells_at_rest_stay_there(seed: int) -> None:
    blocks = passing(seed, 0, 0)
    assert not judge(blocks, straight_path(blocks, REACH)).moves
    assert not path_verdict(blocks, turning=False).moves


def test_even_light_has_no_velocity() -> None:
    blocks = counted(np.ones((BLOCKS, *SHAPE), np.float32), 0.5, binary_array(0), 3, frames=1)
    assert not path_verdict(blocks, turning=False).moves


def test_along_stripes_nothing_moves() -> None:
    columns = np.arange(drawn(0).shape[1])
    edges = np.broadcast_to(np.where(columns % 97 < 40, 1.0, 0.4).astype(np.float32), drawn(0).shape)
    blocks = counted(seen_along(edges, drift(8, 6, 0, BLOCKS)), 0.5, binary_array(1), 1, frames=1)
    poses = _straight_verdict(blocks, silent).path.poses
    assert not poses[:, 0].any()
    assert poses[-1, 1] - poses[0, 1] == pytest.approx(6, abs=0.7)


def test_large_arrays_are_tried_in_pools_of_pixels() -> None:
    blocks = passing(2, 14, -3)
    wide = Blocks.consecutive(
        blocks.counts.repeat(2, axis=1).repeat(2, axis=2), 2, binary_array(2, (128, 64)).uniform((128, 64)), 1e-5
    )
    path = straight_path(wide, (40, 20))
    np.testing.assert_allclose(path.poses[-1, :2], drift(28, -6, 0, BLOCKS)[-1, :2], atol=2)


def test_a_sum_of_what_passes_is_merged_along_it() -> None:
    followed = follow(passing(0, 14, -3), "shift")
    assert followed.motion.followed == "shift"
    assert followed.merged is not None
