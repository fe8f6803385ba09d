"""What is known of the sensor in a live view: its file, a dark taken from the page, and hot pixels."""

from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.camera import Block
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.restoration.hot_pixels import stands_out

#: A pixel of a dark is hot where it counts so many times as much as the median, and stands out of its neighbours.
HOT_TIMES = 5.0


@dataclass(frozen=True)
class Average:
    """Counts of many images added up, to take a dark or to find hot pixels.

    Attributes:
        total: (H, W) uint64.
        images: how many images are in it.
        settings: of one image.
    """

    total: NDArray[np.uint64]
    images: int
    settings: Settings

    def rate(self) -> NDArray[np.float32]:
        """(H, W) counts/s of each pixel, dead time and pile-up taken into account."""
        summed = replace(self.settings, cycles=self.settings.cycles * self.images, largest_count=None)
        model = ForwardModel(ideal_sensor(self.settings, self.total.shape), summed.exposure)
        return np.asarray(model.detection_rate(torch.from_numpy(self.total.astype(np.float32)))[0], np.float32)

    def hot(self) -> NDArray[np.bool_]:
        """(H, W) pixels that count far more than their neighbours, and than half of all pixels do."""
        counts = self.total.astype(np.float64)
        good = np.ones(counts.shape, np.bool_)
        return stands_out(counts, good) & (counts > HOT_TIMES * max(float(np.median(counts)), 1.0))


class Averaging:
    """Adds up the images of a while; an `Onlooker`.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._images, self._began = seconds, 0, 0.0
        self._settings: Settings | None = None
        self._total: NDArray[np.uint64] | None = None
        self._done = Event()

    def begin(self, applied: Settings) -> None:
        """Notes the settings; a change of them starts anew."""
        self._settings, self._total, self._images, self._began = applied, None, 0, 0.0

    def see(self, block: Block) -> None:
        """Adds a block."""
        if self._done.is_set():
            return
        added = block.counts.sum(axis=0, dtype=np.uint64)
        self._total = added if self._total is None else self._total + added
        self._images += len(block.counts)
        self._began = self._began or block.host_time
        if block.host_time - self._began >= self._seconds:
            self._done.set()

    def result(self, patience: float) -> Average:
        """The average, waited for. Raises InputError where no images come."""
        if not self._done.wait(patience) or self._total is None or self._settings is None:
            raise InputError("no images come from the camera; start it first")
        return Average(self._total, self._images, self._settings)


def ideal_sensor(settings: Settings, shape: tuple[int, ...]) -> Sensor:
    """The sensor that settings describe: even, and without dark counts."""
    return Sensor(
        "not calibrated",
        torch.ones(shape),
        torch.zeros(shape),
        settings.dead_time,
        settings.counter_bits,
        measured=False,
    )


def corrected_sensor(
    sensor: Sensor | None, settings: Settings, shape: tuple[int, int], dark: NDArray[np.float32] | None
) -> Sensor:
    """The sensor of the user, or the ideal one; a dark taken now takes the place of its map of dark count rates."""
    known = ideal_sensor(settings, shape) if sensor is None else sensor
    known = known if known.measured or sensor is None else known.uniform(shape)
    known = replace(known, dead_time=settings.dead_time, counter_bits=settings.counter_bits)
    return known if dark is None else replace(known, dark_count_rate=torch.from_numpy(dark).clamp(min=0), measured=True)
