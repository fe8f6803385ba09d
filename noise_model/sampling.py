"""Counts from rates: the exact law of an image's counts is tabulated once per exposure, then drawn from by table look-up.

The law of one pixel depends on its rate and on a few numbers that all pixels share. It is computed for a grid of rates,
even in the square root of the rate, so that neighbouring rows are a fraction of a standard deviation apart. A draw picks one
of the two rows around the pixel's rate at random, in proportion to nearness of their means, then inverts that row's
cumulative sum, starting from a guide table.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from noise_model.response import afterpulse_in_frame, firing_rate, neighbours
from noise_model.sensor import Exposure, Sensor

_ROW_STEP = 0.1  # grid spacing in standard deviations of the counts: adds at most 0.25 % to the variance
_AT_ONCE = 1 << 15  # pixels drawn together on a CPU: their intermediate arrays stay in its cache
_LARGEST_TABLE = 1 << 23  # entries; a longer exposure is drawn in parts
_HALF_WIDTH = 8  # standard deviations kept on each side of the mean
_GUIDE = 256
_LARGEST_BINARY_X = 14.0  # p = 1 - 8e-7
_LARGEST_LOAD = 20.0  # r tau
_MOST_CROSSTALK = 1000  # in one pixel: float32 sums may never reach the uniform number
_MOST_AFTERPULSES = 8  # in one frame; the chance of more is below 1e-9 at a = 0.05 and 20 counts


@dataclass(frozen=True)
class CountLaw:
    """The law of the counts of one image, for a grid of rates.

    Attributes:
        x: (R,) grid of r T, float64, even in its square root from 0.
        mean: (R,) mean counts, float64.
        response: (R,) float32, what nearness of rows is measured by: the mean share of the frame's counts.
        load: dead time over exposure of one frame, 0 for a binary array.
        binary: whether one frame counts no further than one.
        first: (R,) int32, the count of the first column; those below have no chance worth keeping.
        cdf: (R, C) float32, chance of at most first + c counts.
        guide: (R, 256) int16, the least column whose chance of not being exceeded is above j / 256.
    """

    x: Tensor
    mean: Tensor
    response: Tensor
    load: float
    binary: bool
    first: Tensor
    cdf: Tensor
    guide: Tensor

    def responses(self, x: Tensor) -> Tensor:
        """The same measure for any x = r T."""
        return -torch.expm1(-x) if self.binary else x / (1 + x * self.load)

    def to(self, device: torch.device) -> "CountLaw":
        """The same law with its tables on `device`."""
        tables = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tables)


def sample_counts(photon_rate: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Counts of images summed from N frames, with every effect of the sensor.

    Args:
        photon_rate: (..., H, W) rate of photons detected by a pixel of mean PDE, counts/s.
        exposure, sensor: how it is taken, on the device of `photon_rate`.
        generator: the only source of randomness, on that device too.

    Returns:
        (..., H, W) int32.
    """
    x = firing_rate(photon_rate, sensor) * exposure.count_time
    laws = list(_parts(exposure, sensor))
    pieces = x.reshape(-1).split(_AT_ONCE if x.device.type == "cpu" else x.numel())
    drawn = [sum((_draw(piece, law, generator) for law in laws), torch.zeros_like(piece)) for piece in pieces]
    counts = torch.cat(drawn).reshape(x.shape)
    counts += _crosstalk(counts, exposure, sensor, generator)
    return counts.clamp_(max=sensor.saturation_value(exposure.cycles)).to(torch.int32)


def count_law(exposure: Exposure, sensor: Sensor, device: torch.device | str = "cpu") -> CountLaw:
    """The tabulated law of the counts of one image before crosstalk (kept for the next call)."""
    numbers = _Numbers(
        cycles=exposure.cycles,
        relative_dead_time=0.0 if sensor.binary else sensor.dead_time / exposure.count_time,
        afterpulse=sensor.afterpulse_probability if sensor.binary else afterpulse_in_frame(sensor),
        relative_trap_lifetime=sensor.trap_lifetime / exposure.count_time,
        counter_bits=sensor.counter_bits,
        counter_wraps=sensor.counter_wraps,
    )
    return _tabulated(numbers, torch.device(device))


@dataclass(frozen=True)
class _Numbers:
    """All that the law depends on beside the rate. Times are in units of the exposure of one frame."""

    cycles: int
    relative_dead_time: float
    afterpulse: float
    relative_trap_lifetime: float
    counter_bits: int
    counter_wraps: bool

    @property
    def counter_maximum(self) -> int:
        return int(2**self.counter_bits - 1)

    @property
    def most_counts(self) -> int:
        """Largest count of one frame before the counter saturates or wraps."""
        if self.counter_bits == 1:
            return 1
        if self.relative_dead_time == 0:
            return self.counter_maximum + (self.counter_maximum + 1 if self.counter_wraps else 0)
        return math.floor(1 / self.relative_dead_time - 1e-9) + 1

    @property
    def largest_x(self) -> float:
        if self.counter_bits == 1:
            return _LARGEST_BINARY_X
        if self.relative_dead_time == 0:
            return float(self.counter_maximum)
        return _LARGEST_LOAD / self.relative_dead_time

    def coordinate(self) -> tuple[Exposure, Sensor]:
        """A stand-in exposure and sensor for the stabilised coordinate, which needs N and b alone."""
        empty = torch.zeros(1, 1)
        return Exposure(1.0, self.cycles), Sensor("", empty, empty, self.relative_dead_time, self.counter_bits)

    def grid(self) -> Tensor:
        """Rates even in their square root; half the square root of the mean counts is a standard deviation, or less."""
        last = math.sqrt(self.largest_x)
        rows = max(64, math.ceil(2 * math.sqrt(self.cycles) * last / _ROW_STEP)) + 1
        return torch.linspace(0, last, rows, dtype=torch.float64).square()


def _parts(exposure: Exposure, sensor: Sensor) -> Iterator[CountLaw]:
    """Laws whose draws add up to the exposure: one, unless its table would be too large."""
    largest = exposure.cycles
    while largest > 1 and _table_size(replace(exposure, cycles=largest), sensor) > _LARGEST_TABLE:
        largest = (largest + 1) // 2
    full, rest = divmod(exposure.cycles, largest)
    for cycles in [largest] * full + [rest] * (rest > 0):
        yield count_law(replace(exposure, cycles=cycles), sensor, sensor.pde.device)


def _table_size(exposure: Exposure, sensor: Sensor) -> int:
    """Rows times columns, from the largest variance that any rate gives."""
    n, b = exposure.cycles, 0.0 if sensor.binary else sensor.dead_time / exposure.count_time
    most = 1.0 if sensor.binary else (1 / b if b > 0 else 2.0**sensor.counter_bits)
    largest_x = _LARGEST_BINARY_X if sensor.binary else most * (_LARGEST_LOAD if b > 0 else 1)
    sd = math.sqrt(n * most * (0.25 if sensor.binary else 0.15 if b > 0 else 1))
    return int(2 * math.sqrt(n * largest_x) / _ROW_STEP * 2 * _HALF_WIDTH * sd)


def _draw(x: Tensor, law: CountLaw, generator: torch.Generator) -> Tensor:
    """(n,) float32 counts for n values of r T."""
    row = _random_row(x, law, generator)
    u = torch.rand(x.shape, generator=generator, device=x.device)
    column = law.guide.take(row * _GUIDE + (u * _GUIDE).long()).long()
    start = row * law.cdf.shape[1]
    late = (u >= law.cdf.take(start + column)).nonzero().squeeze(1)
    while len(late):
        column[late] += 1
        late = late[u[late] >= law.cdf.take(start[late] + column[late])]
    return law.first.take(row) + column.to(x.dtype)


def _random_row(x: Tensor, law: CountLaw, generator: torch.Generator) -> Tensor:
    """(n,) one of the two rows around each rate, in proportion to nearness."""
    last = len(law.x) - 1
    x = x.clamp(0, float(law.x[last]))
    lower = (x.sqrt() * (last / math.sqrt(float(law.x[last])))).long().clamp_(max=last - 1)
    low, high = law.response.take(lower), law.response.take(lower + 1)
    u = torch.rand(x.shape, generator=generator, device=x.device)
    return lower + (low + u * (high - low) < law.responses(x))


def _crosstalk(counts: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Avalanches fired by neighbours: binomial thinnings of their counts, each so rare that their sum is drawn as one
    Poisson number (they differ by the crosstalk probability itself, relatively). A pixel that fired, or is blind, gains none."""
    if not bool((sensor.crosstalk != 0).any()):
        return torch.zeros_like(counts)
    dead = 1.0 if sensor.binary else sensor.dead_time / exposure.count_time
    armed = (1 - counts * (dead / exposure.cycles)).clamp(min=0)
    return _rare(neighbours(counts, sensor) * armed, generator)


def _rare(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson numbers, by inversion from zero: fast where most of them are zero."""
    shape, mean = mean.shape, mean.reshape(-1)
    result = torch.zeros_like(mean)
    u = torch.rand(mean.shape, generator=generator, device=mean.device)
    chance = torch.exp(-mean)
    left = (u >= chance).nonzero().squeeze(1)
    mean, chance, u = mean[left], chance[left], u[left]
    total, n = chance.clone(), 0
    while len(left) and n < _MOST_CROSSTALK:
        n += 1
        result[left] += 1
        chance = chance * mean / n
        total = total + chance
        more = u >= total
        left, mean, chance, total, u = left[more], mean[more], chance[more], total[more], u[more]
    return result.reshape(shape)


@lru_cache(maxsize=128)
def _tabulated(numbers: _Numbers, device: torch.device) -> CountLaw:
    x = numbers.grid()
    one = None if numbers.counter_bits == 1 else _through_counter(_one_frame_pmf(x, numbers), numbers)
    mean, sd = _binary_moments(x, numbers) if one is None else _counting_moments(one, numbers)
    width = _width(float(sd.max()), numbers.cycles * (1 if one is None else one.shape[1] - 1))
    first = (mean - width / 2).floor().clamp(min=0).long()
    spectrum = _binary_spectrum(x, width, numbers) if one is None else _spectrum(one, width) ** numbers.cycles
    cdf = _window(torch.fft.irfft(spectrum, n=width, dim=1), first)
    levels = torch.arange(_GUIDE, dtype=torch.float32).expand(len(x), -1) / _GUIDE
    guide = torch.searchsorted(cdf, levels.contiguous(), right=True).to(torch.int16)
    binary, load = numbers.counter_bits == 1, numbers.relative_dead_time
    law = CountLaw(x, mean, x.float(), load, binary, first.to(torch.int32), cdf, guide)
    return replace(law, response=law.responses(x).float()).to(device)


def _width(sd: float, most: int) -> int:
    """Columns kept: all counts, or 8 standard deviations each side. A discrete Fourier transform of this length folds the
    law onto itself, which changes nothing as long as the law is narrower than that."""
    return min(most + 1, 2 ** math.ceil(math.log2(2 * _HALF_WIDTH * sd + 32)))


def _window(folded: Tensor, first: Tensor) -> Tensor:
    """Cumulative law over the columns first, first + 1, ...: unfolds a law known modulo its length."""
    width = folded.shape[1]
    columns = (first[:, None] + torch.arange(width)) % width
    cdf = folded.gather(1, columns).clamp(min=0).cumsum(dim=1)
    cdf = (cdf / cdf[:, -1:]).float()
    cdf[:, -1] = 1.0  # above every uniform number, so that the search ends
    return cdf


def _binary_moments(x: Tensor, numbers: _Numbers) -> tuple[Tensor, Tensor]:
    n, a = numbers.cycles, numbers.afterpulse
    p = -torch.expm1(-x)
    rho = a * (1 - p)
    pi = p / (1 - rho)
    variance = pi * (1 - pi) * (n * (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (1 - rho) ** 2)
    return n * pi, variance.clamp(min=0).sqrt()


def _binary_spectrum(x: Tensor, width: int, numbers: _Numbers) -> Tensor:
    """(R, width // 2 + 1) characteristic function of the sum of a stationary two-state chain."""
    a = numbers.afterpulse
    z = torch.exp(-2j * math.pi * torch.arange(width // 2 + 1, dtype=torch.float64) / width)[None, :]
    p = -torch.expm1(-x)[:, None]
    pi = p / (1 - a * (1 - p))
    stay = 1 - (1 - p) * (1 - a)
    step = [(1 - p) + 0 * z, p * z, (1 - stay) + 0 * z, stay * z]
    c00, c01, c10, c11 = _power(step, numbers.cycles - 1)
    return (1 - pi) * (c00 + c01) + pi * z * (c10 + c11)


def _power(matrix: list[Tensor], exponent: int) -> list[Tensor]:
    """A 2x2 matrix (row by row) of tensors to a whole power, by squaring."""
    result = [torch.ones_like(matrix[0]), torch.zeros_like(matrix[0])]
    result += [result[1], result[0]]
    while exponent:
        if exponent & 1:
            result = _product(result, matrix)
        matrix = _product(matrix, matrix)
        exponent >>= 1
    return result


def _product(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
    ]


def _counting_moments(one: Tensor, numbers: _Numbers) -> tuple[Tensor, Tensor]:
    counts = torch.arange(one.shape[1], dtype=torch.float64)
    mean = one @ counts
    variance = one @ counts.square() - mean.square()
    return numbers.cycles * mean, (numbers.cycles * variance.clamp(min=0)).sqrt()


def _spectrum(pmf: Tensor, width: int) -> Tensor:
    """(R, width // 2 + 1) transform of laws that may be longer than `width`: those are folded first."""
    padding = -pmf.shape[1] % width
    folded = torch.nn.functional.pad(pmf, (0, padding)).reshape(len(pmf), -1, width).sum(dim=1)
    return torch.fft.rfft(folded, dim=1)


def _one_frame_pmf(x: Tensor, numbers: _Numbers) -> Tensor:
    """(R, most + 1). P(K >= n) = P(Gamma(n) <= x (1 - (n - 1) b)); m of the n - 1 gaps may be afterpulses, each of
    which takes its mean release time instead of a photon's."""
    n = torch.arange(1, numbers.most_counts + 1, dtype=torch.float64)[None, :]
    live = (1 - (n - 1) * numbers.relative_dead_time).clamp(min=0)
    a, gap = numbers.afterpulse, 0 * x[:, None]
    if a > 0:
        gap = 1 / (x[:, None] + 1 / numbers.relative_trap_lifetime)
    at_least = torch.zeros(len(x), n.shape[1], dtype=torch.float64)
    for m in range(_MOST_AFTERPULSES + 1 if a > 0 else 1):
        photons = (n - m).clamp(min=1)
        reached = torch.special.gammainc(photons.expand(len(x), -1), x[:, None] * (live - m * gap).clamp(min=0))
        at_least += _binomial(m, n - 1, a) * reached
    at_least = torch.cat([torch.ones(len(x), 1, dtype=torch.float64), at_least], dim=1)
    return at_least - torch.cat([at_least[:, 1:], torch.zeros(len(x), 1, dtype=torch.float64)], dim=1)


def _binomial(m: int, n: Tensor, a: float) -> Tensor:
    if a == 0:
        return torch.ones_like(n) if m == 0 else torch.zeros_like(n)
    log = torch.lgamma(n + 1) - math.lgamma(m + 1) - torch.lgamma((n - m).clamp(min=0) + 1)
    chance = torch.exp(log + m * math.log(a) + (n - m) * math.log1p(-a))
    return torch.where(n >= m, chance, torch.zeros_like(chance))


def _through_counter(pmf: Tensor, numbers: _Numbers) -> Tensor:
    """What the counter shows: it stays at its maximum, or starts again at zero."""
    size = numbers.counter_maximum + 1
    if pmf.shape[1] <= size:
        return pmf
    if not numbers.counter_wraps:
        return torch.cat([pmf[:, : size - 1], pmf[:, size - 1 :].sum(dim=1, keepdim=True)], dim=1)
    padding = -pmf.shape[1] % size
    return torch.nn.functional.pad(pmf, (0, padding)).reshape(len(pmf), -1, size).sum(dim=1)
