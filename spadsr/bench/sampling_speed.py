"""Speed of sampling counts, beside bare random numbers in the same run, so that the load of the machine cancels out."""

import math
import runpy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.kernels import fill_random
from noise_model.sensor import Exposure, Sensor
from noise_model.tables import part, parts
from simulate.workers import one_thread
from spadsr.bench.timing import interleaved, timed

#: (photons a pixel in a frame (H, W), frames, random numbers) -> summed counts (H, W): another program's sampler.
Generator = Callable[[NDArray[np.float64], int, np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class SamplingSpeed:
    """Counts per second of one exposure, with all effects, and of bare numpy Poisson numbers of the same means.

    Attributes:
        shape: (images, H, W) drawn at once.
        frames: summed into an image.
        tables_seconds, tables_megabytes: time and size of the tables, made once for all images of an exposure.
        others_per_second: counts/s of another generator of such images, where one is given.
    """

    array: str
    shape: tuple[int, ...]
    frames: int
    counts_per_second: float
    numpy_per_second: float
    tables_seconds: float
    tables_megabytes: float
    others_per_second: float | None = None

    @property
    def ratio(self) -> float:
        return self.counts_per_second / self.numpy_per_second


def bench_simulate(other: Generator | None = None) -> Iterator[SamplingSpeed]:
    """Samples binary and counting arrays of 64x32 and 512x512 on one thread, with every effect of the preset sensors.

    A white pixel detects 0.2 photons in a binary frame, and 10 in a counting one of 10.4 us.
    """
    spc3, spad512 = Sensor.load("spc3"), Sensor.load("spad512")
    gated = replace(spc3, name="spc3, gated", counter_bits=1, dead_time=0.0)
    large = replace(spc3.uniform((512, 512)), name="spc3, enlarged")
    for sensor, count_time, white in (
        (gated, 1e-6, 0.2),
        (spc3, 10.4e-6, 10.0),
        (spad512, 10e-6, 0.2),
        (large, 10.4e-6, 10.0),
    ):
        for frames in (1, 16, 256, 1000):
            with one_thread():  # numpy draws on one too
                speed = _sampling(ForwardModel(sensor, Exposure(count_time, frames)), white)
                if other is not None and sensor is gated:
                    speed = replace(speed, others_per_second=_others(other, sensor.shape, frames, white))
            yield speed


def bench_random_numbers() -> float:
    """64-bit random numbers a second on one thread, the upper limit of counts a second."""
    bits = np.empty(1 << 18, np.uint64)
    (seconds,) = interleaved(lambda: fill_random((np.uint64(1), np.uint64(2)), bits))
    return bits.size / seconds


def load_generator(path: Path) -> Generator:
    """The function `sample(photons, frames, rng)` of a Python file.

    Raises:
        InputError: it cannot be imported, or has no such function.
    """
    try:
        sample = runpy.run_path(str(path))["sample"]
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a generator ({reason}); expected sample(photons, frames, rng)") from error
    generator: Generator = sample
    return generator


def _sampling(model: ForwardModel, white: float) -> SamplingSpeed:
    sensor, exposure = model.sensor, model.exposure
    generator, bare = torch.Generator().manual_seed(0), np.random.default_rng(0)
    images = (1 << 20) // sensor.pde.numel()
    rate = torch.rand(images, *sensor.shape, generator=generator) * (2 * white / exposure.count_time)
    means = model.expected_counts(rate).double().numpy()
    tables_seconds, tables_megabytes = _tables(model)
    seconds = interleaved(
        lambda: model.sample(rate, generator),
        lambda: bare.poisson(means),
    )
    ours, numpys = (rate.numel() / each for each in seconds)
    shape = tuple(rate.shape)
    return SamplingSpeed(sensor.name, shape, exposure.most_cycles, ours, numpys, tables_seconds, tables_megabytes)


def _tables(model: ForwardModel) -> tuple[float, float]:
    """Seconds to make the tables anew, and their size in MB."""
    part.cache_clear()
    made, seconds = timed(lambda: list(parts(model.process, model.sensor.pde.device)))
    return seconds, sum(each.size for each in made) / 1e6


def _others(sample: Generator, shape: tuple[int, int], frames: int, white: float) -> float:
    """Counts a second of another generator, from one image."""
    rng = np.random.default_rng(0)
    photons = rng.random(shape) * 2 * white
    _, seconds = timed(lambda: sample(photons, frames, rng))
    return math.prod(shape) / seconds


def as_rows(measured: list[SamplingSpeed]) -> list[dict[str, object]]:
    """The speeds as plain data, for JSON."""
    return [asdict(each) for each in measured]
