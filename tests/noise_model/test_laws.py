"""The laws themselves, before anything is drawn, against the same physics done step by step: equal to rounding."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from laws_by_hand import chain_pmf
from numpy.typing import NDArray
from scipy import sparse, stats

from noise_model.laws import CountingProcess, frame_law
from noise_model.moments import moments

MOST_TRAPS = 16
RATES = [1e-3, 0.3, 1.234, 3.0, 7.9]


def followed_pmf(x: float, process: CountingProcess, most: int) -> NDArray[np.float64]:
    """Chances of 0 to `most` counts in one frame of a counting pixel, in a state for every number of avalanches so far
    and of filled traps. `after[i, j]`: an avalanche amid i filled traps leaves j at the end of the dead time."""
    survive = math.exp(-process.relative_dead_time / process.relative_trap_lifetime)
    fill = process.afterpulse / survive
    kept = stats.binom.pmf(np.arange(MOST_TRAPS)[None, :], np.arange(MOST_TRAPS + 1)[:, None], survive)
    after = (1 - fill) * kept[:-1] + fill * kept[1:]
    release = np.arange(MOST_TRAPS) / process.relative_trap_lifetime
    fired = x * after + release[:, None] * np.roll(after, 1, axis=0)
    stays, counted = sparse.eye(most + 2), sparse.eye(most + 2, k=-1)
    generator = sparse.kron(stays, np.diag(-(x + release))) + sparse.kron(counted, fired.T)
    start = np.eye(1, (most + 2) * MOST_TRAPS)[0]
    at_least = np.ones(most + 2)
    for n in range(1, most + 2):
        live = max(0.0, 1 - (n - 1) * process.relative_dead_time)
        states = sparse.linalg.expm_multiply(live * generator.tocsr(), start).reshape(most + 2, MOST_TRAPS)
        at_least[n] = 1 - states[:n].sum()
    return -np.diff(at_least)


@pytest.mark.parametrize(
    ("dead_time", "afterpulse", "lifetime"), [(0.06, 0.02, 0.1), (0.12, 0.2, 0.4), (0.25, 0.05, 2.0)]
)
def test_dim_pixels_with_afterpulses(dead_time: float, afterpulse: float, lifetime: float) -> None:
    process = CountingProcess(1, dead_time, afterpulse, lifetime, 9, counter_wraps=False)
    law = frame_law(torch.tensor(RATES, dtype=torch.float64), process).numpy()
    for x, found in zip(RATES, law, strict=True):
        expected = followed_pmf(x, process, process.most_counts)
        assert found == pytest.approx(expected, abs=1e-9)  # of traps, a few fewer at once than here
        assert found.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 37])
@pytest.mark.parametrize("a", [1e-6, 0.01, 0.3])
def test_sums_of_binary_frames_with_afterpulses(a: float, n: int) -> None:
    process = CountingProcess(n, 0.0, a, 0.0, 1, counter_wraps=False)
    x = torch.tensor([*RATES, 0.0], dtype=torch.float64)
    [(first, law)] = process.windows(x)
    assert first.tolist() == [0] * len(x)
    for one, found in zip(x.tolist(), law.numpy(), strict=True):
        expected = np.zeros(process.width)
        expected[: n + 1] = chain_pmf(-math.expm1(-one), a, n)
        assert found == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("cycles", [3, 1 << 20, 1 << 27, (1 << 32) - 1])
def test_moments_of_sums_of_any_length(cycles: int) -> None:
    """Those of a binary array are binomial, also where far more frames are summed than laws are worked out for."""
    found = moments(CountingProcess(cycles, 0.0, 0.0, 0.0, 1, False), 4.0)
    p = -np.expm1(-found.x)
    variance = cycles * p * (1 - p)
    np.testing.assert_allclose(found.mean, cycles * p, rtol=1e-6)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-3, atol=1e-9)
    fourth, some = variance * (1 + (3 - 6 / cycles) * variance), p > 0.01  # of smaller ones rounding is not small
    np.testing.assert_allclose(found.fourth[some], fourth[some], rtol=3e-3)


def test_moments_of_long_sums_with_afterpulses_grow_in_proportion() -> None:
    for process in (
        CountingProcess(1 << 20, 0.0, 0.02, 0.0, 1, False),
        CountingProcess(1 << 20, 0.06, 0.02, 0.3, 8, False),
    ):
        one, four = moments(process, 4.0), moments(replace(process, cycles=1 << 22), 4.0)
        np.testing.assert_allclose(four.mean, 4 * one.mean, rtol=1e-9)
        np.testing.assert_allclose(four.variance, 4 * one.variance, rtol=1e-9)
