"""The avalanche-by-avalanche array against what can be worked out by hand: laws, moments and limits.

Moments are tested to SIGMAS standard errors, laws by chi-square to a chance of CHANCE; seeds are fixed. Rows of an
array whose kernel has no vertical part are as many independent arrays of one row.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from avalanches import Array, images, stream
from laws_by_hand import CHANCE, SIGMAS, chain_pmf, check_law, dead_time_pmf
from numpy.typing import NDArray
from scipy import stats

GATE = 1e-6  # s
DEAD_TIME = 50e-9  # s


def binary(p: float, shape: tuple[int, int] = (40, 50), **changes: object) -> Array:
    return Array(**{"rate": np.full(shape, -np.log1p(-p) / GATE), "count_time": GATE} | changes)


def counting(load: float, length: float, shape: tuple[int, int] = (8, 8), **changes: object) -> Array:
    """A pixel's rate times the dead time, the frame over the dead time."""
    numbers = {"count_time": length * DEAD_TIME, "dead_time": DEAD_TIME, "counter_bits": 9}
    return Array(**{"rate": np.full(shape, load / DEAD_TIME)} | numbers | changes)


def along_row(left: float, right: float) -> NDArray[np.float64]:
    """The kernel of an avalanche that may fire the pixels on its left and on its right."""
    return np.array([[0, 0, 0], [left, 0, right], [0, 0, 0]])


def check_mean(samples: NDArray[np.number], expected: float) -> None:
    """The mean of independent samples."""
    error = samples.std(dtype=np.float64) / np.sqrt(samples.size)
    assert abs(samples.mean(dtype=np.float64) - expected) < SIGMAS * error, (samples.mean(), expected, error)


@pytest.mark.parametrize(("p", "n"), [(0.01, 16), (0.5, 1), (0.1, 256)])
def test_binary_sums_are_binomial(p: float, n: int) -> None:
    check_law(images(binary(p), 100, n), stats.binom.pmf(np.arange(n + 1), n, p))


def test_each_pixel_has_its_own_rate() -> None:
    p = np.array([[0.0, 0.02, 0.3], [0.9, 1e-4, 0.5]])
    counts = images(Array(-np.log1p(-p) / GATE, GATE), 1, frames=50_000)[0]
    assert counts[0, 0] == 0
    for count, chance in zip(counts.ravel()[1:], p.ravel()[1:], strict=True):
        assert stats.binomtest(int(count), 50_000, chance).pvalue > CHANCE, counts


@pytest.mark.parametrize(("p", "a"), [(0.1, 0.1), (0.5, 0.3), (0.02, 0.01)])
def test_binary_afterpulses_make_a_two_state_chain(p: float, a: float) -> None:
    n = 8
    counts = images(binary(p, afterpulse_probability=a), 201, n)[1:].astype(np.float64)
    rho = a * (1 - p)
    pi = p / (1 - rho)
    check_law(counts[::20].astype(int), chain_pmf(p, a, n))  # far enough apart to be independent
    centred = counts - n * pi
    check_mean(centred.mean(axis=0), 0)  # over pixels, which are independent where images are not
    variance = pi * (1 - pi) * (n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2)
    check_mean((centred**2).mean(axis=0), variance)
    lag_one = pi * (1 - pi) * rho * (1 - rho**n) ** 2 / (1 - rho) ** 2
    check_mean((centred[1:] * centred[:-1]).mean(axis=0), lag_one)
    lag_two = lag_one * rho**n
    check_mean((centred[2:] * centred[:-2]).mean(axis=0), lag_two)


@pytest.mark.parametrize(("load", "length"), [(0.01, 17.5), (0.5, 17.5), (5.0, 17.5), (1.0, 208.0)])
@pytest.mark.parametrize("n", [1, 4])
def test_dead_time_law(load: float, length: float, n: int) -> None:
    counts = images(counting(load, length), 200, n)
    check_law(counts, dead_time_pmf(load * length, 1 / length, n))


def test_long_frames_have_the_moments_of_the_renewal_theorem() -> None:
    """The check of the reference: 20 photons per us, 50 ns, 10.4 us."""
    counts = images(counting(1.0, 208.0), 400).astype(np.float64)
    check_mean(counts, 208 / 2 + 1 / 8)  # x = r tau = 1: r T / (1 + x), and x^2 / 2 (1 + x)^2 from a live start
    check_mean((counts - counts.mean()) ** 2, 208 / 8 + 23 / 192)  # likewise x^2 (18 + 4 x + x^2) / 12 (1 + x)^4


def test_traps_without_dead_time_make_a_branching_process() -> None:
    """Avalanches per s at t are r / (1 - a) [1 - a exp(-(1 - a) t / lifetime)]; ten traps are filled at a time here."""
    a, length, lifetime = 0.5, 4.0, 2.0
    array = Array(np.full((8, 8), 10.0), length, 9, 0.0, a, lifetime)
    lost = a * lifetime / (1 - a) ** 2 * -np.expm1(-(1 - a) * length / lifetime)
    check_mean(images(array, 1000), 10.0 * (length / (1 - a) - lost))


def test_traps_that_empty_in_the_dead_time_are_lost() -> None:
    """At a low rate each photon starts a geometric train: a trap fires its pixel with chance a exp(-tau / lifetime)."""
    a, lifetime = 0.5, 2 * DEAD_TIME
    counts = images(counting(1e-5, 2000.0, (32, 64), afterpulse_probability=a, trap_lifetime=lifetime), 500)
    more = a * np.exp(-DEAD_TIME / lifetime)
    law = np.zeros(30)
    for photons in range(3):  # their trains: negative binomial
        train = stats.nbinom.pmf(np.arange(30) - photons, photons, 1 - more) if photons else np.eye(30)[0]
        law += stats.poisson.pmf(photons, 0.02) * train
    check_law(np.minimum(counts, 29), law)


def chance_of_pair(
    before: tuple[int, int], after: tuple[int, int], p: float, a: float, c: tuple[float, float]
) -> float:
    """Two binary pixels: chance of a gate after another. c: left to right, right to left."""
    alone = [1 - (1 - p) * (1 - a * fired) for fired in before]
    none = (1 - alone[0]) * (1 - alone[1])
    only = [alone[0] * (1 - alone[1]) * (1 - c[0]), alone[1] * (1 - alone[0]) * (1 - c[1])]
    return {(0, 0): none, (1, 0): only[0], (0, 1): only[1], (1, 1): 1 - none - sum(only)}[after]


def test_crosstalk_and_afterpulses_of_two_binary_pixels() -> None:
    """The whole law of one gate and the next: what a neighbour fired also fills traps."""
    p, a, c = 0.2, 0.3, (0.1, 0.4)
    array = binary(p, (2000, 2), afterpulse_probability=a, crosstalk=along_row(left=c[1], right=c[0]))
    pairs = images(array, 1000).reshape(50, 20, 2000, 2)[:, -2:]  # 20 gates on, all is forgotten
    states = list(itertools.product((0, 1), (0, 1)))
    step = np.array([[chance_of_pair(before, after, p, a, c) for after in states] for before in states])
    law = (np.linalg.matrix_power(step, 50)[0][:, None] * step).ravel()
    check_law((pairs @ np.array([2, 1]))[:, 0] * 4 + (pairs @ np.array([2, 1]))[:, 1], law)


def test_binary_crosstalk_goes_on_from_neighbour_to_neighbour() -> None:
    """Only the second of four is lit: to the left a dead end, to the right a chain of two."""
    rate = np.zeros((2000, 4))
    rate[:, 1] = -np.log(0.6) / GATE
    counts = images(Array(rate, GATE, crosstalk=along_row(left=0.1, right=0.3)), 100)
    for pixel, chance in enumerate((0.4 * 0.1, 0.4, 0.4 * 0.3, 0.4 * 0.3 * 0.3)):
        # From the right, an avalanche finds the pixel it came from blind.
        check_mean(counts[:, :, pixel], chance)


def test_neighbour_covariance_of_binary_frames() -> None:
    """First order in the kernel; the second adds no more than ten parts in a thousand here."""
    c, p = 1e-3, 0.3
    kernel = np.array([[0, 0, 0], [0, 0, 2 * c], [0, c, 4 * c]])
    centred = images(binary(p, (64, 32), crosstalk=kernel), 5000).astype(np.float32) - np.float32(p)
    batches = centred.reshape(100, 50, 64, 32)
    batches -= batches.mean(axis=(0, 1))
    for down, right, times in ((0, 1, 2), (1, 0, 1), (1, 1, 4), (0, 2, 0)):
        product = batches[:, :, : 64 - down, : 32 - right] * batches[:, :, down:, right:]
        expected = times * c * p * (1 - p) ** 2
        batch = product.mean(axis=(1, 2, 3), dtype=np.float64)
        slack = 0.01 * expected + 1e-3 * c  # what passes by way of a third pixel
        assert abs(batch.mean() - expected) < SIGMAS * batch.std() / 10 + slack, (down, right, batch.mean(), expected)


def test_counting_crosstalk_in_the_dark() -> None:
    """A dark pixel beside a lit one fires with chance c at each of its avalanches, and so does the next in turn."""
    rate = np.zeros((1000, 4))
    rate[:, 1] = 0.7 / DEAD_TIME
    counts = images(counting(0, 40.0, crosstalk=along_row(0.0, 0.3), rate=rate), 20).sum(axis=(0, 1), dtype=np.int64)
    assert counts[0] == 0
    assert stats.binomtest(int(counts[2]), int(counts[1]), 0.3).pvalue > CHANCE
    assert stats.binomtest(int(counts[3]), int(counts[2]), 0.3).pvalue > CHANCE


def test_counting_crosstalk_of_two_dark_pixels() -> None:
    """With no dead time, each photon starts a train to and fro: 1 / (1 - c^2) avalanches in the lit pixel."""
    rate, c = np.array([[3.0, 0.0]]).repeat(500, axis=0), 0.5
    counts = images(Array(rate, 1.0, 9, crosstalk=along_row(c, c)), 200)
    check_mean(counts[:, :, 0], 3 / (1 - c * c))
    check_mean(counts[:, :, 1], 3 * c / (1 - c * c))


def test_crosstalk_finds_pixels_blind() -> None:
    """A rare avalanche beside a busy pixel fires it if it is armed, and then blinds it: 1 / (1 + r tau)^2 counts."""
    rate = np.array([[0.2 / 100, 1.0]]).repeat(200, axis=0) / DEAD_TIME
    counts = images(counting(0, 100.0, rate=rate, crosstalk=along_row(0.0, 1.0)), 1000).astype(np.float64)
    rare, busy = counts[:, :, 0] - counts[:, :, 0].mean(), counts[:, :, 1] - counts[:, :, 1].mean()
    check_mean(rare * busy, 0.2 / 4)


@pytest.mark.parametrize("array", [binary(0.3, (5, 7)), counting(0.3, 17.5, (5, 7))], ids=["binary", "counting"])
def test_a_seed_gives_one_stream(array: Array) -> None:
    noisy = replace(array, afterpulse_probability=0.2, trap_lifetime=1e-7, crosstalk=along_row(0.1, 0.1))
    whole = images(noisy, 30, 3, seed=1)
    cut = np.concatenate(list(stream(noisy, 30, 3, seed=1, block=7)))
    assert np.array_equal(whole, cut)
    assert not np.array_equal(whole, images(noisy, 30, 3, seed=2))


def test_full_counters_stay_full_or_wrap() -> None:
    free = images(counting(2.0, 30.0), 50)
    assert free.max() > 16
    assert np.array_equal(images(counting(2.0, 30.0, counter_bits=4), 50), np.minimum(free, 15))
    assert np.array_equal(images(counting(2.0, 30.0, counter_bits=4, counter_wraps=True), 50), free % 16)
