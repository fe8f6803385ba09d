"""Blocks: what an array counted in consecutive stretches of a recording, short enough for the scene to stand still."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Counts, Floats
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor


@dataclass(frozen=True, eq=False)
class Blocks:
    """The counts of G consecutive blocks of hardware frames, and the sensor that took them.

    Attributes:
        counts: (G, H, W) whole numbers.
        frames: (G,) int64, hardware frames in each block.
        times: (G,) increasing, the middle of each block in units of the whole recording, 0 at its centre.
        sensor: with maps (H, W) on the CPU, as far as known; its mask says which pixels are left out.
        count_time: s, of one hardware frame.
    """

    counts: Counts
    frames: NDArray[np.int64]
    times: Floats
    sensor: Sensor
    count_time: float

    @classmethod
    def consecutive(cls, counts: Counts, frames: int, sensor: Sensor, count_time: float) -> Self:
        """Blocks of equally many frames, without gaps between them.

        Raises:
            InputError: no blocks, no frames, or a sensor of another size.
        """
        if counts.ndim != 3 or counts.size == 0 or counts.shape[1:] != sensor.shape:
            raise InputError(f"counts {counts.shape}: expected blocks of {sensor.shape[0]} x {sensor.shape[1]} pixels")
        if frames < 1:
            raise InputError(f"blocks of {frames} frames: expected 1 or more")
        blocks = len(counts)
        times = (np.arange(blocks) + 0.5) / blocks - 0.5
        return cls(counts, np.full(blocks, frames, np.int64), times, sensor, count_time)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def good(self) -> NDArray[np.bool_]:
        """(H, W), pixels that are used."""
        return np.asarray(self.sensor.good.numpy())

    @property
    def flat(self) -> NDArray[np.int64]:
        """(G, H W), the counts as the inner loops want them."""
        return np.ascontiguousarray(self.counts, np.int64).reshape(len(self), -1)

    @property
    def mean(self) -> float:
        """Mean counts of a good pixel in one hardware frame."""
        total = self.counts.sum(axis=0, dtype=np.int64)[self.good]
        return float(total.mean() / self.frames.sum()) if total.size else 0.0

    @property
    def total(self) -> "Blocks":
        """All blocks as one."""
        return self.joined(len(self))

    def model(self, frames: int) -> ForwardModel:
        """The sensor in an exposure of so many hardware frames."""
        return ForwardModel(self.sensor, Exposure(self.count_time, frames))

    def joined(self, size: int) -> "Blocks":
        """The same frames in blocks `size` times as long; the last one takes what is left."""
        starts = np.arange(0, len(self), size)
        frames = np.add.reduceat(self.frames, starts)
        return replace(
            self,
            counts=np.add.reduceat(self.counts, starts, axis=0, dtype=np.int64),
            frames=frames,
            times=np.add.reduceat(self.times * self.frames, starts) / frames,
        )

    def only(self, which: slice | NDArray[Any]) -> "Blocks":
        """Some of the blocks."""
        return replace(self, counts=self.counts[which], frames=self.frames[which], times=self.times[which])

    def without(self, bad: NDArray[np.bool_]) -> "Blocks":
        """The same blocks, more pixels (H, W) masked."""
        import torch

        from noise_model.sensor import HOT

        mask = torch.zeros(self.sensor.shape, dtype=torch.int32)
        mask = mask if self.sensor.pixel_mask is None else self.sensor.pixel_mask.to(torch.int32)
        return replace(self, sensor=replace(self.sensor, pixel_mask=mask | torch.from_numpy(bad).int() * HOT))


def gain_of(sensor: Sensor) -> Floats:
    """(H, W), efficiency of each pixel over that of a mean one."""
    return np.asarray((sensor.pde / sensor.mean_pde).double().numpy())


def dark_of(sensor: Sensor, count_time: float) -> Floats:
    """(H, W), dark counts in a hardware frame."""
    return np.asarray(sensor.dark_count_rate.double().numpy() * count_time)
