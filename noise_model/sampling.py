"""Counts from rates: the exact law of an image's counts is tabulated once per exposure, then drawn from by look-up.

The law of one pixel depends on its rate and on a few numbers that all pixels share. It is tabulated for a grid of
rates, even in the square root of the rate, so that neighbouring rows are a fraction of a standard deviation apart. A
draw picks one of the two rows around the pixel's rate at random, in proportion to nearness, which keeps the mean, then
draws from that row by Walker's alias method: a uniform column, which either keeps its own count or gives the one other
count that it shares its place with. There is no search and no branch: it takes as long for any law, on any device.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from noise_model.laws import PoissonShape, Shape, Window, root_grid
from noise_model.response import firing_rate, neighbours
from noise_model.sensor import Exposure, Sensor

_AT_ONCE = 1 << 17  # pixels drawn together on a CPU, or one image: their intermediate arrays stay in its cache
_LARGEST_TABLE = 1 << 22  # entries; a longer exposure is drawn in parts
_SHARE_BITS = 16  # of an entry; with the 8 bits or more that pick a column, as fine as a float32 uniform
_FULL = (1 << _SHARE_BITS) - 1


@dataclass(frozen=True)
class CountLaw:
    """The law of the counts of one image, for a grid of rates.

    Attributes:
        x: (R,) grid of r T, float64, even in its square root from 0.
        mean: (R,) mean counts, float64.
        first: (R,) int32, the count of the first column; those below have no chance worth keeping.
        cdf: (R, C) float32, chance of at most first + c counts.
    """

    x: Tensor
    mean: Tensor
    first: Tensor
    cdf: Tensor


def count_law(exposure: Exposure, sensor: Sensor, device: torch.device | str = "cpu") -> CountLaw:
    """The law of the counts of one image before crosstalk. A long exposure gets fewer rows, to bound the table."""
    shape = Shape.of(exposure, sensor)
    x = root_grid(shape.largest_x, max(64, min(shape.rows, _LARGEST_TABLE // shape.width)))
    rows = [_cumulative(window) for window in shape.windows(x)]
    mean, first, cdf = (torch.cat(column).to(device) for column in zip(*rows, strict=True))
    return CountLaw(x.to(device), mean, first, cdf)


def _cumulative(window: Window) -> tuple[Tensor, Tensor, Tensor]:
    first, pmf = window
    cdf = pmf.cumsum(dim=1)
    mean = first + (pmf @ torch.arange(pmf.shape[1], dtype=torch.float64)) / cdf[:, -1]
    return mean, first.to(torch.int32), (cdf / cdf[:, -1:]).float()


def sample_counts(photon_rate: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Counts of images summed from N frames, with every effect of the sensor.

    Args:
        photon_rate: (..., H, W) rate of photons detected by a pixel of mean PDE, counts/s.
        exposure, sensor: how it is taken, on the device of `photon_rate`.
        generator: the only source of randomness, on that device too.

    Returns:
        (..., H, W) int32.
    """
    x = firing_rate(photon_rate, sensor).mul_(exposure.count_time)
    images = x.reshape(-1, *x.shape[-2:])
    at_once = _AT_ONCE // math.prod(x.shape[-2:]) if x.device.type == "cpu" else len(images)
    drawn = [_draw_images(block, exposure, sensor, generator) for block in torch.split(images, max(1, at_once))]
    return torch.cat(drawn).reshape(x.shape)


def _draw_images(x: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    first, *others = _parts(exposure, sensor)
    counts = _draw(x, first, generator)
    for table in others:
        counts += _draw(x, table, generator)
    if bool((sensor.crosstalk != 0).any()):
        counts += _crosstalk(counts, exposure, sensor, generator)
    return counts.clamp_(max=sensor.saturation_value(exposure.cycles))


def _crosstalk(counts: Tensor, exposure: Exposure, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """Avalanches fired by neighbours: binomial thinnings of their counts, each so rare that their sum is drawn as one
    Poisson number (they differ by the crosstalk probability itself, relatively). A blind pixel gains none."""
    shape = Shape.of(exposure, sensor)
    most = float(sensor.crosstalk.sum()) * shape.cycles * min(shape.most_counts, shape.counter_maximum)
    law = PoissonShape(2.0 ** math.ceil(math.log2(max(most, 1))))  # few different ones: each table is kept
    fired = counts.float()
    blind = fired * (1.0 if sensor.binary else shape.relative_dead_time) / shape.cycles
    mean = neighbours(fired, sensor).mul_(blind.neg_().add_(1).clamp_(min=0))
    return _draw(mean, _table(law, counts.device), generator)


@dataclass(frozen=True)
class _Table:
    """Laws to draw from, for a grid of rates even in its square root.

    Attributes:
        scale: what turns x into the square of its row.
        first: (R,) int32, the count of the first column.
        width: C, columns, a power of two.
        entries: (R C,) int32: in the upper 16 bits how many columns away the other count is, in the lower 16 bits the
            share of its place that the column keeps for its own count.
    """

    scale: float
    first: Tensor
    width: int
    entries: Tensor


def _draw(x: Tensor, table: _Table, generator: torch.Generator) -> Tensor:
    """int32 numbers of the shape of x, each from the law of its x."""
    n = x.numel()
    bits = torch.empty(n, dtype=torch.int64, device=x.device).random_(generator=generator).view(torch.int32)
    row, bits = _random_row(x.reshape(-1), table, bits[:n]), bits[n:]
    column = (bits >> _SHARE_BITS) & (table.width - 1)
    entry = table.entries.index_select(0, row * table.width + column)
    own = ((bits & _FULL) - (entry & _FULL)) >> 31  # all bits set where the column keeps its own count
    return (table.first.index_select(0, row) + column + ((entry >> _SHARE_BITS) & ~own)).reshape(x.shape)


def _random_row(x: Tensor, table: _Table, bits: Tensor) -> Tensor:
    """(n,) int32, one of the two rows around each rate, in proportion to nearness."""
    square = (x * table.scale).clamp_(0, (len(table.first) - 1) ** 2)
    lower = square.sqrt().floor_()
    nearness = torch.addcmul(square, lower, lower, value=-1).div_(2 * lower + 1)
    uniform = (bits & (1 << 24) - 1).float().mul_(2**-24)
    return lower.add_(nearness.add_(uniform).floor_()).to(torch.int32)


def _parts(exposure: Exposure, sensor: Sensor) -> Iterator[_Table]:
    """Tables whose draws add up to the exposure: one, unless it would be too large."""
    largest = exposure.cycles
    while largest > 1 and _size(Shape.of(replace(exposure, cycles=largest), sensor)) > _LARGEST_TABLE:
        largest = (largest + 1) // 2
    full, rest = divmod(exposure.cycles, largest)
    for cycles in [largest] * full + [rest] * (rest > 0):
        yield _table(Shape.of(replace(exposure, cycles=cycles), sensor), sensor.pde.device)


def _size(shape: Shape) -> int:
    return shape.rows * shape.width


@lru_cache(maxsize=256)
def _table(law: Shape | PoissonShape, device: torch.device) -> _Table:
    x = root_grid(law.largest_x, law.rows)
    blocks = [(first.to(torch.int32), _shared(pmf)) for first, pmf in law.windows(x)]
    first, entries = (torch.cat(column).to(device) for column in zip(*blocks, strict=True))
    return _Table((law.rows - 1) ** 2 / law.largest_x, first, law.width, entries.flatten())


def _shared(pmf: Tensor) -> Tensor:
    """(R, C) int32 entries for chances (R, C): a column with less than its place shares it with one that has more.

    Columns with more are used up from left to right, and are themselves filled up by the next once they have given too
    much. So cumulative sums of what is free and what is left over tell at once who shares with whom.
    """
    last = pmf.shape[1] - 1
    chance = pmf * (pmf.shape[1] / pmf.sum(dim=1, keepdim=True))
    free = (1 - chance).clamp(min=0).cumsum(dim=1)
    over = (chance - 1).clamp(min=0).cumsum(dim=1)
    gives = chance > 1
    before = torch.where(gives, over, torch.nn.functional.pad(free[:, :-1], (1, 0)))
    other = torch.searchsorted(over, before, right=True)
    given = free.gather(1, torch.searchsorted(free, over).clamp(max=last))
    share = torch.where(gives, 1 + over - given, chance).mul(1 << _SHARE_BITS).round().to(torch.int32)
    away = (other - torch.arange(last + 1)).to(torch.int32)
    return torch.where(share <= _FULL, away << _SHARE_BITS | share, _FULL)
