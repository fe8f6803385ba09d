"""Pairs in memory: shapes, targets, units, and that randomness comes from the generator alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.pairs import Draws, Pair, PairRecipe, draw_pair, targets_of

STILL = {"mapped_share": 0.0, "moving_share": 0.0}  # one number of frames for all pixels
PLAIN = {  # one ideal binary array, p = 0.2 in white
    "binary_share": 1.0,
    "binary_cycles": (64,),
    "binary_white": (0.2231, 0.2231),
    "afterpulse_probability": (0.0,),
    "crosstalk": (0.0,),
    "pde_spread": (1e-6, 1e-6),
    "dark_bulk": (1e-9, 1e-9),
    "hot_fraction": 0.0,
    "masked_share": 0.0,
    "known_share": 1.0,
    "starred_share": 0.0,
    **STILL,
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scenes(side: int, batch: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, side, side, generator=seeded(seed))


def draws(seed: int) -> Draws:
    return Draws(seed)


def drawn(scale: int, seed: int, **changes: object) -> Pair:
    return draw_pair(scenes(8 * scale), scale, PairRecipe.model_validate(STILL | changes), draws(seed))


@settings(max_examples=40)
@given(st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 300))
def test_any_draw_is_possible_counts_with_their_targets(scale: int, seed: int) -> None:
    pair = drawn(scale, seed)
    assert pair.counts.shape == pair.model.sensor.pde.shape == pair.model.sensor.dark_count_rate.shape == (3, 8, 8)
    assert pair.counts.dtype == torch.int32
    assert pair.counts.min() >= 0
    assert pair.counts.max() <= pair.model.sensor.saturation_value(pair.model.exposure.cycles)
    assert list(pair.targets) == [s for s in (16, 8, 4, 2, 1) if s <= scale]
    for s, target in pair.targets.items():
        assert target.shape == (3, 8 * s, 8 * s)
        assert target.isfinite().all()
        assert (target >= 0).all()


def test_targets_are_block_means() -> None:
    scene = scenes(64)
    for s, target in targets_of(scene, 16).items():
        side = 16 // s
        means = scene.reshape(3, 4 * s, side, 4 * s, side).mean(dim=(2, 4))
        torch.testing.assert_close(target, means)


def test_randomness_comes_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    one = drawn(4, 5)
    torch.manual_seed(2)
    same, other = drawn(4, 5), drawn(4, 6)
    assert one.counts.equal(same.counts)
    assert one.model.exposure == same.model.exposure
    assert not one.targets[1].equal(other.targets[1])


def test_counts_have_the_mean_of_their_targets() -> None:
    """Over 3 x 64 pixels of 64 frames, within 4.5 standard deviations: one false alarm in 2e5."""
    pair = drawn(4, 0, **PLAIN)
    expected = pair.model.expected_counts(pair.targets[1])
    variance = (expected * (1 - expected / 64)).sum()
    assert abs(pair.counts.sum() - expected.sum()) < 4.5 * variance.sqrt()
    white = pair.targets[4] / scenes(32)
    assert white.min().item() == pytest.approx(0.2231, rel=1e-4)  # one exposure is the unit of time
    assert white.max().item() == pytest.approx(0.2231, rel=1e-4)


def test_what_is_drawn_lies_in_the_ranges_of_the_recipe() -> None:
    kinds, cycles = set(), set()
    for seed in range(60):
        pair = draw_pair(
            torch.ones(2, 4, 4), 1, PairRecipe(starred_share=0.0, mapped_share=0.0, moving_share=0.0), draws(seed)
        )
        kinds.add(pair.model.sensor.binary)
        cycles.add(pair.model.exposure.cycles)
        low, high = (0.02, 1.5) if pair.model.sensor.binary else (0.2, 80.0)
        white = pair.targets[1] * pair.model.exposure.count_time
        assert (white >= 0.999 * max(low, 0.1 / pair.model.exposure.cycles)).all()
        assert (white <= 1.001 * high).all()
        assert pair.model.sensor.binary == (pair.model.sensor.dead_time == 0)
    assert kinds == {True, False}
    assert {1, 16384} <= cycles


@pytest.mark.parametrize("scale", [1, 4, 16])
def test_stars_are_small_and_of_the_flux_asked_for(scale: int) -> None:
    """In a dark field of 64 x 64 pixels 41 of a white pixel's flux each; at the edges some of it falls outside."""
    stars = {"star_fraction": (0.01, 0.01), "star_flux": (1.0, 1.0), "star_sigma": (0.3, 0.3), "starred_share": 1.0}
    recipe = PairRecipe.model_validate(PLAIN | stars)
    pair = draw_pair(torch.zeros(2, 64 * scale, 64 * scale), scale, recipe, draws(0))
    flux = pair.targets[1] / 0.2231  # white
    assert ((flux.sum(dim=(1, 2)) > 0.9 * 41) & (flux.sum(dim=(1, 2)) <= 41.01)).all()
    assert flux.amax() > 0.6
    assert ((flux > 0.01).float().mean(dim=(1, 2)) < 9 * 41 / 64**2).all()


def test_so_many_captures_have_stars() -> None:
    recipe = PairRecipe.model_validate(PLAIN | {"starred_share": 0.25})
    lit = sum(bool(draw_pair(torch.zeros(1, 8, 8), 1, recipe, draws(seed)).targets[1].any()) for seed in range(400))
    assert abs(lit - 100) < 4.5 * (400 * 0.25 * 0.75) ** 0.5


def test_half_of_the_hot_pixels_touch_another_of_like_heat() -> None:
    hot = {"hot_fraction": 0.2, "hot_median": (0.02, 0.02), "dark_bulk": (1e-6, 1e-6)}

    def hot_shares(touching: float, seed: int) -> tuple[float, float]:
        recipe = PairRecipe.model_validate(PLAIN | hot | {"touching_share": touching})
        dark = draw_pair(scenes(64, 8), 1, recipe, draws(seed)).model.sensor.dark_count_rate
        assert dark.min() >= 0.99e-6
        assert dark.max() <= 2.0
        warm = dark > 1.001e-6
        beside = torch.stack([warm.roll((i, j), (-2, -1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]).any(dim=0)
        return float(warm.float().mean()), float((warm & beside).sum() / warm.sum())

    sparse = 0
    for seed in range(8):
        (alone, few), (more, most) = hot_shares(1e-12, seed), hot_shares(1.0, seed)
        if 1e-4 < alone < 0.02:  # of sparse hot pixels h, h / 2 are made, and touch those that made them
            assert more == pytest.approx(1.5 * alone, rel=0.2)
            assert few < 0.2
            assert most > 0.55
            sparse += 1
    assert sparse > 1


def test_an_unknown_sensor_tells_no_more_than_a_header() -> None:
    sensor = drawn(2, 3, known_share=0.0, masked_share=1.0).model.sensor
    assert set(sensor.pde.flatten().tolist()) == {0.5}
    assert not sensor.dark_count_rate.any()
    assert not sensor.crosstalk.any()
    assert (sensor.afterpulse_probability, sensor.trap_lifetime) == (0.0, 0.0)
    assert sensor.pixel_mask is not None


def test_dead_pixels_count_next_to_nothing() -> None:
    quiet = PLAIN | {"masked_share": 1.0, "binary_white": (1.0, 1.0)}
    for seed in range(8):
        pair = draw_pair(torch.ones(4, 32, 32), 1, PairRecipe.model_validate(quiet), draws(seed))
        dead = ~pair.model.sensor.good
        assert dead.float().mean() < 0.04
        if dead.any():
            assert pair.counts[dead].float().mean() < 1 < pair.counts[~dead].float().mean()


@pytest.mark.parametrize("binary_share", [0.0, 1.0])
def test_frames_of_each_pixel(binary_share: float) -> None:
    """Maps of several kinds, some with pixels that never looked; counts follow them."""
    blind, spread = 0, set()
    for seed in range(40):
        pair = drawn(2, seed, mapped_share=1.0, binary_share=binary_share, known_share=0.5)
        cycles = pair.model.exposure.map
        assert cycles is not None
        assert cycles.shape == pair.counts.shape[-2:]
        assert pair.model.exposure.least_cycles > 0
        assert pair.model.exposure.most_cycles <= 64 * pair.model.exposure.least_cycles
        assert (pair.counts <= pair.model.sensor.saturation_value(cycles)).all()
        blind += int((cycles == 0).sum())
        spread.add(len(cycles.unique()) - int((cycles == 0).any()))
        measurement_rate, sd = pair.model.detection_rate(pair.counts)
        assert measurement_rate.isfinite().all()
        assert (sd > 0).all()
    assert blind > 0
    assert {1, 2} <= spread
    assert max(spread) > 10


def test_without_a_share_of_maps_nothing_is_drawn_for_them() -> None:
    plain, never = drawn(2, 3), drawn(2, 3, mapped_share=1e-9)
    assert plain.model.exposure.map is never.model.exposure.map is None
    assert plain.model.exposure == never.model.exposure
