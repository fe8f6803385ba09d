"""The laws of counts, as tables of probabilities: of one hardware frame, of a sum of N, and of Poisson numbers.

All are computed in float64 for rates given as x = r T, a block of rates at a time, each over a window of counts around
its mean. A sum of N frames comes from the N-th power of the discrete Fourier transform of the law of one; binary frames
with afterpulses are a two-state Markov chain, whose sum has a characteristic function in closed form.

Sources: dead time: Mueller, NIM 117 (1974) 401 (non-paralysable, live at t = 0).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor

from noise_model.response import afterpulse_in_frame
from noise_model.sensor import Exposure, Sensor

ROW_STEP = 0.1  # grid spacing in standard deviations of the counts: mixing two rows adds at most 0.25 % to the variance
_HALF_WIDTH = 6  # standard deviations kept on each side of the mean: beyond is less than a float32 uniform resolves
_LEAST_WIDTH = 256
_LEAST_ROWS = 1024  # so that means between rows are linear in x to 1e-5
_BLOCK = 1 << 18  # entries computed together: bounds the memory
_LARGEST_BINARY_X = 14.0  # p = 1 - 8e-7
_LARGEST_LOAD = 20.0  # r tau
_MOST_TURNS = 4  # of a counter that wraps and that no dead time slows down
_NEGLIGIBLE = 1e-9

#: For a block of rates: the count of the first column (R,), int64, and chances (R, C) of first + c counts.
Window = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Shape:
    """All that the law of a sum of frames depends on beside the rate. Times are in units of the exposure of a frame."""

    cycles: int
    relative_dead_time: float
    afterpulse: float
    relative_trap_lifetime: float
    counter_bits: int
    counter_wraps: bool

    @classmethod
    def of(cls, exposure: Exposure, sensor: Sensor) -> "Shape":
        """The shape of what this sensor shows in this exposure."""
        return cls(
            cycles=exposure.cycles,
            relative_dead_time=0.0 if sensor.binary else sensor.dead_time / exposure.count_time,
            afterpulse=sensor.afterpulse_probability if sensor.binary else afterpulse_in_frame(sensor),
            relative_trap_lifetime=0.0 if sensor.binary else sensor.trap_lifetime / exposure.count_time,
            counter_bits=sensor.counter_bits,
            counter_wraps=sensor.counter_wraps and not sensor.binary,
        )

    @property
    def counter_maximum(self) -> int:
        """Largest count that one frame shows."""
        return (1 << self.counter_bits) - 1

    @property
    def most_counts(self) -> int:
        """Largest count of one frame that matters, before the counter wraps."""
        b = self.relative_dead_time
        most = math.floor(1 / b - 1e-9) + 1 if b > 0 else math.ceil(self.largest_x + 9 * math.sqrt(self.largest_x))
        return most if self.counter_wraps else min(most, self.counter_maximum)

    @property
    def largest_x(self) -> float:
        """Rate at which the pixel is saturated: brighter ones look the same."""
        b, full = self.relative_dead_time, self.counter_maximum
        if full == 1:
            return _LARGEST_BINARY_X
        if self.counter_wraps:
            return _LARGEST_LOAD / b if b > 0 else float(_MOST_TURNS * (full + 1))
        counts = full + 6 * math.sqrt(full) + 6
        return min(_LARGEST_LOAD / b if b > 0 else math.inf, counts / (1 - b * counts) if b * counts < 1 else math.inf)

    @property
    def width(self) -> int:
        """Columns of its table, a power of two: all counts, or 6 standard deviations each side of the mean."""
        all_counts = self.cycles * min(self.most_counts, self.counter_maximum) + 1
        return _power_of_two(min(all_counts, 2 * _HALF_WIDTH * self._largest_sd + 32))

    @property
    def _largest_sd(self) -> float:
        """An upper bound over all rates."""
        if self.counter_maximum == 1:
            variance = 0.25 * (1 + self.afterpulse) / (1 - self.afterpulse)
        elif self.most_counts > self.counter_maximum:
            variance = 0.25 * self.counter_maximum**2
        elif self.relative_dead_time > 0:
            variance = 0.25 + 0.2 / self.relative_dead_time
        else:
            variance = float(self.counter_maximum)
        return math.sqrt(self.cycles * variance)

    @property
    def rows(self) -> int:
        """Rows of a table fine enough to draw from."""
        return root_rows(self.largest_x * self.cycles)

    def windows(self, x: Tensor) -> Iterator[Window]:
        """Laws of the sum for rates x (R,), float64, in blocks."""
        for block in torch.split(x, max(1, _BLOCK // max(self.width, self.most_counts))):
            yield self._binary_window(block) if self.counter_maximum == 1 else self._counting_window(block)

    def _binary_window(self, x: Tensor) -> Window:
        p = -torch.expm1(-x)
        mean = self.cycles * p / (1 - self.afterpulse * (1 - p))
        return _window(_chain_spectrum(p, self.afterpulse, self.cycles, self.width), mean, self.width)

    def _counting_window(self, x: Tensor) -> Window:
        pmf = frame_law(x, self)
        mean = self.cycles * (pmf @ torch.arange(pmf.shape[1], dtype=torch.float64))
        spectrum = torch.fft.rfft(_folded(pmf, self.width), dim=1)
        return _window(_power(spectrum, self.cycles, torch.mul), mean, self.width)


@dataclass(frozen=True)
class PoissonShape:
    """Poisson numbers of mean x, up to `largest_x`."""

    largest_x: float

    @property
    def width(self) -> int:
        """Columns of its table."""
        return _power_of_two(2 * _HALF_WIDTH * math.sqrt(self.largest_x) + 32)

    @property
    def rows(self) -> int:
        """Rows of a table fine enough to draw from."""
        return root_rows(self.largest_x)

    def windows(self, x: Tensor) -> Iterator[Window]:
        """Laws for means x (R,), float64, in blocks."""
        for mean in torch.split(x, max(1, _BLOCK // self.width)):
            first = _first(mean, self.width)
            n = (first[:, None] + torch.arange(self.width)).double()
            yield first, torch.exp(torch.xlogy(n, mean[:, None]) - mean[:, None] - torch.lgamma(n + 1))


def root_grid(largest: float, rows: int) -> Tensor:
    """(rows,) float64 from 0 to `largest`, even in the square root."""
    return torch.linspace(0, math.sqrt(largest), rows, dtype=torch.float64).square()


def root_rows(largest_mean: float) -> int:
    """Rows a step apart: the square root of the counts has a standard deviation of half, or less with dead time."""
    return max(_LEAST_ROWS, math.ceil(2 * math.sqrt(largest_mean) / ROW_STEP)) + 1


def frame_law(x: Tensor, shape: Shape) -> Tensor:
    """(R, K) chances of 0, 1, 2, ... counts in one frame of a counting pixel, as the counter shows them; rates x (R,).

    P(K >= n) = P(Gamma(n) <= x (1 - (n - 1) b)); m of the n - 1 gaps may be afterpulses, each of which takes its mean
    release time instead of a photon's.
    """
    n = torch.arange(1, shape.most_counts + 1, dtype=torch.float64)[None, :]
    at_least = torch.zeros(len(x), shape.most_counts + 2, dtype=torch.float64)
    at_least[:, 0] = 1
    for m in count():
        chance = _binomial(m, n - 1, shape.afterpulse)
        if m > shape.afterpulse * shape.most_counts and float(chance.max()) < _NEGLIGIBLE:
            break
        at_least[:, 1:-1] += chance * _reached(x[:, None], n, m, shape)
    pmf = at_least[:, :-1] - at_least[:, 1:]  # the last column holds all that a counter at its maximum stands for
    return _folded(pmf, shape.counter_maximum + 1) if shape.counter_wraps else pmf


def _reached(x: Tensor, n: Tensor, afterpulses: int, shape: Shape) -> Tensor:
    """(R, K) chance of n counts or more, given how many of them are afterpulses."""
    live = 1 - (n - 1) * shape.relative_dead_time
    if afterpulses:
        live = live - afterpulses / (x + 1 / shape.relative_trap_lifetime)
    z = x * live.clamp(min=0)
    photons = (n - afterpulses).clamp(min=1).expand_as(z)
    reached = (z > photons).double()
    # Chernoff: elsewhere the chance is 0 or 1 to 1e-17, and the incomplete gamma function is slow.
    near = (z - photons).square() < 80 * torch.maximum(z, photons)
    reached[near] = torch.special.gammainc(photons[near], z[near])
    return reached


def _binomial(m: int, n: Tensor, a: float) -> Tensor:
    if a == 0:
        return torch.full_like(n, float(m == 0))
    log = torch.lgamma(n + 1) - math.lgamma(m + 1) - torch.lgamma((n - m).clamp(min=0) + 1)
    chance = torch.exp(log + m * math.log(a) + (n - m) * math.log1p(-a))
    return torch.where(n >= m, chance, torch.zeros_like(chance))


def _chain_spectrum(p: Tensor, a: float, n: int, width: int) -> Tensor:
    """(R, width // 2 + 1) characteristic function of the sum of n frames of a stationary two-state chain: a frame fires
    with chance p after an empty one, 1 - (1 - p)(1 - a) after a full one."""
    z = torch.exp(-2j * math.pi * torch.arange(width // 2 + 1, dtype=torch.float64) / width)[None, :]
    p = p[:, None]
    if a == 0:
        return _power(1 - p + p * z, n, torch.mul)
    empty = (1 - p) * (1 - a)  # after a full frame
    full = p / (1 - a * (1 - p))
    c00, c01, c10, c11 = _power((1 - p + 0 * z, p * z, empty + 0 * z, (1 - empty) * z), n, _product)
    return (1 - full) * (c00 + c01) + full * (c10 + c11)


_Matrix = tuple[Tensor, Tensor, Tensor, Tensor]  # 2 x 2, row by row
_T = TypeVar("_T")


def _product(a: _Matrix, b: _Matrix) -> _Matrix:
    return (
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
    )


def _power(base: _T, exponent: int, product: Callable[[_T, _T], _T]) -> _T:
    """By squaring; torch's own power of complex numbers takes a logarithm each."""
    if exponent == 1:
        return base
    half = _power(base, exponent // 2, product)
    square = product(half, half)
    return product(square, base) if exponent % 2 else square


def _window(spectrum: Tensor, mean: Tensor, width: int) -> Window:
    """A law from its transform of length `width`, which knows counts modulo that length: no loss if it is narrower."""
    first = _first(mean, width)
    columns = (first[:, None] + torch.arange(width)) % width
    return first, torch.fft.irfft(spectrum, n=width, dim=1).gather(1, columns).clamp(min=0)


def _first(mean: Tensor, width: int) -> Tensor:
    return (mean - width / 2).floor().clamp(min=0).long()


def _folded(pmf: Tensor, size: int) -> Tensor:
    """(R, size) chances of counts modulo `size`."""
    padding = -pmf.shape[1] % size
    return torch.nn.functional.pad(pmf, (0, padding)).reshape(len(pmf), -1, size).sum(dim=1)


def _power_of_two(least: float) -> int:
    return max(_LEAST_WIDTH, 1 << math.ceil(math.log2(least)))
