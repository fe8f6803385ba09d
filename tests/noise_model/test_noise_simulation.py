"""The tables against simulations, avalanche by avalanche and frame by frame, that share no code with them."""

import math

import numpy as np
import pytest
import torch
from laws_by_hand import (
    CROSS,
    SIGMAS,
    binary,
    check_moments,
    counting,
    rates,
    seeded,
    simulate_binary,
    simulate_counting,
)

from noise_model.response import expected_counts
from noise_model.sampling import sample_counts
from noise_model.sensor import Exposure, Sensor

SHAPE = (16, 16)


@pytest.mark.parametrize("r", [0.5e6, 4e6, 20e6, 100e6])
@pytest.mark.parametrize(("time", "a", "lifetime"), [(875e-9, 0.0, 0.0), (875e-9, 0.02, 1e-7), (2.5e-6, 0.01, 4e-8)])
def test_counting_with_afterpulses(r: float, time: float, a: float, lifetime: float) -> None:
    """Means within 4.5 standard errors and 0.1 %, variances and 0.5 %: tables know an afterpulse's mean delay."""
    sensor, exposure = counting(afterpulse_probability=a, trap_lifetime=lifetime), Exposure(time)
    simulated = simulate_counting(r, sensor, exposure, 200_000, seed=1)
    counts = sample_counts(rates(r * time, exposure), exposure, sensor, seeded()).numpy()
    error = math.hypot(simulated.std(), counts.std()) / math.sqrt(counts.size)
    assert abs(counts.mean() - simulated.mean()) < SIGMAS * error + 1e-3 * simulated.mean()
    spread = math.sqrt(2 * 2 / counts.size)
    assert counts.var() == pytest.approx(simulated.var(), rel=SIGMAS * spread + 0.005)
    assert float(expected_counts(torch.tensor([[r]]), exposure, sensor)) == pytest.approx(
        simulated.mean(), rel=3e-3, abs=SIGMAS * error
    )


@pytest.fixture(scope="module")
def leaky() -> tuple[Sensor, np.ndarray, np.ndarray]:
    """A binary array with afterpulses and strong crosstalk; 16 frames at p = 0.2: drawn, and simulated by frames."""
    sensor = binary(SHAPE, afterpulse_probability=0.02, crosstalk=0.01 * CROSS)
    exposure = Exposure(1e-5, 16)
    drawn = sample_counts(rates(-math.log(0.8), exposure, (4000, *SHAPE)), exposure, sensor, seeded()).numpy()
    return sensor, drawn, simulate_binary(0.2, sensor, 16, SHAPE, trials=4000, seed=1)


def inside(counts: np.ndarray) -> np.ndarray:
    return counts[:, 1:-1, 1:-1]


def beside(counts: np.ndarray) -> float:
    """Covariance of neighbours along a row."""
    c = inside(counts) - inside(counts).mean(axis=0)
    return float((c[:, :, 1:] * c[:, :, :-1]).mean())


def test_binary_means_with_afterpulses_and_crosstalk(leaky: tuple[Sensor, np.ndarray, np.ndarray]) -> None:
    """To 0.1 %: three standard errors, and second-order terms that the sums leave out."""
    sensor, drawn, simulated = leaky
    assert inside(drawn).mean() == pytest.approx(inside(simulated).mean(), rel=1e-3)
    corners = drawn[:, 0, 0].mean(), simulated[:, 0, 0].mean()
    assert corners[0] == pytest.approx(corners[1], rel=0.02)
    mean = expected_counts(rates(-math.log(0.8), Exposure(1e-5), SHAPE), Exposure(1e-5, 16), sensor)
    assert np.allclose(drawn.mean(axis=0), mean, rtol=0, atol=SIGMAS * drawn.std() / math.sqrt(4000))


def test_binary_variance_with_afterpulses_and_crosstalk(leaky: tuple[Sensor, np.ndarray, np.ndarray]) -> None:
    _, drawn, simulated = leaky
    assert inside(drawn).var() == pytest.approx(inside(simulated).var(), rel=0.01)


def test_neighbour_covariance_of_binary_sums(leaky: tuple[Sensor, np.ndarray, np.ndarray]) -> None:
    """The collapsed draw and the frames agree within 4.5 standard errors, a third of the covariance."""
    _, drawn, simulated = leaky
    error = drawn.var() * math.sqrt(2 / (4000 * 14 * 13))
    assert beside(simulated) > 9 * error
    assert beside(drawn) == pytest.approx(beside(simulated), abs=SIGMAS * error)


def test_neighbour_covariance_of_sums_adds_up() -> None:
    """16 times that of a frame, within 10 %: the standard error is 1.7 %, crosstalk of second order some 2 c."""
    p, c, exposure = 0.2, 0.01, Exposure(1e-5, 16)
    sensor = binary((64, 32), crosstalk=c * CROSS)
    counts = sample_counts(rates(-math.log1p(-p), exposure, (8000, 64, 32)), exposure, sensor, seeded()).numpy()
    assert beside(counts) == pytest.approx(16 * 2 * c * p * (1 - p) ** 2, rel=0.1)


@pytest.mark.parametrize("p", [0.05, 0.2])
def test_neighbour_covariance_of_single_frames(p: float) -> None:
    """c p (1 - p)^2 from either side, within 4.5 standard errors over 4 million pairs and the second order in c."""
    c = 0.01
    exposure, sensor = Exposure(1e-5), binary((64, 32), crosstalk=c * CROSS)
    counts = sample_counts(rates(-math.log1p(-p), exposure, (2000, 64, 32)), exposure, sensor, seeded()).numpy()
    error = SIGMAS * p * (1 - p) / math.sqrt(2000 * 62 * 29)
    assert beside(counts) == pytest.approx(2 * c * p * (1 - p) ** 2, abs=error + 5 * c**2 * p)


@pytest.mark.parametrize("time", [875e-9, 10.4e-6])
def test_crosstalk_of_counting_pixels_fills_only_live_time(time: float) -> None:
    """One bright pixel: what its neighbours gain is Poisson, c times its counts; what it gains itself is nothing."""
    sensor = counting((3, 3), crosstalk=0.02 * CROSS)
    exposure = Exposure(time, 4)
    rate = torch.zeros(100_000, 3, 3)
    rate[:, 1, 1] = 8e6
    counts = sample_counts(rate, exposure, sensor, seeded()).numpy()
    fired = counts[:, 1, 1]
    check_moments(counts[:, 0, 1], 0.02 * fired.mean(), 0.02 * fired.mean() + 0.02**2 * fired.var())
    assert counts[:, 0, 0].max() == 0
