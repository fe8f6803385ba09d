"""Merging: every count goes whole to the cell of the scene that its pixel looked at, and so do the frames that looked.

Counts k and frames N of a cell stay whole numbers, and those of different cells independent: k is a sum of N frames
like any other. Nothing is interpolated.

Source: drizzle with drops of no size: Fruchter and Hook, PASP 114 (2002) 144; its usual drops correlate the noise.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.motion.blocks import Blocks, dark_of, gain_of
from spadsr.motion.kernels import Pixels, Sums, move_counts


@dataclass(frozen=True, eq=False)
class Merged:
    """Counts merged on a grid of the scene, s times as fine as the array.

    Attributes:
        counts, frames: (s H, s W) uint32, k and N of each cell; N is 0 where no pixel looked.
        sensor: with the means (s H, s W) of its maps over the pixels that looked at each cell, and no mask; its
            crosstalk is that between pixels.
        count_time: s, of one hardware frame.
        scale: s.
    """

    counts: NDArray[np.uint32]
    frames: NDArray[np.uint32]
    sensor: Sensor
    count_time: float
    scale: int

    @property
    def model(self) -> ForwardModel:
        """What the counts are restored with: the sensor in native pixels, and the frames of each cell.

        With 4 cells a side the cells are the places within pixels that a network makes phases of.
        """
        frames = torch.from_numpy(self.frames.astype(np.int64))
        return ForwardModel(self._in_pixels(), Exposure(self.count_time, frames))

    def _in_pixels(self) -> Sensor:
        """The sensor with its maps in native pixels, (H, W): means over those of their cells that looked."""
        looked = _in_boxes(self.frames.astype(np.float64), self.scale)
        weight = np.where(looked.sum(axis=-1, keepdims=True) > 0, looked, 1.0)
        pde, dark = (
            torch.from_numpy(np.average(_in_boxes(each.numpy(), self.scale), axis=-1, weights=weight)).float()
            for each in (self.sensor.pde, self.sensor.dark_count_rate)
        )
        return replace(self.sensor, pde=pde, dark_count_rate=dark)


def pixels_of(blocks: Blocks) -> Pixels:
    """The good pixels of an array, as the inner loops want them."""
    sensor = blocks.sensor
    return _pixels_of(sensor.pde, sensor.dark_count_rate, sensor.pixel_mask, blocks.count_time)


@lru_cache(maxsize=8)  # tensors are the same where they are one
def _pixels_of(pde: Tensor, dark_count_rate: Tensor, mask: Tensor | None, count_time: float) -> Pixels:
    sensor = Sensor("", pde, dark_count_rate, dead_time=0.0, counter_bits=1, pixel_mask=mask)
    good, (height, width) = sensor.good.numpy(), sensor.shape
    row, column = np.nonzero(good)
    centres = row.astype(np.float64) + 0.5 - height / 2, column.astype(np.float64) + 0.5 - width / 2
    gain, dark = gain_of(sensor)[good], dark_of(sensor, count_time)[good]
    return Pixels(*centres, np.flatnonzero(good), gain, dark, height, width)


def merge(blocks: Blocks, poses: Floats, scale: int = 1) -> Merged:
    """Merges the counts of good pixels on a grid `scale` times as fine as the array, by where their centres looked.

    Args:
        poses: (G, 3), where the array looked: rows down, columns right (native pixels), and radians about its centre.
    """
    return merged_of(blocks, summed(blocks, poses, scale), scale)


def summed(blocks: Blocks, poses: Floats, scale: int) -> Sums:
    """What the counts of good pixels add up to on a grid; arguments as of `merge`."""
    pixels = pixels_of(blocks)
    sums = no_sums((scale * pixels.height, scale * pixels.width))
    move_counts(blocks.flat, blocks.frames, pixels, np.ascontiguousarray(poses), scale, sums)
    return sums


def no_sums(shape: tuple[int, ...]) -> Sums:
    """A grid of so many cells, all empty."""
    return Sums(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape))


def merged_of(blocks: Blocks, sums: Sums, scale: int) -> Merged:
    """Merged counts from what the counts of blocks add up to."""
    sensor = _merged_sensor(blocks, sums)
    return Merged(sums.counts.astype(np.uint32), sums.frames.astype(np.uint32), sensor, blocks.count_time, scale)


def _in_boxes(values: Floats, side: int) -> Floats:
    """(s H, s W) -> (H, W, s s)."""
    height, width = (size // side for size in values.shape)
    return values.reshape(height, side, width, side).transpose(0, 2, 1, 3).reshape(height, width, side**2)


def _merged_sensor(blocks: Blocks, sums: Sums) -> Sensor:
    """The sensor with its maps as the merged counts saw them; like a mean one where no pixel looked."""
    looked, total = sums.frames > 0, np.maximum(sums.frames, 1)
    mean = float(blocks.sensor.mean_pde)
    pde = mean * np.where(looked, sums.gains / total, 1)
    dark = np.where(looked, sums.darks / total / blocks.count_time, float(blocks.sensor.dark_count_rate.median()))
    return replace(
        blocks.sensor,
        pde=torch.from_numpy(pde.astype(np.float32)),
        dark_count_rate=torch.from_numpy(dark.astype(np.float32)),
        pixel_mask=None,
    )
