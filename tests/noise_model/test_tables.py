"""Tables to draw from: alias entries give their chances back, long sums and parts obey the law of the whole."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from laws_by_hand import check_law, check_moments, counting, dead_time_pmf, rates, seeded
from numpy.typing import NDArray

from noise_model import kernels, torch_sampling
from noise_model.forward_model import ForwardModel
from noise_model.laws import ClusterProcess
from noise_model.sensor import Exposure, Sensor
from noise_model.tables import alias_entries, mean_and_deviation, part, parts

CPU = torch.device("cpu")
CHANCES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.sampled_from([2, 8, 256])),
    elements=st.floats(0, 1, allow_subnormal=False),
)


def chances_of(entries: NDArray[np.int32], width: int) -> NDArray[np.float64]:
    """(R, C) chances by adding up the shares of every place."""
    log2_width = width.bit_length() - 1
    own = (entries.reshape(-1, width) >> log2_width) / 2 ** (31 - log2_width)
    other = entries.reshape(-1, width) & (width - 1)
    total = own.copy()
    for row in range(len(total)):
        np.add.at(total[row], other[row], 1 - own[row])
    return total / width


@settings(max_examples=200, deadline=None)
@given(CHANCES.filter(lambda chances: (chances.sum(axis=1) > 1e-3).all()))
def test_alias_entries_give_their_chances_back(chances: NDArray[np.float64]) -> None:
    """Every place adds at most half of what a share resolves, to one other."""
    width = chances.shape[1]
    expected = chances / chances.sum(axis=1, keepdims=True)
    assert np.allclose(
        chances_of(alias_entries(chances), width), expected, rtol=0, atol=2.0 ** (width.bit_length() - 32)
    )


def test_columns_without_a_chance_are_never_drawn() -> None:
    """Not even by the random bits that are least likely to: all 0."""
    chances = np.zeros((1, 256))
    chances[0, [3, 200]] = 0.4, 0.6
    entries, first = alias_entries(chances), np.zeros(1, np.int32)
    index, share, counts = np.arange(256, dtype=np.int32), np.zeros(256, np.int32), np.empty(256, np.int32)
    kernels._look_up(index, share, first, entries, 8, counts)
    column = torch_sampling._column(
        torch.zeros(256, dtype=torch.int32), torch.from_numpy(index) << 23, torch.from_numpy(entries), 8
    )
    assert set(counts) == set(column.tolist()) == {3, 200}


LONG = [Exposure(10.4e-6, 300), Exposure(10.4e-6, 4000), Exposure(875e-9, 2000)]


@pytest.mark.parametrize("exposure", LONG, ids=lambda exposure: f"{exposure.count_time * 1e6:g}us-{exposure.cycles}")
@pytest.mark.parametrize("load", [0.003, 0.02, 0.3, 2.0, 15.0])
def test_long_sums_have_the_moments_of_their_law(exposure: Exposure, load: float) -> None:
    """Bright pixels come from the standardised law, dim ones from a table; 40,000 counts, 4.5 standard errors."""
    sensor = counting((200, 200))
    b = sensor.dead_time / exposure.count_time
    assert part(ForwardModel(sensor, exposure).process, CPU).long is not None
    x = load / b
    counts = ForwardModel(sensor, exposure).sample(rates(x, exposure, (200, 200)), seeded()).numpy()
    one = dead_time_pmf(x, b)
    k = np.arange(one.size)
    variance = one @ k**2 - (one @ k) ** 2
    check_moments(counts, exposure.cycles * (one @ k), exposure.cycles * variance)


def test_a_long_sum_obeys_its_whole_law() -> None:
    """Chi-square of 200,000 counts against the exact law of 64 frames, at mean 5100 and a deviation of 32."""
    exposure, sensor, x = Exposure(10.4e-6, 64), counting(), 130.0
    assert part(ForwardModel(sensor, exposure).process, CPU).long is not None
    counts = ForwardModel(sensor, exposure).sample(rates(x, exposure), seeded()).numpy()
    check_law(counts, dead_time_pmf(x, sensor.dead_time / exposure.count_time, 64)[: counts.max() + 1])


def test_what_no_long_table_holds_is_drawn_in_parts() -> None:
    """Counters that fill up have no smooth law."""
    exposure, sensor = Exposure(1e-3, 200), counting((100, 100), dead_time=0.0, counter_bits=9)
    assert len(list(parts(ForwardModel(sensor, exposure).process, CPU))) > 1
    counts = ForwardModel(sensor, exposure).sample(rates(100.0, exposure, (100, 100)), seeded()).numpy()
    check_moments(counts, 20_000.0, 20_000.0)


def test_tables_are_small() -> None:
    """Under 20 MB, for any number of frames."""
    for cycles in (1, 16, 256, 1000, 65_000):
        for count_time in (875e-9, 10.4e-6):
            shape = ForwardModel(counting((4, 4)), Exposure(count_time, cycles)).process
            assert sum(each.size for each in parts(shape, CPU)) < 20e6


@pytest.mark.parametrize("afterpulse", [0.0, 0.1])
def test_clusters_have_their_moments(afterpulse: float) -> None:
    """Mean x, variance x (1 + a) / (1 - a), by the law itself."""
    law = ClusterProcess(64.0, afterpulse)
    x = torch.tensor([0.0, 0.3, 7.0, 64.0], dtype=torch.float64)
    for first, pmf in law.windows(x):
        k = first[:, None] + torch.arange(pmf.shape[1])
        mean = (pmf * k).sum(dim=1)
        variance = (pmf * k**2).sum(dim=1) - mean**2
        assert torch.allclose(mean, x, rtol=1e-6, atol=1e-9)
        assert torch.allclose(variance, x * (1 + afterpulse) / (1 - afterpulse), rtol=1e-5, atol=1e-9)


def test_moments_are_those_of_the_frames() -> None:
    sensor, exposure = counting((1, 1)), Exposure(875e-9, 7)
    mean, deviation = mean_and_deviation(
        ForwardModel(sensor, exposure).process, torch.tensor([4.0], dtype=torch.float64)
    )
    one = dead_time_pmf(4.0, 50e-9 / 875e-9)
    k = np.arange(one.size)
    assert float(mean) == pytest.approx(7 * (one @ k))
    assert float(deviation) == pytest.approx(math.sqrt(7 * (one @ k**2 - (one @ k) ** 2)))


@pytest.mark.parametrize("lifetime", [20e-9, 1e-6])
def test_dim_and_bright_laws_meet(lifetime: float) -> None:
    """Where the exact law hands over to the one by moments, ten times the usual afterpulsing: to 1e-3 of a chance."""
    from noise_model.laws import frame_law

    sensor = counting((1, 1), afterpulse_probability=0.1, trap_lifetime=lifetime)
    shape = ForwardModel(sensor, Exposure(875e-9)).process
    below, above = frame_law(torch.tensor([8 - 1e-9, 8 + 1e-9], dtype=torch.float64), shape)
    assert float((below - above).abs().max()) < 1e-3
    assert float((below - above).abs().sum()) / 2 < 1e-3


def one_bright(sensor: Sensor, exposure: Exposure) -> NDArray[np.int32]:
    rate = torch.zeros(100_000, 3, 3)
    rate[:, 1, 1] = 8e6
    return ForwardModel(sensor, exposure).sample(rate, seeded()).numpy()


@pytest.mark.parametrize("cycles", [1, 40])
def test_one_bright_pixel_fires_its_neighbours(cycles: int) -> None:
    """One by one and from a table alike: what a neighbour gains is Poisson, c times the counts; a corner gets what two
    neighbours hand on."""
    c = 0.002
    sensor = counting((3, 3), crosstalk=c * torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
    counts = one_bright(sensor, Exposure(875e-9, cycles))
    fired = counts[:, 1, 1]
    check_moments(counts[:, 0, 1], c * fired.mean(), c * fired.mean() + c**2 * fired.var(), slack=2e-3)
    assert counts[:, 0, 0].mean() < 5 * c * counts[:, 0, 1].mean()


def test_a_wider_array_of_the_same_sensor_is_tabulated_once() -> None:
    exposure = Exposure(875e-9, 3)
    small, large = counting((2, 2)), replace(counting((8, 8)), name="other")
    assert part(ForwardModel(small, exposure).process, CPU) is part(ForwardModel(large, exposure).process, CPU)
