"""Probability distributions (laws) of counts: of one hardware frame, of a sum of N, and of clusters of avalanches.

All are computed in float64 for rates given as x = r T, a block of rates at a time, each over a window of counts around
its mean. A sum of N frames comes from the N-th power of the discrete Fourier transform of the law of one; binary frames
with afterpulses are a two-state Markov chain, whose sum has a characteristic function in closed form.

Sources: dead time: Mueller, NIM 117 (1974) 401 (non-paralysable, live at t = 0).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

#: Grid spacing in standard deviations of the counts: mixing two rows adds at most a quarter of its square to the
#: variance.
_FINE_STEP, _COARSE_STEP = 0.05, 0.1
_CACHED = 1 << 20  # entries
_HALF_WIDTH = 6  # standard deviations kept on each side of the mean: a float32 uniform number does not resolve more
_LEAST_WIDTH = 2
_LEAST_ROWS = 1024  # so that means between rows are linear in x to 1e-5
_BLOCK = 1 << 18  # entries computed together: bounds the memory
_LARGEST_BINARY_X = 14.0  # p = 1 - 8e-7
_LARGEST_LOAD = 20.0  # r tau
_MOST_TURNS = 4  # of a counter that wraps and that no dead time slows down
_LEAST_X = 1e-9
_DIM, _NEVER_IN_DIM = 8.0, 64  # x of a dim pixel, and counts that it never has
_NODES = 40

#: For a block of rates: the count of the first column (R,), int64, and chances (R, C) of first + c counts.
Window = tuple[Tensor, Tensor]


class Law(Protocol):
    """Laws of counts for rates x from 0 to `largest_x`."""

    @property
    def largest_x(self) -> float:
        """Rate above which the law no longer changes."""

    @property
    def width(self) -> int:
        """Number of columns that hold the chances at any rate, a power of two."""

    @property
    def rows(self) -> int:
        """Number of rates in a table fine enough to draw from."""

    def windows(self, x: Tensor) -> Iterator[Window]:
        """Laws for rates x (R,), float64, in blocks."""


@dataclass(frozen=True)
class CountingProcess:
    """How a pixel counts in N summed frames: the numbers its law depends on beside the rate.

    Times are in units of the exposure of a frame.
    """

    cycles: int
    relative_dead_time: float
    afterpulse: float
    relative_trap_lifetime: float
    counter_bits: int
    counter_wraps: bool
    brightest: float = math.inf  # x of interest

    @property
    def counter_maximum(self) -> int:
        """Largest count that one frame can show."""
        return (1 << self.counter_bits) - 1

    @property
    def most_counts(self) -> int:
        """Largest count of one frame with a chance worth keeping, before the counter wraps."""
        b = self.relative_dead_time
        most = math.floor(1 / b - 1e-9) + 1 if b > 0 else math.ceil(self.largest_x + 9 * math.sqrt(self.largest_x))
        return most if self.counter_wraps else min(most, self.counter_maximum)

    @property
    def smooth(self) -> bool:
        """Whether dead time alone limits the counts, so that no full counter bends the law."""
        return self.relative_dead_time > 0 and 1 / self.relative_dead_time < self.counter_maximum

    @property
    def largest_x(self) -> float:
        """Rate at which the pixel is saturated, so that brighter ones look the same; `brightest` if that is less."""
        return min(self._saturation, self.brightest)

    def rate_of(self, mean: float) -> float:
        """Rate x at which dead time leaves `mean` counts in all frames together."""
        return mean / (self.cycles - mean * self.relative_dead_time)

    @property
    def _saturation(self) -> float:
        b, full = self.relative_dead_time, self.counter_maximum
        if full == 1:
            return _LARGEST_BINARY_X
        if self.counter_wraps:
            return _LARGEST_LOAD / b if b > 0 else float(_MOST_TURNS * (full + 1))
        counts = full + 6 * math.sqrt(full) + 6
        return min(_LARGEST_LOAD / b if b > 0 else math.inf, counts / (1 - b * counts) if b * counts < 1 else math.inf)

    @property
    def width(self) -> int:
        """Number of columns: for all counts, or 6 standard deviations to each side of the mean."""
        return _power_of_two(min(self._all_counts, 2 * _HALF_WIDTH * self._largest_sd + 32))

    @property
    def _all_counts(self) -> int:
        """Number of different counts that an image can show, 0 among them."""
        return self.cycles * min(self.most_counts, self.counter_maximum) + 1

    @property
    def _largest_sd(self) -> float:
        """Upper bound of the standard deviation over all rates."""
        if self.counter_maximum == 1:
            variance = 0.25
        elif self.most_counts > self.counter_maximum:
            variance = 0.25 * self.counter_maximum**2
        elif self.relative_dead_time > 0:
            variance = min(0.25 + 0.2 / self.relative_dead_time, 0.25 + self.largest_x)
        else:
            variance = min(float(self.counter_maximum), self.largest_x)
        return math.sqrt(self.cycles * variance * (1 + self.afterpulse) / (1 - self.afterpulse))

    @property
    def rows(self) -> int:
        """Number of rates whose neighbours are a small part of a standard deviation apart."""
        return root_rows(self.largest_x * self.cycles, self.width)

    def windows(self, x: Tensor) -> Iterator[Window]:
        """Laws of the sum of all frames for rates x (R,), float64, in blocks."""
        for block in torch.split(x, max(1, _BLOCK // max(self.width, self.most_counts))):
            yield self._binary_window(block) if self.counter_maximum == 1 else self._counting_window(block)

    def _binary_window(self, x: Tensor) -> Window:
        p = -torch.expm1(-x)
        mean = self.cycles * p / (1 - self.afterpulse * (1 - p))
        return _window(_chain_spectrum(p, self.afterpulse, self.cycles, self.width), mean, self.width, self._all_counts)

    def _counting_window(self, x: Tensor) -> Window:
        pmf = frame_law(x, self)
        mean = self.cycles * (pmf @ torch.arange(pmf.shape[1], dtype=torch.float64))
        spectrum = torch.fft.rfft(_folded(pmf, self.width), dim=1)
        return _window(_power(spectrum, self.cycles), mean, self.width, self._all_counts)


@dataclass(frozen=True)
class ClusterProcess:
    """A Poisson number of avalanches, each followed by another with chance `afterpulse`, and so on.

    Their total has a Polya-Aeppli distribution; x is its mean.
    """

    largest_x: float
    afterpulse: float

    @property
    def width(self) -> int:
        """Number of columns: 6 standard deviations to each side of the mean."""
        variance = self.largest_x * (1 + self.afterpulse) / (1 - self.afterpulse)
        return _power_of_two(2 * _HALF_WIDTH * math.sqrt(variance) + 32)

    @property
    def rows(self) -> int:
        """Number of rates whose neighbours are a small part of a standard deviation apart."""
        return root_rows(self.largest_x, self.width)

    def windows(self, x: Tensor) -> Iterator[Window]:
        """Laws for means x (R,), float64, in blocks."""
        z = torch.exp(-2j * math.pi * torch.arange(self.width // 2 + 1, dtype=torch.float64) / self.width)
        cluster = (1 - self.afterpulse) * z / (1 - self.afterpulse * z)
        for mean in torch.split(x, max(1, _BLOCK // self.width)):
            spectrum = torch.exp((1 - self.afterpulse) * mean[:, None] * (cluster - 1))
            yield _window(spectrum, mean, self.width, math.inf)


def root_grid(largest: float, rows: int) -> Tensor:
    """Rates (rows,), float64, from 0 to `largest`, evenly spaced in their square root."""
    return torch.linspace(0, math.sqrt(largest), rows, dtype=torch.float64).square()


def root_rows(largest_mean: float, width: int) -> int:
    """Number of rates in a grid whose neighbours are a small part of a standard deviation of the counts apart.

    The square root of the counts has a standard deviation of a half, or less with dead time. The finer step is taken if
    so many rows of `width` fit into a cache.
    """
    for step in (_FINE_STEP, _COARSE_STEP):
        rows = max(_LEAST_ROWS, math.ceil(2 * math.sqrt(largest_mean) / step)) + 1
        if rows * width <= _CACHED:
            break
    return rows


def frame_law(x: Tensor, process: CountingProcess) -> Tensor:
    """Chances (R, K) of 0, 1, 2, ... counts in one frame of a counting pixel, for rates x (R,).

    The n-th avalanche needs n - 1 dead times and an armed time A_n: P(K >= n) = P(A_n <= 1 - (n - 1) b). Without
    afterpulses A_n is Gamma(n) distributed. With them, the law of dim pixels is computed state by state; for others it
    is approximated by the gamma distribution with the first three moments of A_n.
    """
    at_least = torch.zeros(len(x), process.most_counts + 2, dtype=torch.float64)
    at_least[:, 0] = 1
    dim = (x < _DIM) if process.afterpulse > 0 else torch.zeros_like(x, dtype=torch.bool)
    for rows, chances in ((dim, _followed), (~dim, _by_moments)):
        if bool(rows.any()):
            at_least[rows, 1:-1] = chances(x[rows], process)
    pmf = (at_least[:, :-1] - at_least[:, 1:]).clamp(
        min=0
    )  # the last column: all counts that a full counter stands for
    return _folded(pmf, process.counter_maximum + 1) if process.counter_wraps else pmf


def _live(process: CountingProcess) -> Tensor:
    """Armed time (K,) that a frame leaves for n = 1, ..., K avalanches."""
    return (1 - torch.arange(process.most_counts, dtype=torch.float64) * process.relative_dead_time).clamp(min=0)


def _by_moments(x: Tensor, process: CountingProcess) -> Tensor:
    """Chances (R, K) of n = 1, ..., K avalanches or more, from the moments of the armed time they need."""
    origin, scale, order = _armed_time(x.clamp(min=_LEAST_X), process)
    z = ((x[:, None] * _live(process) - origin) / scale).clamp(min=0)
    return _gamma_cdf(order.expand_as(z), z)


def _followed(x: Tensor, process: CountingProcess) -> Tensor:
    """Chances (R, K) of n = 1, ..., K avalanches or more, exactly, for x up to _DIM.

    They are entire functions of x, so that polynomials through Chebyshev nodes are as good as a double.
    """
    order = torch.arange(_NODES, dtype=torch.float64)
    at_nodes = torch.cos(math.pi * (order[:, None] + 0.5) / _NODES * order)
    at_nodes[:, 0] /= 2
    there = torch.cos(torch.arccos((2 * x / _DIM - 1).clamp(-1, 1))[:, None] * order)
    return (there @ (2 / _NODES * at_nodes.T @ _followed_at_nodes(process))).clamp_(0, 1)


@lru_cache(maxsize=4)
def _followed_at_nodes(process: CountingProcess) -> Tensor:
    """Chances (nodes, K) of n = 1, ..., K avalanches or more at the Chebyshev nodes.

    In armed time, avalanches and filled traps are a Markovian arrival process.

    With rates `quiet` between states without an avalanche and `fired` with one, the generating function of the number
    of avalanches in a time S is exp(S (quiet + z fired)) (Neuts, J. Appl. Prob. 16 (1979) 764).
    """
    x = _DIM / 2 * (1 + torch.cos(math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES))
    after = _through_dead_time(process)
    release = torch.arange(len(after), dtype=torch.float64) / process.relative_trap_lifetime
    quiet = torch.diag_embed(-(x[:, None] + release))
    fired = x[:, None, None] * after + release[:, None] * after.roll(1, 0)
    z = torch.exp(-2j * math.pi * torch.arange(_NEVER_IN_DIM // 2 + 1, dtype=torch.float64) / _NEVER_IN_DIM)
    rates = quiet[:, None] + z[:, None, None] * fired[:, None]
    most = min(process.most_counts, _NEVER_IN_DIM)
    live = _live(process)[:most]
    dead_time = torch.linalg.matrix_exp(process.relative_dead_time * rates)
    state = torch.linalg.matrix_exp(live[-1] * rates).sum(dim=-1, keepdim=True)
    spectrum = [
        state[..., 0, 0]
    ]  # n = most, most - 1, ..., 1: each has one dead time more of armed time than the one before
    for _ in range(most - 1):
        state = dead_time @ state
        spectrum.append(state[..., 0, 0])
    fewer = torch.fft.irfft(torch.stack(spectrum[::-1], dim=2), n=_NEVER_IN_DIM, dim=1).cumsum(dim=1)
    reached = torch.zeros(_NODES, process.most_counts, dtype=torch.float64)
    reached[:, :most] = 1 - fewer.diagonal(dim1=1, dim2=2)[:, :most]
    return reached


def _armed_time(x: Tensor, process: CountingProcess) -> tuple[Tensor, Tensor, Tensor]:
    """Origin, scale and order (R or 1, K) of the gamma distribution of A_n, n = 1, ..., K, in units of 1 / r."""
    n = torch.arange(1, process.most_counts + 1, dtype=torch.float64)[None, :]
    if process.afterpulse == 0:
        return torch.zeros_like(n), torch.ones_like(n), n
    mean, square, cube = (torch.stack(each, dim=1) for each in zip(*_armed_moments(x, process), strict=True))
    variance = square - mean.square()
    third = cube - 3 * mean * square + 2 * mean**3
    scale = third / (2 * variance)
    order = variance / scale.square()
    return mean - order * scale, scale, order


def _armed_moments(x: Tensor, process: CountingProcess) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Moments E A_n, E A_n^2, E A_n^3 (R,) of the armed time for n = 1, ..., K, in units of 1 / r.

    Between avalanches the state is the number of filled traps. With k filled traps, the pixel waits for a photon (rate
    1) or one of k releases (rate 1 / lifetime each), whichever comes first. An avalanche leaves the other traps as they
    are, fills one more with chance a, and each stays filled through the dead time with chance s.
    """
    after = _through_dead_time(process)
    filled = torch.arange(after.shape[1], dtype=torch.float64)
    release = filled / (x[:, None] * process.relative_trap_lifetime)
    gap = 1 / (1 + release)
    state = torch.zeros(4, len(x), len(filled), dtype=torch.float64)  # of chance, time, its square and its cube
    state[0, :, 0] = 1
    for _ in range(process.most_counts):
        chance, time, square, cube = state
        cube = cube + gap * (3 * square + gap * (6 * time + gap * 6 * chance))
        square = square + gap * (2 * time + gap * 2 * chance)
        time = time + gap * chance
        state = torch.stack((chance, time, square, cube))
        yield time.sum(dim=1), square.sum(dim=1), cube.sum(dim=1)
        released = state * (release * gap)
        state = state * gap + torch.nn.functional.pad(released[..., 1:], (0, 1))
        state = state @ after


def _through_dead_time(process: CountingProcess) -> Tensor:
    """Chances (k before, k after) of numbers of filled traps before and after an avalanche and its dead time.

    It fills a trap or not, then each trap survives the dead time or not.
    """
    survive = math.exp(-process.relative_dead_time / process.relative_trap_lifetime)
    fill = process.afterpulse / survive
    most = _most_traps(fill, process)
    kept = torch.zeros(most + 2, most + 1, dtype=torch.float64)
    for before in range(most + 2):
        for left in range(before + 1):
            chance = math.comb(before, left) * survive**left * (1 - survive) ** (before - left)
            kept[before, min(left, most)] += chance
    return (1 - fill) * kept[:-1] + fill * kept[1:]


def _most_traps(fill: float, process: CountingProcess) -> int:
    """Largest number of filled traps that matters: 5 standard deviations above their mean at the highest count rate."""
    filled = fill * process.relative_trap_lifetime * min(process.most_counts, process.largest_x)
    return math.ceil(2 + filled + 5 * math.sqrt(filled))


def _gamma_cdf(order: Tensor, z: Tensor) -> Tensor:
    """Regularised incomplete gamma function P(order, z)."""
    cdf = (z > order).double()
    # Chernoff: elsewhere the chance is 0 or 1 to 1e-17, and the incomplete gamma function is slow.
    near = (z - order).square() < 80 * torch.maximum(z, order)
    cdf[near] = torch.special.gammainc(order[near], z[near])
    return cdf


def _chain_spectrum(p: Tensor, a: float, n: int, width: int) -> Tensor:
    """Characteristic function (R, width // 2 + 1) of the sum of n frames of a binary pixel with afterpulses.

    Frames are a stationary two-state chain: one fires with chance p after an empty one, 1 - (1 - p)(1 - a) after a full
    one.
    """
    z = torch.exp(-2j * math.pi * torch.arange(width // 2 + 1, dtype=torch.float64) / width)[None, :]
    p = p[:, None]
    if a == 0:
        return _power(1 - p + p * z, n)
    empty = (1 - p) * (1 - a)  # after a full frame
    full = p / (1 - a * (1 - p))
    one = (1 - full) * (1 - p + p * z) + full * (empty + (1 - empty) * z)
    trace = 1 - p + (1 - empty) * z
    u, v, _ = _lucas(trace, (1 - p) * a * z, n)
    return u * (one - trace / 2) + v / 2  # Cayley and Hamilton


def _lucas(trace: Tensor, determinant: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lucas sequences (l^n - m^n) / (l - m), l^n + m^n and (l m)^n of the eigenvalues l, m of 2 x 2 matrices.

    The eigenvalues may be equal.
    """
    if n == 1:
        return torch.ones_like(trace), trace, determinant
    u, v, q = _lucas(trace, determinant, n // 2)
    u, v, q = u * v, v * v - 2 * q, q * q
    if n % 2:
        u, v = (trace * u + v) / 2, ((trace * trace - 4 * determinant) * u + trace * v) / 2
        q = q * determinant
    return u, v, q


def _power(base: Tensor, exponent: int) -> Tensor:
    """A power by repeated squaring; torch's own takes a logarithm of each complex number."""
    if exponent == 1:
        return base
    half = _power(base, exponent // 2)
    return half * half * base if exponent % 2 else half * half


def _window(spectrum: Tensor, mean: Tensor, width: int, all_counts: float) -> Window:
    """A law from its transform of length `width`, which knows counts modulo `width`: enough if the law is narrower."""
    first = (mean - width / 2).floor().clamp(min=0, max=max(0, all_counts - width)).long()
    columns = (first[:, None] + torch.arange(width)) % width
    return first, torch.fft.irfft(spectrum, n=width, dim=1).gather(1, columns).clamp(min=0)


def _folded(pmf: Tensor, size: int) -> Tensor:
    """Chances (R, size) of counts modulo `size`."""
    padding = -pmf.shape[1] % size
    return torch.nn.functional.pad(pmf, (0, padding)).reshape(len(pmf), -1, size).sum(dim=1)


def _power_of_two(least: float) -> int:
    return max(_LEAST_WIDTH, 1 << math.ceil(math.log2(least)))
