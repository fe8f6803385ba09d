"""Sampling on a CPU: blocks of images go through the compiled loops of `noise_model.kernels`."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from noise_model import kernels
from noise_model.crosstalk import Crosstalk
from noise_model.kernels import Ints, Key, Rates
from noise_model.laws import CountingProcess
from noise_model.tables import LongTable, Part, Table, part, parts

_AT_ONCE = 1 << 16  # pixels, or one image: they stay in the cache from the first step to the last

_Step = Callable[[Rates, Key, Ints], None]


def draw_counts(
    photon_rate: Tensor,
    gain: Tensor,
    dark: Tensor,
    process: CountingProcess,
    crosstalk: Crosstalk,
    generator: torch.Generator,
) -> Tensor:
    """Random int32 counts at x = photon_rate * gain + dark, all (..., H, W) and broadcast, with crosstalk."""
    size = np.broadcast_shapes(photon_rate.shape, gain.shape)
    pixels = math.prod(size[-2:])
    photons = _singles(photon_rate.expand(size).reshape(-1, pixels))
    maps = [_singles(each.reshape(-1, pixels)) for each in (gain, dark)]
    images = np.empty((len(photons), *size[-2:]), np.int32)
    steps = [*_sampling_steps(process), *([_crosstalk_step(crosstalk)] if crosstalk else [])]
    at_once = max(1, _AT_ONCE // max(1, pixels))
    for start in range(0, len(images), at_once):
        rates = Rates(photons[start : start + at_once], start, *maps)
        for step in steps:
            step(rates, _key(generator), images[start : start + at_once])
    return torch.from_numpy(images).reshape(size)


def _singles(values: Tensor) -> kernels.Singles:
    array: kernels.Singles = values.float().contiguous().numpy()
    return array


def _sampling_steps(process: CountingProcess) -> list[_Step]:
    """Steps that together draw the counts before crosstalk; the first fills the images, the others add to them."""
    if process.counter_maximum == process.cycles == 1:
        return [lambda rates, key, counts: kernels.draw_binary_frames(rates, process.afterpulse, key, _flat(counts))]
    first, *others = parts(process, torch.device("cpu"))
    return [_drawing_step(first), *(_adding_step(each) for each in others)]


def _drawing_step(law: Part) -> _Step:
    table, long = _table(law.table), _long(law.long)

    def step(rates: Rates, key: Key, counts: Ints) -> None:
        kernels.draw_images(rates, table, long, key, _flat(counts))

    return step


def _flat(counts: Ints) -> Ints:
    return counts.reshape(len(counts), -1)


def _adding_step(law: Part) -> _Step:
    draw = _drawing_step(law)

    def step(rates: Rates, key: Key, counts: Ints) -> None:
        more = np.empty_like(counts)
        draw(rates, key, more)
        counts += more

    return step


def _crosstalk_step(crosstalk: Crosstalk) -> _Step:
    response, taps = crosstalk.response, crosstalk.taps
    table = None if crosstalk.rare else _table(part(crosstalk.law, torch.device("cpu")).table)

    def step(rates: Rates, key: Key, counts: Ints) -> None:
        if table is None:
            kernels.add_rare_crosstalk(rates, response, taps, key, counts)
        else:
            kernels.add_crosstalk(rates, response, taps, table, key, counts)
        np.minimum(counts, np.int32(crosstalk.saturation), out=counts)

    return step


def _key(generator: torch.Generator) -> Key:
    first, second = torch.empty(2, dtype=torch.int64).random_(generator=generator).tolist()
    return np.uint64(first), np.uint64(second)


def _table(table: Table) -> kernels.TableArrays:
    return kernels.TableArrays(table.scale, table.first.numpy(), table.log2_width, table.entries.numpy())


def _long(long: LongTable | None) -> kernels.LongArrays:
    if long is None:
        return kernels.LongArrays(math.inf, np.empty((0, 4)), np.empty(0, np.int32))
    return kernels.LongArrays(long.split, long.cells.numpy(), long.entries.numpy())
