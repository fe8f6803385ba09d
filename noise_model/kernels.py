"""The inner loops of sampling on a CPU, compiled by numba: drawing from tables, then crosstalk.

They are written so that the compiler makes vector code of them: short loops over plain arrays without branches,
look-ups apart. They share a file because numba takes code on disk for current as long as the file of its function is,
whatever happened to functions that it calls. Random numbers are a hash of their place under a key of 128 bits
(SplitMix64's mixing function: Steele, Lea and Flood, OOPSLA 2014), so that they depend on nothing else. Fast-math is
off: the same counts on any machine.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]
Key = tuple[np.uint64, np.uint64]
Number = float | np.floating[Any]

LOG2_CELLS, LOG2_SHAPES = 8, 3  # for a long sum, in each octave of rates: cells of mean and deviation, and laws
LOG2_BINS = 10  # of its standardised laws
HALF_WIDTH = 6.0  # standard deviations to either side of the mean

_CHUNK = 2048  # pixels whose intermediate arrays stay in the fastest cache
_STEP, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S24, _S27, _S30, _S31, _S40 = np.uint64(24), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(40)
_LOW_16, _LOW_20, _LOW_24, _LOW_31 = np.uint64(0xFFFF), np.uint64(0xFFFFF), np.uint64(0xFFFFFF), np.uint64(0x7FFFFFFF)
_BIN = np.float32(2 * HALF_WIDTH / (1 << LOG2_BINS))
_LARGEST_GAIN = np.float32(1.5)  # of an avalanche fired by a neighbour: it may be followed by afterpulses
_UNIT_24 = np.float32(2**-24)
_TWO_31 = np.float32(2**31 - 256)  # the largest that an int32 holds
_BRIGHTEST = np.float32(14 / 64)  # p = 1 - 8e-7
_T2, _T3, _T4, _T5, _T6 = (np.float32(1 / math.factorial(n)) for n in range(2, 7))
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


def compiled(function: _Function) -> _Function:
    """The function in machine code; other threads run while it does.

    It is kept on disk, but for where no folder can be written to: in containers, on clusters, in shared installations.
    """
    try:
        return cast(_Function, njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # numba finds "no locator" as it decorates
        return cast(_Function, njit(nogil=True, error_model="numpy")(function))


class TableArrays(NamedTuple):
    """The arrays of a `noise_model.tables.Table`."""

    scale: float
    first: Ints
    log2_width: int
    entries: Ints


class LongArrays(NamedTuple):
    """The arrays of a `noise_model.tables.LongTable`; no entries stand for no such table."""

    split: float
    cells: NDArray[np.float64]
    entries: Ints


class Rates(NamedTuple):
    """Rates x = photons * gain + dark.

    Images of photons (I, P), from index `first` on, take the maps (M, P) in turn.
    """

    photons: Singles
    first: int
    gain: Singles
    dark: Singles


class Response(NamedTuple):
    """Numbers that say how many counts an avalanche fired by a neighbour adds: see `noise_model.crosstalk`."""

    binary: bool
    cycles: int
    relative_dead_time: float
    afterpulse: float
    release: float
    lost: float
    clustered: float


class Taps(NamedTuple):
    """A crosstalk kernel as a list of pixels.

    `rows` and `columns` lead from a pixel to those it may fire, up to `reach`; `first` are the chances that it does,
    `second` those of second order where all pixels are armed. Padded with chances of 0 to a multiple of four.
    """

    reach: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    first: Singles
    second: Singles


@compiled
def random_bits(place: int, first: np.uint64, second: np.uint64) -> np.uint64:
    """Random 64 bits at a place in the stream of a key, given its two halves."""
    z = np.uint64(place) * _STEP + first
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27) ^ second) * _MIX2
    return z ^ (z >> _S31)


@compiled
def _unit(bits: np.uint64) -> Number:
    """A uniform number in (0, 1) from the upper 24 bits."""
    return (np.float32(np.int32(bits >> _S40)) + _HALF) * _UNIT_24


@compiled
def fill_random(key: Key, bits: NDArray[np.uint64]) -> None:
    """Fills `bits` with random numbers, for benchmarks: no sampler that uses one for each count is faster."""
    key0, key1 = key
    for i in range(bits.size):
        bits[i] = random_bits(i, key0, key1)


@compiled
def draw_images(rates: Rates, table: TableArrays, long: LongArrays, key: Key, counts: Ints) -> None:
    """Fills `counts` (I, P) with random counts, each from the law of its rate."""
    pixels = counts.shape[1]
    x = np.empty(_CHUNK, np.float32)
    for image in range(len(counts)):
        for start in range(0, pixels, _CHUNK):
            n = min(_CHUNK, pixels - start)
            _rates(rates, image, start, x[:n])
            _draw(x[:n], image * pixels + start, key, table, long, counts[image, start : start + n])


@compiled
def draw_binary_frames(rates: Rates, afterpulse: float, key: Key, counts: Ints) -> None:
    """Fills `counts` (I, P) with 1 for every pixel that fires in a single binary frame, without a table.

    A pixel fires with chance p / (1 - a (1 - p)), p = 1 - exp(-x): a stationary stream of frames with afterpulses.
    """
    pixels = counts.shape[1]
    x = np.empty(_CHUNK, np.float32)
    a = np.float32(afterpulse)
    for image in range(len(counts)):
        for start in range(0, pixels, _CHUNK):
            n = min(_CHUNK, pixels - start)
            _rates(rates, image, start, x[:n])
            _fire(x[:n], image * pixels + start, key, a, counts[image, start : start + n])


@compiled
def _fire(x: Singles, place: int, key: Key, a: Number, counts: Ints) -> None:
    key0, key1 = key
    for i in range(x.size):
        y = x[i] * np.float32(1 / 64)
        y = y if y < _BRIGHTEST else _BRIGHTEST
        p = y * (_ONE - y * (_T2 - y * (_T3 - y * (_T4 - y * (_T5 - y * _T6)))))
        for _ in range(6):
            p = p * (_TWO - p)  # 1 - exp(-2 y) from 1 - exp(-y), without cancellation
        chance = p / (_ONE - a * (_ONE - p))
        limit = np.int32(chance * _TWO_31)
        counts[i] = np.int32(np.int32(random_bits(place + i, key0, key1) & _LOW_31) < limit)


@compiled
def _rates(rates: Rates, image: int, start: int, x: Singles) -> None:
    sensor = (rates.first + image) % len(rates.gain)
    photons, gain, dark = rates.photons[image], rates.gain[sensor], rates.dark[sensor]
    for i in range(x.size):
        x[i] = photons[start + i] * gain[start + i] + dark[start + i]


@compiled
def _add(drawn: Ints, counts: Ints) -> None:
    for i in range(counts.size):
        counts[i] += drawn[i]


@compiled
def _draw(x: Singles, place: int, key: Key, table: TableArrays, long: LongArrays, counts: Ints) -> None:
    if not long.entries.size:
        _draw_short(x, place, key, table, counts)
        return
    _draw_long(x, place, key, long, counts)
    where, dim, drawn = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.int32)
    n = _dim(x, np.float32(long.split), where, dim)
    _draw_short(dim[:n], place, (key[1], key[0]), table, drawn[:n])
    for i in range(n):
        counts[where[i]] = drawn[i]


@compiled
def _dim(x: Singles, split: Number, where: Ints, dim: Singles) -> int:
    """Number of pixels below the split; fills `where` with their places and `dim` with their x."""
    n = 0
    for i in range(x.size):
        where[n] = i
        dim[n] = x[i]
        n += x[i] < split
    return n


@compiled
def _draw_short(x: Singles, place: int, key: Key, table: TableArrays, counts: Ints) -> None:
    index, share = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.int32)
    _choose(x, place, key, np.float32(table.scale), table.first.size - 1, table.log2_width, index, share)
    _look_up(index, share, table.first, table.entries, table.log2_width, counts)


@compiled
def _choose(
    x: Singles, place: int, key: Key, scale: Number, last: int, log2_width: int, index: Ints, share: Ints
) -> None:
    """Chooses for each x one of the two rows around it at random, in proportion to nearness, and a random column."""
    top = np.float32(last) * np.float32(last)
    width, rest = np.int32(log2_width), np.int32(31 - log2_width)
    key0, key1 = key
    for i in range(x.size):
        bits = random_bits(place + i, key0, key1)
        square = x[i] * scale
        square = square if square < top else top
        square = square if square > _ZERO else _ZERO
        lower = np.float32(np.int32(np.sqrt(square)))
        nearness = (square - lower * lower) / (lower + lower + _ONE)
        row = np.int32(lower) + np.int32(nearness + np.float32(np.int32(bits >> _S40)) * _UNIT_24)
        low = np.int32(bits & _LOW_31)
        index[i] = (row << width) + (low >> rest)
        share[i] = (low << width) & np.int32(0x7FFFFFFF)


@compiled
def _look_up(index: Ints, share: Ints, first: Ints, entries: Ints, log2_width: int, counts: Ints) -> None:
    columns = np.int32((1 << log2_width) - 1)
    for i in range(counts.size):
        entry = entries[index[i]]
        counts[i] = (index[i] if share[i] < entry & ~columns else entry) & columns
    if first[-1] > 0:
        for i in range(counts.size):
            counts[i] += first[index[i] >> log2_width]


@compiled
def _draw_long(x: Singles, place: int, key: Key, long: LongArrays, counts: Ints) -> None:
    """Fills `counts` from the standardised laws: a bin, a place in it, and the nearest count.

    Below the split they mean nothing.
    """
    index, share = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.int32)
    cell, within, offset = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.float32)
    _choose_long(x, place, key, long, index, share, cell, within, offset)
    bins = np.int32((1 << LOG2_BINS) - 1)
    for i in range(x.size):
        entry, c = long.entries[index[i]], cell[i]
        column = (index[i] if share[i] < entry & ~bins else entry) & bins
        z = (column + offset[i]) * _BIN - np.float32(HALF_WIDTH)
        mean = long.cells[c, 0] + within[i] * long.cells[c, 1]
        deviation = long.cells[c, 2] + within[i] * long.cells[c, 3]
        counts[i] = np.int32(mean + deviation * z + 0.5)


@compiled
def _choose_long(
    x: Singles,
    place: int,
    key: Key,
    long: LongArrays,
    index: Ints,
    share: Ints,
    cell: Ints,
    within: Singles,
    offset: Singles,
) -> None:
    """Chooses the cell of each x and where in it x is, one of the two laws around it, and a place in a bin.

    Laws, bins and places are random.
    """
    bits = x.view(np.int32)
    first = np.array([long.split], np.float32).view(np.int32)[0]
    last = np.int32(((len(long.cells) - 1) << (23 - LOG2_CELLS)) - 1)
    key0, key1 = key
    for i in range(x.size):
        beyond = bits[i] - first
        beyond = beyond if beyond < last else last
        beyond = beyond if beyond > 0 else np.int32(0)
        some, more = random_bits(place + i, key0, key1), random_bits(~(place + i), key0, key1)
        cell[i] = beyond >> np.int32(23 - LOG2_CELLS)
        within[i] = np.float32(beyond & np.int32((1 << (23 - LOG2_CELLS)) - 1)) * np.float32(2.0 ** (LOG2_CELLS - 23))
        row = (beyond + np.int32(more & _LOW_20)) >> np.int32(23 - LOG2_SHAPES)
        low = np.int32(some & _LOW_31)
        index[i] = (row << np.int32(LOG2_BINS)) + (low >> np.int32(31 - LOG2_BINS))
        share[i] = (low << np.int32(LOG2_BINS)) & np.int32(0x7FFFFFFF)
        offset[i] = _unit(more)


@compiled
def add_rare_crosstalk(rates: Rates, response: Response, taps: Taps, key: Key, counts: Ints) -> None:
    """Adds crosstalk to `counts` (I, H, W) avalanche by avalanche, where it is rare."""
    images, height, width = counts.shape
    own = np.empty(height * width, np.int32)
    uniform, some = np.empty(_CHUNK, np.float32), np.empty(_CHUNK, np.bool_)
    for image in range(images):
        flat = counts[image].reshape(-1)
        weights = taps.first + taps.second * np.float32(_mean_gain(_copy(flat, own) / own.size, response))
        chance = np.float32(_LARGEST_GAIN * weights.sum())
        for start in range(0, own.size, _CHUNK):
            place, n = image * own.size + start, min(_CHUNK, own.size - start)
            _maybe_fire(own[start : start + n], chance, place, key, uniform, some)
            for i in range(n):
                if some[i]:
                    for event in range(_poisson(chance * own[start + i], uniform[i])):
                        bits = random_bits(~(place + i) ^ (event << 48), key[0], key[1])
                        target = _target(start + i, height, width, taps, weights, bits)
                        if target >= 0:
                            x = _rate(rates, image, target)
                            gain = _gain(np.float32(own[target]), x, response) * (1 - response.clustered)
                            if _unit(bits) * _LARGEST_GAIN < gain:
                                flat[target] += _cluster(response.clustered, bits)


@compiled
def _copy(counts: Ints, own: Ints) -> Number:
    """Copies the counts of an image; returns their total."""
    total = 0
    for i in range(counts.size):
        own[i] = counts[i]
        total += counts[i]
    return float(total)


@compiled
def _maybe_fire(own: Ints, chance: Number, place: int, key: Key, uniform: Singles, some: NDArray[np.bool_]) -> None:
    """Marks pixels that may fire a neighbour.

    The chance of one avalanche or more is less than their mean, so that most pixels need no exponential function.
    """
    key0, key1 = key
    for i in range(own.size):
        uniform[i] = _unit(random_bits(place + i, key0, key1))
        some[i] = uniform[i] < chance * np.float32(own[i])


@compiled
def _target(source: int, height: int, width: int, taps: Taps, weights: Singles, bits: np.uint64) -> int:
    """Index of the pixel that an avalanche may fire; -1 for one beyond the edge."""
    left = np.float32(np.int32(bits & _LOW_24)) * _UNIT_24 * weights.sum()
    tap = 0
    while tap < weights.size - 1 and left >= weights[tap]:
        left -= weights[tap]
        tap += 1
    row, column = source // width + taps.rows[tap], source % width + taps.columns[tap]
    inside = 0 <= row < height and 0 <= column < width and weights[tap] > 0
    return row * width + column if inside else -1


@compiled
def _cluster(afterpulse: Number, bits: np.uint64) -> int:
    """Number of counts of an avalanche and the afterpulses in its wake, by bits 24 to 39."""
    uniform, chance, count = float((bits >> _S24) & _LOW_16) * 2.0**-16, afterpulse, 1
    while uniform < chance and count < 16:
        count += 1
        chance *= afterpulse
    return count


@compiled
def add_crosstalk(rates: Rates, response: Response, taps: Taps, table: TableArrays, key: Key, counts: Ints) -> None:
    """Adds crosstalk to `counts` (I, H, W): clusters of avalanches in random numbers, drawn from `table`.

    Each image has a dark border, `reach` wide, and is treated as a flat array, in bands of rows that include the
    border.
    """
    images, height, width = counts.shape
    stride = width + 2 * taps.reach
    offsets = -(taps.rows * stride + taps.columns)  # to the pixels that can fire it
    around = np.zeros((height + 2 * taps.reach) * stride + 2 * taps.reach, np.float32)
    band = max(1, _CHUNK // stride)
    mean, x = np.empty(band * stride, np.float32), np.zeros(band * stride, np.float32)
    drawn = np.empty(band * stride, np.int32)
    for image in range(images):
        fired = _surround(counts[image], taps.reach, stride, around)
        weights = taps.first + taps.second * np.float32(_mean_gain(fired / (height * width), response))
        for top in range(0, height, band):
            rows = counts[image, top : top + band]
            n, start = len(rows) * stride, (top + taps.reach) * stride + taps.reach
            _sum_neighbours(around, start, offsets, weights, mean[:n])
            _rates_in_rows(rates, image, top, width, stride, x[:n])
            _weigh(mean[:n], around[start : start + n], x[:n], response)
            for begin in range(0, n, _CHUNK):
                end = min(n, begin + _CHUNK)
                _draw_short(mean[begin:end], (image * height + top) * stride + begin, key, table, drawn[begin:end])
            for row in range(len(rows)):
                _add(drawn[row * stride : row * stride + width], rows[row])


@compiled
def _rates_in_rows(rates: Rates, image: int, top: int, width: int, stride: int, x: Singles) -> None:
    for row in range(x.size // stride):
        _rates(rates, image, (top + row) * width, x[row * stride : row * stride + width])


@compiled
def _rate(rates: Rates, image: int, pixel: int) -> Number:
    sensor = (rates.first + image) % len(rates.gain)
    x: Number = rates.photons[image, pixel] * rates.gain[sensor, pixel] + rates.dark[sensor, pixel]
    return x


@compiled
def _surround(counts: Ints, reach: int, stride: int, around: Singles) -> Number:
    """Copies an image into the middle of `around`; returns its total."""
    total = 0
    for row in range(len(counts)):
        middle = around[(row + reach) * stride + reach :]
        for column in range(counts.shape[1]):
            middle[column] = counts[row, column]
        total += int(counts[row].sum())
    return total


@compiled
def _mean_gain(fired: Number, response: Response) -> Number:
    """Approximate mean gain of an image with `fired` counts a pixel: it only weighs crosstalk of crosstalk."""
    share = fired / response.cycles
    blind = share if response.binary else share * response.relative_dead_time
    return max(0.0, 1 - blind) if response.binary else max(0.0, 1 - blind) ** 2


@compiled
def _sum_neighbours(around: Singles, start: int, offsets: NDArray[np.int64], weights: Singles, mean: Singles) -> None:
    mean[:] = _ZERO
    for tap in range(0, offsets.size, 4):
        a, b, c, d = start + offsets[tap], start + offsets[tap + 1], start + offsets[tap + 2], start + offsets[tap + 3]
        n = mean.size
        _add_taps(around[a : a + n], around[b : b + n], around[c : c + n], around[d : d + n], weights[tap:], mean)


@compiled
def _add_taps(
    first: Singles, second: Singles, third: Singles, fourth: Singles, weights: Singles, mean: Singles
) -> None:
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for i in range(mean.size):
        mean[i] += w0 * first[i] + w1 * second[i] + w2 * third[i] + w3 * fourth[i]


@compiled
def _weigh(mean: Singles, own: Singles, x: Singles, response: Response) -> None:
    for i in range(mean.size):
        mean[i] *= _gain(own[i], x[i], response)


@compiled
def _gain(own: Number, x: Number, response: Response) -> Number:
    """Counts that an avalanche fired by a neighbour adds, as in `noise_model.crosstalk`."""
    share = own * np.float32(1 / response.cycles)
    a = np.float32(response.afterpulse)
    if response.binary:
        return (_ONE - share) * (_ONE - a * share) * np.float32(1 / (1 - response.afterpulse))
    b, release = np.float32(response.relative_dead_time), np.float32(response.release)
    photons = _ONE - a * release / (
        release + x * np.float32(response.lost)
    )  # share of avalanches that are no afterpulses
    expected = x / (photons + x * b)
    live = _ONE - expected * b
    gain = live * live / photons - b * (_TWO - np.float32(1.5) * expected * b) * (share - expected)
    return gain if gain > _ZERO else _ZERO


@compiled
def _poisson(mean: Number, uniform: Number) -> int:
    """A Poisson number by inversion: n while the uniform number is below the chance of n or more."""
    chance, more, count = math.exp(-mean), -math.expm1(-mean), 0
    while uniform < more:
        count += 1
        chance *= float(mean) / count
        more -= chance
    return count
