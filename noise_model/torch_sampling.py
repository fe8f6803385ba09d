"""Sampling on devices other than a CPU: the steps of `noise_model.kernels` in torch operations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.crosstalk import Crosstalk
from noise_model.kernels import HALF_WIDTH, LOG2_BINS, LOG2_CELLS, LOG2_SHAPES, Response
from noise_model.tables import LongTable, Part, Table, part

_LOW_24, _LOW_31 = (1 << 24) - 1, (1 << 31) - 1


def draw_counts(x: Tensor, law: list[Part], crosstalk: Crosstalk, generator: torch.Generator) -> Tensor:
    """Random int32 counts (..., H, W) at rates x of that shape, on their device, with crosstalk."""
    counts = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
    for each in law:
        drawn = _draw(x, each.table, generator)
        counts += (
            drawn if each.long is None else torch.where(x < each.long.split, drawn, _draw_long(x, each.long, generator))
        )
    if crosstalk:
        counts += _draw(_crosstalk_mean(counts, x, crosstalk), part(crosstalk.law, x.device).table, generator)
        counts.clamp_(max=crosstalk.saturation)
    return counts


def _bits(like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two int32 numbers of 24 and 31 random bits for each entry."""
    bits = torch.empty(2 * like.numel(), dtype=torch.int32, device=like.device).random_(generator=generator)
    first, second = bits.reshape(2, *like.shape)
    return first & _LOW_24, second & _LOW_31


def _draw(x: Tensor, table: Table, generator: torch.Generator) -> Tensor:
    few, many = _bits(x, generator)
    square = (x * table.scale).clamp(0, (len(table.first) - 1) ** 2)
    lower = square.sqrt().floor()
    nearness = (square - lower * lower) / (2 * lower + 1)
    row = (lower + (nearness + few * 2**-24).floor()).to(torch.int32)
    return table.first[row] + _column(row, many, table.entries, table.log2_width)


def _column(row: Tensor, bits: Tensor, entries: Tensor, log2_width: int) -> Tensor:
    """A random column of the rows of an alias table, by 31 random bits."""
    column = bits >> (31 - log2_width)
    entry = entries[(row << log2_width) + column]
    columns = (1 << log2_width) - 1
    own = ((bits << log2_width) & _LOW_31) < (entry & ~columns)
    return torch.where(own, column, entry & columns)


def _draw_long(x: Tensor, long: LongTable, generator: torch.Generator) -> Tensor:
    split = torch.tensor(long.split, dtype=torch.float32).view(torch.int32).item()
    last = ((len(long.cells) - 1) << (23 - LOG2_CELLS)) - 1
    beyond = (x.float().contiguous().view(torch.int32) - split).clamp(0, last)
    within = (beyond & ((1 << (23 - LOG2_CELLS)) - 1)).double() * 2.0 ** (LOG2_CELLS - 23)
    cell = beyond >> (23 - LOG2_CELLS)
    few, many = _bits(x, generator)
    row = (beyond + (few & ((1 << 20) - 1))) >> (23 - LOG2_SHAPES)
    place = _bits(x, generator)[0].double() * 2.0**-24
    z = (_column(row, many, long.entries, LOG2_BINS) + place) * (2 * HALF_WIDTH / (1 << LOG2_BINS)) - HALF_WIDTH
    mean, more_mean, deviation, more_deviation = long.cells[cell].unbind(dim=-1)
    return (mean + within * more_mean + (deviation + within * more_deviation) * z + 0.5).floor().to(torch.int32)


def _crosstalk_mean(counts: Tensor, x: Tensor, crosstalk: Crosstalk) -> Tensor:
    response, fired = crosstalk.response, counts.float()
    second = _mean_gain(fired.mean(dim=(-2, -1), keepdim=True), response)
    mean = _around(fired, crosstalk.first) + second * _around(fired, crosstalk.second)
    return mean * _gain(fired / response.cycles, x, response)


def _around(fired: Tensor, kernel: Tensor) -> Tensor:
    images = fired.reshape(-1, 1, *fired.shape[-2:])
    return F.conv2d(images, kernel.to(fired).flip((0, 1))[None, None], padding=kernel.shape[-1] // 2).reshape(
        fired.shape
    )


def _mean_gain(fired: Tensor, response: Response) -> Tensor:
    share = fired / response.cycles
    if response.binary:
        return (1 - share).clamp(min=0)
    return (1 - share * response.relative_dead_time).clamp(min=0).square()


def _gain(own: Tensor, x: Tensor, response: Response) -> Tensor:
    a, b = response.afterpulse, response.relative_dead_time
    if response.binary:
        return (1 - own) * (1 - a * own) / (1 - a)
    photons = 1 - a * response.release / (response.release + x * response.lost)
    expected = x / (photons + x * b)
    live = 1 - expected * b
    return (live.square() / photons - b * (2 - 1.5 * expected * b) * (own - expected)).clamp(min=0)
