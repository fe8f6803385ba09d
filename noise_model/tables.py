"""Tables to draw random counts from: alias tables for a grid of rates, and standardised ones for long sums.

An alias table (Walker, Electronics Letters 10 (1974) 127; built after Vose, IEEE TSE 17 (1991) 972) turns one uniform
number into a draw from any law, without a search: a uniformly chosen column gives either its own count or the one other
count that it shares its place with. Rows are laws for a grid of rates, even in the square root of the rate and so fine
that neighbours are a fraction of a standard deviation apart; a draw takes one of the two rows around its rate at
random, in proportion to nearness, which keeps the mean.

A sum of so many counts that such a table would not fit in a cache is smooth: its law is tabulated in units of its own
standard deviation for a few rates only, and mean and standard deviation finely. Its dim pixels still use a table.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise_model.kernels import HALF_WIDTH, LOG2_BINS, LOG2_CELLS, LOG2_SHAPES, compiled
from noise_model.laws import CountingProcess, Law, root_grid
from noise_model.moments import window_moments

_LARGEST_TABLE = 1 << 22  # entries
_LONG_FROM = 1000.0  # mean counts from which a long sum is smooth


@dataclass(frozen=True)
class Table:
    """An alias table: laws for a grid of rates from 0, evenly spaced in their square root.

    Attributes:
        scale: times x gives the square of its row.
        first: (R,) int32, the count of the first column.
        log2_width: log2 of the number of columns C.
        entries: (R C,) int32: the upper 31 - log2 C bits are the share of its place that a column keeps for its own
            count, the lower ones the column it shares the rest with.
    """

    scale: float
    first: Tensor
    log2_width: int
    entries: Tensor


@dataclass(frozen=True)
class LongTable:
    """A table of a long sum above a rate, in cells that divide each octave of rates evenly.

    Attributes:
        split: x above which it holds, a power of two.
        cells: (cells + 1, 4) float64: mean counts at the start of the cell and what is added up to its end, the same
            of the standard deviation.
        entries: (R C,) int32, as in a `Table`, of laws at LOG2_SHAPES to an octave; columns are bins of the
            standardised count.
    """

    split: float
    cells: Tensor
    entries: Tensor


@dataclass(frozen=True)
class Part:
    """Tables to draw the counts of some of the frames from, or of all."""

    table: Table
    long: LongTable | None = None

    @property
    def size(self) -> int:
        """Size of the tables, bytes."""
        tensors = [self.table.first, self.table.entries]
        tensors += [] if self.long is None else [self.long.cells, self.long.entries]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def parts(process: CountingProcess, device: torch.device) -> Iterator[Part]:
    """Parts whose draws add up to the counts of all frames.

    There is one, unless its table would be too large and no long table will do.
    """
    if process.smooth or _entries(process) <= _LARGEST_TABLE:
        yield part(process, device)
        return
    most = process.cycles
    while most > 1 and _entries(replace(process, cycles=most)) > _LARGEST_TABLE:
        most = (most + 1) // 2
    full, rest = divmod(process.cycles, most)
    for cycles in [most] * full + [rest] * (rest > 0):
        yield part(replace(process, cycles=cycles), device)


def _entries(law: Law) -> int:
    return law.rows * law.width


@lru_cache(maxsize=512)  # training draws from some 360 laws: none of them is tabulated twice
def part(law: Law, device: torch.device) -> Part:
    """The tables of a law; they are made once."""
    if not isinstance(law, CountingProcess) or not law.smooth or _entries(law) <= _LARGEST_TABLE:
        return Part(_table(law, device))
    split = 2.0 ** math.ceil(math.log2(law.rate_of(_LONG_FROM)))
    return Part(_table(replace(law, brightest=split), device), _long_table(law, split, device))


def _table(law: Law, device: torch.device) -> Table:
    blocks = [(first, alias_entries(pmf.numpy())) for first, pmf in law.windows(root_grid(law.largest_x, law.rows))]
    first = torch.cat([first for first, _ in blocks]).to(torch.int32)
    entries = torch.from_numpy(np.concatenate([entries for _, entries in blocks]))
    scale = (law.rows - 1) ** 2 / law.largest_x
    return Table(scale, first.to(device), law.width.bit_length() - 1, entries.to(device))


def _long_table(process: CountingProcess, split: float, device: torch.device) -> LongTable:
    octaves = math.ceil(math.log2(process.largest_x / split))
    edges = torch.stack(mean_and_deviation(process, _cells(split, octaves, LOG2_CELLS)), dim=1)
    cells = torch.stack((edges, torch.nn.functional.pad(edges.diff(dim=0), (0, 0, 0, 1))), dim=2).flatten(1)
    laws = [
        alias_entries(_standardised(pmf).numpy()) for _, pmf in process.windows(_cells(split, octaves, LOG2_SHAPES))
    ]
    entries = torch.from_numpy(np.concatenate(laws))
    return LongTable(split, cells.to(device), entries.to(device))


def _cells(split: float, octaves: int, log2_cells: int) -> Tensor:
    """Edges of cells that divide each octave evenly, as the exponent and the first bits of a float do."""
    within = 1 + torch.arange(1 << log2_cells, dtype=torch.float64) / (1 << log2_cells)
    starts = split * 2.0 ** torch.arange(octaves, dtype=torch.float64)
    end = torch.tensor([split * 2.0**octaves], dtype=torch.float64)
    return torch.cat(((starts[:, None] * within).flatten(), end))


def mean_and_deviation(process: CountingProcess, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (R,) of the counts of all frames, for rates x (R,), float64."""
    rows = [window_moments(*window) for window in replace(process, cycles=1).windows(x)]
    mean, variance, _ = (torch.cat(column) for column in zip(*rows, strict=True))
    return process.cycles * mean, (process.cycles * variance).sqrt()


def _standardised(pmf: Tensor) -> Tensor:
    """Chances (R, bins) of the count in units of its standard deviation, each count spread over one unit of counts."""
    counts = torch.arange(pmf.shape[1], dtype=torch.float64)
    cdf = torch.nn.functional.pad(pmf.cumsum(dim=1), (1, 0))
    cdf = cdf / cdf[:, -1:]
    mean = (pmf @ counts) / pmf.sum(dim=1)
    variance = (pmf @ counts.square()) / pmf.sum(dim=1) - mean.square()
    edges = torch.linspace(-HALF_WIDTH, HALF_WIDTH, (1 << LOG2_BINS) + 1, dtype=torch.float64)
    place = mean[:, None] + 0.5 + edges * (variance[:, None] + 1 / 12).sqrt()  # spreading adds 1 / 12
    place = place.clamp(0, pmf.shape[1])
    left = place.floor().long().clamp(max=pmf.shape[1] - 1)
    below = cdf.gather(1, left)
    return (below + (place - left) * (cdf.gather(1, left + 1) - below)).diff(dim=1)


def alias_entries(chances: NDArray[np.float64]) -> NDArray[np.int32]:
    """Entries (R C,) of an alias table for chances (R, C), C a power of two; rows need not add up to 1."""
    entries = np.empty(chances.shape, np.int32)
    _fill_entries(chances, chances.shape[1].bit_length() - 1, entries)
    return entries.ravel()


@compiled
def _fill_entries(chances: NDArray[np.float64], log2_width: int, entries: NDArray[np.int32]) -> None:
    rows, width = chances.shape
    full = 1 << (31 - log2_width)
    share, poor, rich = np.empty(width), np.empty(width, np.int32), np.empty(width, np.int32)
    for row in range(rows):
        poors, riches = 0, 0
        total = chances[row].sum()
        for column in range(width):
            share[column] = chances[row, column] / total * width
            entries[row, column] = ((full - 1) << log2_width) | column
            if share[column] < 1:
                poor[poors] = column
                poors += 1
            else:
                rich[riches] = column
                riches += 1
        while poors > 0 and riches > 0:
            poors -= 1
            giver = rich[riches - 1]
            entries[row, poor[poors]] = (min(round(share[poor[poors]] * full), full - 1) << log2_width) | giver
            share[giver] -= 1 - share[poor[poors]]
            if share[giver] < 1:
                riches -= 1
                poor[poors] = giver
                poors += 1
