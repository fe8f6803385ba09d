"""Captures of a moving array: what each place within a pixel sees, and how often."""

import math

import pytest
import torch
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Exposure, Sensor
from simulate.moving import sample_moving
from simulate.pairs import Draws, PairRecipe, draw_pair


def ideal(side: int, cycles: int) -> ForwardModel:
    """A counting array without dead time: its counts are Poisson."""
    sensor = Sensor("ideal", torch.ones(side, side), torch.zeros(side, side), 0.0, 9)
    return ForwardModel(sensor, Exposure(1.0, cycles))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("scale", [1, 4, 8])
@pytest.mark.parametrize("step", [(0.0, 0.0), (-0.5, 0.49), (0.1, -0.3), (0.25, 0.0)])
def test_a_place_sees_the_scene_displaced(scale: int, step: tuple[float, float]) -> None:
    """Against sums of the parts of fine pixels that each native pixel covers; every pixel within 5.5 sigma."""
    side, cycles = 6, 4096
    rates = 5 * torch.rand(1, side * scale, side * scale, generator=seeded(1))
    counts, frames = sample_moving(ideal(side, cycles), rates, scale, [step], seeded(2))
    expected = cycles * covered(rates[0], side, scale, step)
    row, column = (math.floor(PLACES * (0.5 + each)) for each in step)
    seen = counts[0, row::PLACES, column::PLACES]
    assert ((seen - expected).abs() / expected.sqrt()).max() < 5.5
    assert counts.sum() == seen.sum()
    assert frames.sum() == cycles * side**2
    assert (frames[row::PLACES, column::PLACES] == cycles).all()


def covered(rates: Tensor, side: int, scale: int, step: tuple[float, float]) -> Tensor:
    """Means over pixels whose edges lie at `step` from those of the grid; the scene is mirrored about its last rows."""

    def weights(shift: float) -> Tensor:
        shares = torch.zeros(side, side * scale)
        for pixel in range(side):
            for fine in range(-scale, side * scale + scale):
                low, high = scale * (pixel + shift), scale * (pixel + shift + 1)
                part = max(0.0, min(fine + 1, high) - max(fine, low)) / scale
                mirrored = abs(fine) if fine < side * scale else 2 * (side * scale - 1) - fine
                shares[pixel, mirrored] += part
        return shares

    return weights(step[0]) @ rates @ weights(step[1]).T


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_capture_of_a_moving_array(seed: int) -> None:
    """Its places add up to all frames in every pixel, and no count is impossible."""
    scenes = torch.rand(2, 32, 32, generator=seeded(seed))
    pair = draw_pair(scenes, 4, PairRecipe(moving_share=1.0, mapped_share=0.0), Draws(seed))
    cycles = pair.model.exposure.map
    assert cycles is not None
    assert pair.counts.shape == (2, 32, 32)
    assert cycles.shape == (32, 32)
    total = torch.nn.functional.avg_pool2d(cycles[None].double(), PLACES, divisor_override=1)
    assert total.min() == total.max()
    assert int(total.max()) in (*PairRecipe().binary_cycles, *PairRecipe().counting_cycles)
    assert pair.counts.min() >= 0
    assert (pair.counts <= pair.model.sensor.saturation_value(cycles)).all()
    assert pair.targets[4].shape == (2, 32, 32)
    assert pair.targets[1].shape == pair.model.sensor.pde.shape == (2, 8, 8)


def test_a_moving_array_of_one_frame_is_in_one_place() -> None:
    recipe = PairRecipe(
        moving_share=1.0, mapped_share=0.0, binary_share=1.0, binary_cycles=(1,), binary_white=(0.5, 0.5)
    )
    pair = draw_pair(torch.ones(1, 32, 32), 4, recipe, Draws(0))
    assert pair.model.exposure.map is not None
    assert (pair.model.exposure.map == 1).sum() == 8 * 8
