"""The counts obey the closed forms of the physics: moments within 4.5 standard errors, whole laws by chi-square."""

import math

import numpy as np
import pytest
import torch
from laws_by_hand import (
    binary,
    chain_pmf,
    check_law,
    check_moments,
    counting,
    dead_time_pmf,
    rates,
    seeded,
)
from scipy import stats

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor


def drawn(x: float, exposure: Exposure, sensor: Sensor, seed: int = 0) -> np.ndarray:
    """200,000 counts of pixels of equal rate."""
    return ForwardModel(sensor, exposure).sample(rates(x, exposure), seeded(seed)).numpy()


@pytest.mark.parametrize("x", [1e-3, 0.05, 0.223, 1.5, 6.0])
@pytest.mark.parametrize("cycles", [1, 2, 16, 255, 1000])
def test_binary_frames_are_binomial(cycles: int, x: float) -> None:
    counts = drawn(x, Exposure(10e-6, cycles), binary())
    law = stats.binom(cycles, -math.expm1(-x))
    check_law(counts, law.pmf(np.arange(cycles + 1)))
    check_moments(counts, law.mean(), law.var())


@pytest.mark.parametrize(("x", "a", "cycles"), [(0.2, 0.01, 16), (0.05, 0.1, 64), (0.7, 0.3, 100), (0.2, 0.05, 1)])
def test_afterpulses_between_frames_are_a_markov_chain(x: float, a: float, cycles: int) -> None:
    counts = drawn(x, Exposure(10e-6, cycles), binary(afterpulse_probability=a))
    p, n = -math.expm1(-x), cycles
    rho = a * (1 - p)
    full = p / (1 - rho)
    variance = full * (1 - full) * (n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2)
    check_moments(counts, n * full, variance)
    check_law(counts, chain_pmf(p, a, n))


@pytest.mark.parametrize("cycles", [1, 3, 40])
@pytest.mark.parametrize("x", [0.02, 0.7, 5.0, 17.5, 300.0])
def test_dead_time_is_not_paralysable(x: float, cycles: int) -> None:
    exposure = Exposure(875e-9, cycles)
    counts = drawn(x, exposure, counting())
    pmf = dead_time_pmf(x, 50e-9 / 875e-9, cycles)
    k = np.arange(pmf.size)
    check_moments(counts, pmf @ k, pmf @ k**2 - (pmf @ k) ** 2)
    check_law(counts, pmf)


def test_the_textbook_pixel_near_saturation() -> None:
    """20 detections per us, 50 ns, 10.4 us: mean 104.1, variance 26.1; both known to a tenth."""
    counts = drawn(208.0, Exposure(10.4e-6), counting()).astype(float)
    assert counts.mean() == pytest.approx(104.1, abs=0.05 + 4.5 * math.sqrt(26.1 / counts.size))
    assert counts.var() == pytest.approx(26.1, abs=0.05 + 26.1 * (0.0025 + 4.5 * math.sqrt(2 / counts.size)))


@pytest.mark.parametrize("x", [0.3, 20.0, 200.0])
def test_without_dead_time_counts_are_poisson(x: float) -> None:
    check_law(drawn(x, Exposure(1e-6), counting(dead_time=0.0)), stats.poisson.pmf(np.arange(512), x))


@pytest.mark.parametrize("x", [3.0, 7.0, 30.0])
def test_a_full_counter_stays_at_its_maximum(x: float) -> None:
    pmf = stats.poisson.pmf(np.arange(8), x)
    pmf[7] = stats.poisson.sf(6, x)
    check_law(drawn(x, Exposure(1e-6), counting(dead_time=0.0, counter_bits=3)), pmf)


@pytest.mark.parametrize("x", [5.0, 20.0, 60.0])
def test_a_wrapping_counter_starts_again_at_zero(x: float) -> None:
    pmf = dead_time_pmf(x, 1 / 40)
    pmf = np.pad(pmf, (0, -pmf.size % 16)).reshape(-1, 16).sum(axis=0)
    check_law(drawn(x, Exposure(2e-6), counting(counter_bits=4, counter_wraps=True)), pmf)


def test_dark_counts_and_pde_map_make_the_rate() -> None:
    """Half the pixels see 1.4 times the photons of the mean, the others 0.6 times; two columns in five are noisy."""
    pde = torch.full((400, 500), 0.3)
    pde[200:] = 0.7
    dark = torch.zeros(400, 500)
    dark[:, 300:] = 2e4
    exposure = Exposure(10e-6, 32)
    counts = drawn(0.1, exposure, binary(pde=pde, dark_count_rate=dark))
    for rows, gain in ((slice(0, 200), 0.6), (slice(200, 400), 1.4)):
        for columns, extra in ((slice(0, 300), 0.0), (slice(300, 500), 0.2)):
            p = -math.expm1(-(0.1 * gain + extra))
            check_moments(counts[rows, columns], 32 * p, 32 * p * (1 - p))


def test_the_law_ends_where_the_sensor_saturates() -> None:
    exposure = Exposure(875e-9, 4)
    assert (drawn(1e5, exposure, counting()) <= 4 * 18).all()
    assert drawn(1e5, exposure, counting()).mean() > 4 * 17.5 * 0.95
    assert (drawn(1e5, Exposure(1e-5, 9), binary()) == 9).mean() > 0.9999


EXTREMES = {
    "one million binary frames": (Exposure(1e-5, 1_000_000), binary((4, 4), afterpulse_probability=0.01)),
    "thousands of long frames": (Exposure(10.4e-6, 5000), counting((4, 4))),
    "20,000 dead times": (Exposure(1e-3, 10), counting((4, 4))),
    "12 bits": (Exposure(1e-3, 1), counting((4, 4), dead_time=0.0, counter_bits=12)),
    "hardly more than a dead time": (Exposure(51e-9, 100), counting((4, 4))),
    "less than a dead time": (Exposure(20e-9, 100), counting((4, 4))),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_tables_stay_small(name: str) -> None:
    exposure, sensor = EXTREMES[name]
    law = ForwardModel(sensor, exposure).law()
    assert law.cdf.numel() <= 1 << 23
    assert (law.cdf[:, -1] == 1).all()
    assert (law.cdf.diff(dim=1) >= 0).all()
    if ForwardModel(sensor, exposure).process.cycles < 1_000_000:
        counts = ForwardModel(sensor, exposure).sample(rates(2.0, exposure, (3, 4, 4)), seeded())
        assert counts.max() <= sensor.saturation_value(exposure.cycles)


@pytest.mark.parametrize("sensor", [binary(afterpulse_probability=0.02), counting()], ids=["binary", "counting"])
def test_the_tabulated_law_is_that_of_the_draws(sensor: Sensor) -> None:
    """Rates on the grid, so that one row is drawn from."""
    exposure = Exposure(875e-9, 20)
    law = ForwardModel(sensor, exposure).law()
    for row in (50, 200, len(law.x) // 2):
        counts = ForwardModel(sensor, exposure).sample(rates(float(law.x[row]), exposure), seeded(row)).numpy()
        pmf = np.zeros(int(law.first[row]) + law.cdf.shape[1])
        pmf[int(law.first[row]) :] = np.diff(law.cdf[row].double().numpy(), prepend=0.0)
        check_law(counts, pmf[: max(counts.max() + 1, np.nonzero(pmf)[0][-1] + 1)])
        mean = pmf @ np.arange(pmf.size)
        assert counts.mean() == pytest.approx(mean, abs=4.5 * counts.std() / math.sqrt(counts.size))
