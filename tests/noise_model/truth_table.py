"""Drawn counts against avalanches, over a grid of settings: a table of how far apart they are, in standard errors.

    python tests/noise_model/truth_table.py [WORDS ...]

prints the rows whose setting has all the words in it, such as `counting`, `10x`, `T=17.5`, `L=100`, `r=5`, `N=16`.

Standard errors are of the difference, from both samples: each is cut into batches, and one after the other is left out
(the jackknife). Frames of a counting array stand alone, so the cumulants of a sum of N are N times those of one: single
frames of avalanches tell about any N.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from avalanches import Array, images
from numpy.typing import NDArray
from scipy import stats

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor

QUANTITIES = ("mean", "variance", "skewness", "nearest", "diagonal", "map")
SHAPE = (8, 8)
DEAD_TIME = 50e-9  # s
GATE = 1e-6  # s
BATCHES = 40
CYCLES = (1, 4, 16, 256)
AVALANCHES = 2_000_000  # simulated for a setting, or a little more or less; five times as many of a binary array
GATES = 100_000_000  # of all pixels of a binary array, at most
SIMULATED, DRAWN = 3_000_000, 1_500_000  # pixels of images, at most
KERNEL = 1e-5 * np.array(
    [[0, 0, 1.5, 0, 0], [0, 16, 100, 16, 0], [1.5, 100, 0, 100, 1.5], [0, 16, 100, 16, 0], [0, 0, 1.5, 0, 0]]
)


@dataclass(frozen=True)
class Setting:
    """An array and an exposure: avalanches as of `array`, images summed from `cycles` frames."""

    name: str
    array: Array
    cycles: int

    @property
    def sensor(self) -> Sensor:
        """The same array as the noise model has it; one count in a hundred is dark."""
        shape, array = self.array.rate.shape, self.array
        return Sensor(
            name=self.name,
            pde=torch.full(shape, 0.5),
            dark_count_rate=torch.from_numpy(array.rate).float() / 100,
            dead_time=array.dead_time,
            counter_bits=array.counter_bits,
            afterpulse_probability=array.afterpulse_probability,
            trap_lifetime=array.trap_lifetime,
            crosstalk=torch.from_numpy(array.crosstalk).float(),
            counter_wraps=array.counter_wraps,
        )

    def drawn(self, count: int, seed: int) -> NDArray[np.integer]:
        """(count, H, W) images by the noise model."""
        rate = (torch.from_numpy(self.array.rate).float() * 0.99).expand(count, *self.array.rate.shape)
        generator = torch.Generator().manual_seed(seed)
        return ForwardModel(self.sensor, Exposure(self.array.count_time, self.cycles)).sample(rate, generator).numpy()


@dataclass(frozen=True)
class Comparison:
    """One quantity of one setting: avalanches, drawn, and how many standard errors lie between them."""

    setting: str
    quantity: str
    truth: float
    drawn: float
    z: float

    def __str__(self) -> str:
        relative = (self.drawn / self.truth - 1) if self.truth else math.nan
        values = f"{self.truth:12.5g} {self.drawn:12.5g} {relative:+10.2e} {self.z:+7.2f}"
        return f"{self.setting:42s} {self.quantity:9s} {values}"


@dataclass(frozen=True)
class Sums:
    """Power sums of each pixel over the images of each batch, (B, H, W), and of the products of neighbours: along rows,
    along columns, along either diagonal. Counts are taken from `origin`, which keeps them small."""

    images: NDArray[np.float64]
    origin: NDArray[np.float64]
    powers: tuple[NDArray[np.float64], ...]
    pairs: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, counts: NDArray[np.integer]) -> "Sums":
        origin = np.round(counts[:1000].mean(axis=0))
        batches = np.array_split(counts, BATCHES)
        rows = [_sums(batch - origin) for batch in batches]
        powers, pairs = (tuple(map(np.stack, zip(*column, strict=True))) for column in zip(*rows, strict=True))
        return cls(np.array([float(len(batch)) for batch in batches]), origin, powers, pairs)

    def without_each(self) -> "Sums":
        """Sums over all batches but one, for each one."""
        rest = [tuple(one.sum(axis=0) - one for one in many) for many in (self.powers, self.pairs)]
        return Sums(self.images.sum() - self.images, self.origin, *rest)

    def all(self) -> "Sums":
        rest = [tuple(one.sum(axis=0, keepdims=True) for one in many) for many in (self.powers, self.pairs)]
        return Sums(self.images.sum(keepdims=True), self.origin, *rest)

    def quantities(self, frames: int) -> dict[str, NDArray[np.float64]]:
        """Unbiased cumulants of a sum of `frames` of these images, averaged over pixels; the map is (B, H, W)."""
        n = self.images[:, None, None]
        first, second, third = self.powers
        mean = first / n
        variance = (second - n * mean**2) / (n - 1)
        third_central = (third - 3 * mean * second + 2 * n * mean**3) * n / ((n - 1) * (n - 2))
        pooled = _average(variance)
        covariance = [
            _average((pair - n * _left(mean, *step) * _right(mean, *step)) / (n - 1))
            for pair, step in zip(self.pairs, STEPS, strict=True)
        ]
        return {
            "mean": frames * _average(mean + self.origin),
            "variance": frames * pooled,
            "skewness": _average(third_central) / pooled**1.5 / math.sqrt(frames),
            "nearest": frames * (covariance[0] + covariance[1]) / 2,
            "diagonal": frames * (covariance[2] + covariance[3]) / 2,
            "map": frames * (mean + self.origin),
        }


STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _left(c: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """(..., H, W) pixels that have a neighbour that far down and right of them ..."""
    return c[..., : c.shape[-2] - down, max(0, -right) : c.shape[-1] - max(0, right)]


def _right(c: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """... and these neighbours."""
    return c[..., down:, max(0, right) : c.shape[-1] + min(0, right)]


def _sums(c: NDArray[np.float64]) -> tuple[tuple[NDArray[np.float64], ...], tuple[NDArray[np.float64], ...]]:
    powers = c.sum(axis=0), (c**2).sum(axis=0), (c**3).sum(axis=0)
    return powers, tuple((_left(c, *step) * _right(c, *step)).sum(axis=0) for step in STEPS)


def _average(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.mean(axis=(-2, -1))


def estimates(sums: Sums, frames: int = 1) -> dict[str, tuple[NDArray, NDArray]]:
    """Each quantity and its squared standard error."""
    whole, parts = sums.all().quantities(frames), sums.without_each().quantities(frames)
    return {name: (whole[name][0], (BATCHES - 1) * parts[name].var(axis=0)) for name in whole}


def compare(setting: Setting, avalanches: Sums, drawn: Sums) -> Iterator[Comparison]:
    """Images of a setting with images, or single frames of a counting array, of avalanches."""
    truth = estimates(avalanches, 1 if setting.array.counter_bits == 1 else setting.cycles)
    found = estimates(drawn)
    for name in QUANTITIES:
        (true, true_square), (one, square) = truth[name], found[name]
        z = (one - true) / np.sqrt(true_square + square)
        if name == "map":
            yield Comparison(setting.name, name, *_worst(true, one, z), _normal(z))
        else:
            yield Comparison(setting.name, name, float(true), float(one), float(z))


def _worst(true: NDArray, one: NDArray, z: NDArray) -> tuple[float, float]:
    """The pixel that is farthest off."""
    at = np.unravel_index(np.abs(z).argmax(), z.shape)
    return float(true[at]), float(one[at])


def _normal(z: NDArray) -> float:
    """A normal number as unlikely as the sum of squares of these, which have a share of 1 / BATCHES more variance."""
    square = (z**2).sum() / (1 + 1 / BATCHES)
    log = min(float(stats.chi2.logsf(square, z.size)), -1e-300)
    return float(stats.norm.isf(math.exp(log))) if log > -700 else math.sqrt(-2 * log)


def binary_settings() -> Iterator[Setting]:
    """Each of p, strength of the flaws, N."""
    for times in (1, 10):
        for p in (0.01, 0.1, 0.5):
            rate = np.full(SHAPE, -math.log1p(-p) / GATE)
            array = Array(rate, GATE, 1, 0.0, 0.01 * times, 0.0, KERNEL * times)
            for cycles in CYCLES:
                yield Setting(f"binary {times}x p={p:g} N={cycles}", array, cycles)
        array = replace(array, rate=_dots(math.log(2) / GATE))
        for cycles in CYCLES:
            yield Setting(f"binary {times}x dots N={cycles}", array, cycles)


def counting_settings() -> Iterator[Setting]:
    """Each of T / tau, r tau, strength of the flaws and trap lifetime (ns), N."""
    for length in (17.5, 208.0):
        for times, lifetime in ((1, 20), (1, 100), (1, 1000), (10, 100), (10, 1000)):
            flaws = 0.01 * times, lifetime * 1e-9, KERNEL * times
            for load in (0.01, 0.1, 1.0, 5.0):
                rate = np.full(SHAPE, load / DEAD_TIME)
                array = Array(rate, length * DEAD_TIME, 9, DEAD_TIME, *flaws)
                for cycles in CYCLES:
                    yield Setting(f"counting {times}x T={length:g} L={lifetime} r={load:g} N={cycles}", array, cycles)
            array = replace(array, rate=_dots(1 / DEAD_TIME))
            for cycles in CYCLES:
                yield Setting(f"counting {times}x T={length:g} L={lifetime} dots N={cycles}", array, cycles)


def _dots(bright: float) -> NDArray[np.float64]:
    """A bright pixel amid dim ones, and again: what crosstalk gives the dim ones counts there."""
    rate = np.full(SHAPE, bright / 50)
    rate[1::3, 1::3] = bright
    return rate


def simulated(array: Array, frames: int, seed: int) -> Sums:
    """Images of avalanches, summed from `frames`: as many as some seconds allow."""
    binary = array.counter_bits == 1
    load = array.rate * array.count_time
    mean = (-np.expm1(-load) if binary else load / (1 + array.rate * array.dead_time)).mean() * frames
    pixels = min(GATES / frames, 5 * AVALANCHES / mean) if binary else AVALANCHES / mean
    return Sums.of(images(array, int(min(pixels, SIMULATED) / array.rate.size), frames, seed))


def table(settings: Iterable[Setting]) -> Iterator[Comparison]:
    """All comparisons of the settings. Those in a row that share a counting array share its avalanches."""
    known: Array | None = None
    for seed, setting in enumerate(settings):
        binary = setting.array.counter_bits == 1
        if binary or setting.array is not known:
            known, avalanches = setting.array, simulated(setting.array, setting.cycles if binary else 1, seed)
        drawn = setting.drawn(DRAWN // setting.array.rate.size, seed)
        yield from compare(setting, avalanches, Sums.of(drawn))


def main(words: list[str]) -> None:
    print(f"{'setting':42s} {'quantity':9s} {'avalanches':>12s} {'drawn':>12s} {'relative':>10s} {'z':>7s}")
    everything = [*binary_settings(), *counting_settings()]
    for row in table(setting for setting in everything if set(words) <= set(setting.name.split())):
        print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
