"""Darks that drifted, saw light or are of different arrays are told of, and ordinary ones are not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noise_model.calibration.dark_doubts import doubts
from noise_model.calibration.streams import Stream, StreamStatistics, gather
from noise_model.sensor import Exposure

SHAPE, IMAGES, USUAL = (32, 32), 400, 50.0


def rates(seed: int = 0) -> NDArray[np.float64]:
    """Dark rates, cps: ordinary pixels spread by 40 %, and one in twenty-five is hot."""
    rng = np.random.default_rng(seed)
    rate = USUAL * np.exp(0.4 * rng.standard_normal(SHAPE))
    return np.where(rng.random(SHAPE) < 0.04, 40 * rate, rate)


def dark(rate: NDArray[np.float64], name: str = "dark.h5", images: int = IMAGES) -> StreamStatistics:
    """Statistics of images of 0.1 s each at rates (H, W) or (T, H, W)."""
    counts = np.random.default_rng(1).poisson(np.broadcast_to(0.1 * rate, (images, *SHAPE))).astype(np.uint32)

    def blocks() -> Iterator[NDArray[Any]]:
        yield counts

    return gather(Stream(name, counts.shape, Exposure(1e-5, 10_000), 0.0, 9, blocks))


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_darks_raise_no_doubt(seed: int) -> None:
    assert list(doubts([dark(rates(seed)), dark(1.05 * rates(seed), images=100)], USUAL)) == []


def test_a_dark_of_one_image_raises_no_doubt() -> None:
    assert list(doubts([dark(rates(), images=1)], USUAL)) == []


def test_a_dark_that_was_lit_half_of_the_time_is_told() -> None:
    lit = np.repeat([0.0, 40.0], IMAGES // 2)[:, None, None]
    [line] = doubts([dark(rates() + lit)], USUAL)
    assert line.startswith("dark.h5: the dark counts drifted by ")


def test_a_dark_that_drifts_with_temperature_is_told() -> None:
    warming = np.linspace(0.8, 1.2, IMAGES)[:, None, None]
    [line] = doubts([dark(rates() * warming)], USUAL)
    assert "drifted by 4" in line  # 40 %, end to end
    assert list(doubts([dark(rates() * (1 + 0.1 * (warming - 1)))], USUAL)) == []


def test_light_that_falls_on_a_part_is_told() -> None:
    light = 100 * np.exp(-(np.linspace(-2, 2, 32)[:, None] ** 2) - np.linspace(-2, 2, 32) ** 2)
    [line] = doubts([dark(rates() + light)], USUAL)
    assert "neighbouring pixels count alike" in line


def test_even_light_is_told() -> None:
    [line] = doubts([dark(rates() + 2000)], USUAL)
    assert "2.05e+03 counts/s in the median pixel, 41 times what is usual" in line


def test_darks_of_different_temperatures_or_arrays_are_told() -> None:
    [line] = doubts([dark(rates()), dark(2 * rates(), "warm.h5")], USUAL)
    assert line.startswith("warm.h5: ordinary pixels count 2.0")
    [line] = doubts([dark(rates()), dark(np.flipud(rates()), "flipped.h5")], USUAL)
    assert line.startswith("flipped.h5: ")
    assert "% of the hottest pixels of dark.h5 count otherwise" in line
