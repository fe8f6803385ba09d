"""A SPAD array, avalanche by avalanche: what the noise model is judged by. It shares nothing with it but the physics.

Every photon and dark count that finds its pixel armed sets off an avalanche. An avalanche is counted, blinds its pixel,
may fill a trap that fires the pixel again when it empties, and may at the same instant fire each neighbour that is
armed; what a neighbour fires is an avalanche like any other, with traps and neighbours of its own.

A counting pixel is blind for the dead time; what comes while it is blind is lost and does not lengthen it. Each of its
frames starts armed, with no trap filled. A binary pixel is blind from its first avalanche to the end of the gate; what
its trap held comes out during the next gate, so that gates follow on each other through the whole stream.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

PHOTON, TRAP, NEIGHBOUR = 0, 1, 2  # what may fire a pixel; a dark count is as good as a photon


@dataclass(frozen=True)
class Array:
    """An array and the exposure of one hardware frame. `counter_bits` 1 is a binary array, whose `dead_time` and
    `trap_lifetime` mean nothing: it is blind to the end of the gate, and its traps empty during the next.

    Attributes:
        rate: (H, W) firing rate of the armed pixels, detected photons and dark counts, counts/s.
        count_time: s that one hardware frame is live.
        dead_time: s.
        afterpulse_probability: chance that an avalanche fills a trap.
        trap_lifetime: mean time until that trap empties, s.
        crosstalk: (k, k), k odd, 0 in the centre: chance that an avalanche in the centre fires each neighbour.
        counter_wraps: a full counter starts again at 0, else it stays full.
    """

    rate: NDArray[np.floating]
    count_time: float
    counter_bits: int = 1
    dead_time: float = 0.0
    afterpulse_probability: float = 0.0
    trap_lifetime: float = 0.0
    crosstalk: NDArray[np.floating] = field(default_factory=lambda: np.zeros((1, 1)))
    counter_wraps: bool = False

    @property
    def full(self) -> int:
        """The most that the counter of one frame can hold."""
        return (1 << self.counter_bits) - 1


class Physics(NamedTuple):
    """An `Array` as the compiled functions take it. `places` (n, 2) are rows and columns from an avalanche to whom it
    may fire, `spared` (n) the chance that it fires none of them up to and including this one."""

    rate: NDArray[np.float64]
    count_time: float
    dead_time: float
    afterpulse: float
    lifetime: float
    places: NDArray[np.int64]
    spared: NDArray[np.float64]
    full: int
    wraps: bool


def images(array: Array, count: int, frames: int = 1, seed: int = 0) -> NDArray[np.unsignedinteger]:
    """(count, H, W) images of one stream, each the sum of `frames` hardware frames."""
    return np.concatenate(list(stream(array, count, frames, seed)))


def stream(
    array: Array, count: int, frames: int = 1, seed: int = 0, block: int = 2048
) -> Iterator[NDArray[np.unsignedinteger]]:
    """The same stream in blocks of up to `block` images, (n, H, W). A seed gives one stream, however it is cut."""
    rng = np.random.Generator(np.random.SFC64(seed))
    physics = compiled(array)
    lit, held = first_gates(rng, physics), np.zeros(array.rate.shape, dtype=np.bool_)
    for first in range(0, count, block):
        size = min(block, count - first), *array.rate.shape
        counts = np.zeros(size, dtype=np.min_scalar_type(frames * array.full))
        if array.counter_bits == 1:
            add_gates(rng, counts, frames, physics, lit, held)
        else:
            add_frames(rng, counts, frames, physics)
        yield counts


def compiled(array: Array) -> Physics:
    kernel = np.asarray(array.crosstalk, dtype=np.float64)
    places = np.argwhere(kernel > 0)
    return Physics(
        rate=np.array(array.rate, dtype=np.float64),
        count_time=float(array.count_time),
        dead_time=float(array.dead_time),
        afterpulse=float(array.afterpulse_probability),
        lifetime=float(array.trap_lifetime),
        places=places - kernel.shape[0] // 2,
        spared=np.cumprod(1 - kernel[tuple(places.T)]),
        full=array.full,
        wraps=array.counter_wraps,
    )


@njit
def next_fired(rng, spared, first):
    """The next neighbour, from number `first` on, that an avalanche fires; spared.size if it fires no more. Each has
    its own chance, whatever happens to the others; one random number says how many in a row are spared."""
    if first == spared.size:
        return first
    luck = rng.random() * (spared[first - 1] if first > 0 else 1.0)
    while first < spared.size and luck < spared[first]:
        first += 1
    return first


@njit
def first_gates(rng, physics):
    lit = np.empty(physics.rate.shape, dtype=np.int64)
    for pixel in np.ndindex(physics.rate.shape):
        lit[pixel] = dark_gates(rng, physics.rate[pixel] * physics.count_time)
    return lit


@njit
def dark_gates(rng, load):
    """Gates that pass before the one with the next photon; each has at least one with chance 1 - exp(-load)."""
    return np.int64(min(rng.exponential() / load, 1e18)) if load > 0 else np.int64(1 << 62)


@njit
def add_gates(rng, counts, frames, physics, lit, held):
    """Adds `frames` gates to each of `counts`. `lit` is how many gates are to pass until each pixel's next photon,
    `held` says whose trap is filled; both go on from block to block.

    When in the gate a pixel fires makes no difference: it does so once, whatever comes first, and then has its one
    chance at each neighbour and at its trap, which empties in the next gate. So the clock ticks in gates.
    """
    armed = np.empty(physics.rate.shape, dtype=np.bool_)
    fired = np.empty((physics.rate.size, 2), dtype=np.int64)  # who fired, but has not had its chance at others yet
    for image in range(counts.shape[0]):
        for _ in range(frames):
            many = open_gate(rng, physics, lit, held, armed, fired)
            while many:
                many -= 1
                row, column = fired[many]
                counts[image, row, column] += 1
                held[row, column] = rng.random() < physics.afterpulse
                to = next_fired(rng, physics.spared, 0)
                while to < physics.spared.size:
                    down, right = row + physics.places[to, 0], column + physics.places[to, 1]
                    if 0 <= down < armed.shape[0] and 0 <= right < armed.shape[1] and armed[down, right]:
                        armed[down, right] = False
                        fired[many] = down, right
                        many += 1
                    to = next_fired(rng, physics.spared, to + 1)


@njit
def open_gate(rng, physics, lit, held, armed, fired):
    """Fires who has a photon in this gate or a trap filled in the last, and lists them in `fired`; how many."""
    many = 0
    for row in range(armed.shape[0]):
        for column in range(armed.shape[1]):
            armed[row, column] = lit[row, column] > 0 and not held[row, column]
            if not armed[row, column]:
                fired[many] = row, column
                many += 1
            if lit[row, column] == 0:
                lit[row, column] = dark_gates(rng, physics.rate[row, column] * physics.count_time)
            else:
                lit[row, column] -= 1
            held[row, column] = False
    return many


@njit
def add_frames(rng, counts, frames, physics):
    """Adds `frames` frames of a counting array to each of `counts`; every frame stands alone."""
    avalanches = np.empty(physics.rate.shape, dtype=np.int64)
    for image in range(counts.shape[0]):
        for _ in range(frames):
            expose(rng, avalanches, physics)
            for pixel in np.ndindex(avalanches.shape):
                seen = avalanches[pixel]
                counts[image][pixel] += seen % (physics.full + 1) if physics.wraps else min(seen, physics.full)


@njit
def expose(rng, avalanches, physics):
    """Avalanches of each pixel in one frame, (H, W). All that may fire a pixel waits in one queue, by time; when its
    turn comes the pixel is armed or blind.

    A pixel has one photon in the queue: those that come while it is blind change nothing and are never drawn. It may
    have any number of filled traps.
    """
    avalanches[:] = 0
    armed = np.zeros(avalanches.shape)  # since when, or from when on
    queue = [(0.0, 0, 0, PHOTON) for _ in range(0)]  # empty, but of a known type
    for row, column in np.ndindex(avalanches.shape):
        schedule_photon(rng, queue, 0.0, row, column, physics)
    while len(queue):
        time, row, column, cause = heapq.heappop(queue)
        if time >= armed[row, column]:
            avalanches[row, column] += 1
            armed[row, column] = time + physics.dead_time
            spread(rng, queue, time, row, column, physics)
        if cause == PHOTON:
            schedule_photon(rng, queue, max(time, armed[row, column]), row, column, physics)


@njit
def schedule_photon(rng, queue, armed, row, column, physics):
    if physics.rate[row, column] > 0:
        schedule(queue, armed + rng.exponential() / physics.rate[row, column], row, column, PHOTON, physics)


@njit
def spread(rng, queue, time, row, column, physics):
    """What an avalanche sets off: perhaps a trap of its own pixel, later; perhaps neighbours, at once."""
    if rng.random() < physics.afterpulse:
        schedule(queue, time + rng.exponential() * physics.lifetime, row, column, TRAP, physics)
    to = next_fired(rng, physics.spared, 0)
    while to < physics.spared.size:
        down, right = row + physics.places[to, 0], column + physics.places[to, 1]
        if 0 <= down < physics.rate.shape[0] and 0 <= right < physics.rate.shape[1]:
            schedule(queue, time, down, right, NEIGHBOUR, physics)
        to = next_fired(rng, physics.spared, to + 1)


@njit
def schedule(queue, time, row, column, cause, physics):
    if time < physics.count_time:
        heapq.heappush(queue, (time, row, column, cause))
