"""What the tests of the noise model share: plain sensors, yardsticks, and simulations that know none of its tables."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats

from noise_model.sensor import Exposure, Sensor

SIGMAS = 4.5  # a test on one moment fails by chance once in 150,000 seeds; the seeds are fixed
CHANCE = 1e-5  # likewise of a chi-square test
CROSS = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def binary(shape: tuple[int, int] = (400, 500), **changes: object) -> Sensor:
    """A flawless binary array, but for the changes."""
    return plain(shape, {"dead_time": 0.0, "counter_bits": 1} | changes)


def counting(shape: tuple[int, int] = (400, 500), **changes: object) -> Sensor:
    """A flawless counting array with a dead time of 50 ns, but for the changes."""
    return plain(shape, {"dead_time": 50e-9, "counter_bits": 9} | changes)


def plain(shape: tuple[int, int], numbers: dict[str, object]) -> Sensor:
    maps = {"pde": torch.full(shape, 0.5), "dark_count_rate": torch.zeros(shape)}
    return Sensor(name="plain", **(maps | numbers))


def rates(x: float, exposure: Exposure, shape: tuple[int, ...] = (400, 500)) -> torch.Tensor:
    """Equal rates of x detections per frame."""
    return torch.full(shape, x / exposure.count_time)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_moments(counts: NDArray[np.integer], mean: float, variance: float, slack: float = 0.0) -> None:
    """Both moments of independent counts within SIGMAS standard errors, and a relative slack."""
    c = np.asarray(counts, dtype=np.float64).ravel()
    central = c - c.mean()
    spread = c.var()
    assert abs(c.mean() - mean) <= SIGMAS * np.sqrt(spread / c.size) + slack * mean, (c.mean(), mean)
    error = np.sqrt(((central**4).mean() - spread**2) / c.size)
    # Mixing neighbouring rows of the table may add up to 0.25 %.
    assert abs(spread - variance) <= SIGMAS * error + (slack + 0.0025) * variance, (spread, variance)


def check_law(counts: NDArray[np.integer], pmf: NDArray[np.floating]) -> None:
    """Chi-square test of independent counts against chances of 0, 1, 2, ...; rare counts are pooled with the next."""
    seen = np.bincount(np.asarray(counts).ravel(), minlength=pmf.size).astype(np.float64)
    assert seen.size == pmf.size, f"counts up to {seen.size - 1}, the law ends at {pmf.size - 1}"
    expected = pmf / pmf.sum() * seen.sum()
    group = np.minimum(np.cumsum(expected) // 20, (expected.sum() - 20) // 20).astype(int)
    seen, expected = (np.bincount(group, weights=values) for values in (seen, expected))
    seen, expected = seen[expected > 0], expected[expected > 0]
    p = stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), max(1, seen.size - 1))
    assert p > CHANCE, p


def chain_pmf(p: float, a: float, n: int) -> NDArray[np.floating]:
    """Sum of n binary frames with afterpulses, frame by frame: P(1|0) = p, P(1|1) = 1 - (1 - p)(1 - a), stationary."""
    full = p / (1 - a * (1 - p))
    after = {0: p, 1: 1 - (1 - p) * (1 - a)}
    law = {0: np.zeros(n + 1), 1: np.zeros(n + 1)}
    law[0][0], law[1][1] = 1 - full, full
    for _ in range(n - 1):
        empty = law[0] * (1 - after[0]) + law[1] * (1 - after[1])
        fired = np.roll(law[0] * after[0] + law[1] * after[1], 1)
        law = {0: empty, 1: fired}
    return law[0] + law[1]


def dead_time_pmf(x: float, b: float, n: int = 1) -> NDArray[np.floating]:
    """Sum of n frames of a non-paralysable counter, live at the start: P(K >= k) = P(Gamma(k) <= x (1 - (k - 1) b))."""
    k = np.arange(1, int(np.ceil(1 / b)) + 2)
    at_least = np.concatenate([[1.0], special.gammainc(k, x * np.maximum(1 - (k - 1) * b, 0)), [0.0]])
    one = -np.diff(at_least)
    law = np.ones(1)
    for _ in range(n):
        law = np.convolve(law, one)
    return law
