"""What is known of the sensor in a live view: its file, a dark taken from the page, and hot pixels."""

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.camera import Block
from hardware.captures.capture import Capture
from hardware.captures.in_memory import capture_in_memory
from hardware.settings import Settings
from noise_model.forward_model import ForwardModel
from noise_model.sensor import NOISY, Exposure, Sensor
from spadsr.live.newest import Sum
from spadsr.restoration.chosen_sensor import sensor_of
from spadsr.restoration.hot_pixels import stands_out

#: A pixel of a dark is hot where it counts so many times as much as the median, and stands out of its neighbours.
HOT_TIMES = 5.0


@dataclass(frozen=True)
class Corrections:
    """What is known of the sensor, for the rates that are shown and restored.

    Attributes:
        sensor: the user's; None for the ideal one that the settings describe.
        own_mask: (H, W), the camera's mask of bad pixels; None where it has none.
        dark: (H, W) counts/s, subtracted; None for none.
        hot: (H, W) pixels that are left out as well; None for none.
    """

    sensor: Sensor | None = None
    own_mask: NDArray[np.uint32] | None = None
    dark: NDArray[np.float32] | None = None
    hot: NDArray[np.bool_] | None = None

    @property
    def calibrated(self) -> bool:
        """Whether maps of this very sensor are used."""
        return self.dark is not None or (self.sensor is not None and self.sensor.measured)

    def capture(self, shown: Sum) -> Capture:
        """A sum as a capture of one image, with all bad pixels masked."""
        mask = self.own_mask
        if self.hot is not None:
            noisy = np.where(self.hot, np.uint32(NOISY), np.uint32(0))
            mask = noisy if mask is None else mask | noisy
        return capture_in_memory(Path("live"), shown.counts[None], shown.settings, mask)

    def sensor_of(self, shown: Sum) -> tuple[Sensor, list[str]]:
        """The sensor that took a sum, a dark taken now in place of its map of dark count rates; and notes on it.

        Raises:
            InputError: the user's sensor is not of the kind or size that takes such images.
        """
        sensor, notes = sensor_of(self.capture(shown), self.sensor)
        if self.dark is not None:
            sensor = replace(sensor, dark_count_rate=torch.from_numpy(self.dark).clamp(min=0), measured=True)
        return sensor, notes


@dataclass(frozen=True)
class Average:
    """What an array counted in many images.

    Attributes:
        rate: (H, W) counts/s of each pixel, dead time and pile-up taken into account.
        hot: (H, W) pixels that count far more than their neighbours, and than half of all pixels do.
        images: how many.
    """

    rate: NDArray[np.float32]
    hot: NDArray[np.bool_]
    images: int


class Averaging:
    """Adds up the images of a while; an `Onlooker`.

    Args:
        seconds: how long.

    Attributes:
        done: set when it is over.
    """

    def __init__(self, seconds: float) -> None:
        self.done = Event()
        self._seconds, self._images, self._began = seconds, 0, 0.0
        self._settings: Settings | None = None
        self._total: NDArray[np.uint64] | None = None

    def begin(self, applied: Settings) -> None:
        """Notes the settings; a change of them starts anew."""
        self._settings, self._total, self._images, self._began = applied, None, 0, 0.0

    def see(self, block: Block) -> None:
        """Adds a block."""
        if self.done.is_set():
            return
        added = block.counts.sum(axis=0, dtype=np.uint64)
        self._total = added if self._total is None else self._total + added
        self._images += len(block.counts)
        self._began = self._began or block.host_time
        if block.host_time - self._began >= self._seconds:
            self.done.set()

    def result(self) -> Average:
        """The average, when it is done."""
        assert self._total is not None
        assert self._settings is not None
        ideal = capture_in_memory(Path("live"), self._total[None], self._settings, None).sensor
        model = ForwardModel(ideal, Exposure(self._settings.count_time, self._settings.cycles * self._images))
        rate, _ = model.detection_rate(torch.from_numpy(self._total.astype(np.float32)))
        return Average(np.asarray(rate, np.float32), _hot(self._total.astype(np.float64)), self._images)


def _hot(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
    alone = stands_out(counts, np.ones(counts.shape, np.bool_))
    return alone & (counts > HOT_TIMES * max(float(np.median(counts)), 1.0))
