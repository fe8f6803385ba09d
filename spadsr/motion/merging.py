"""Merging: every count goes whole to the cell of the scene that its pixel looked at, and so do the frames that looked.

Counts k and frames N of a cell stay whole numbers, and those of different cells independent: k is a sum of N frames
like any other. Nothing is interpolated.

Source: drizzle with drops of no size: Fruchter and Hook, PASP 114 (2002) 144; its usual drops correlate the noise.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.motion.blocks import Blocks, dark_of, gain_of
from spadsr.motion.kernels import Pixels, move_counts


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

    @property
    def typical(self) -> ForwardModel:
        """The sensor in an exposure of about as many frames as a cell that pixels looked at has in the mean.

        They are a power of two: laws of few numbers of frames are needed, and kept.
        """
        looked = self.frames[self.frames > 0]
        doubled = round(np.log2(looked.mean())) if looked.size else 0
        return ForwardModel(self.sensor, Exposure(self.count_time, 1 << doubled))

    @property
    def mean(self) -> float:
        """Mean counts in one hardware frame."""
        return float(self.counts.sum(dtype=np.int64) / max(self.frames.sum(dtype=np.int64), 1))

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
    good, (height, width) = blocks.good, blocks.sensor.shape
    row, column = np.nonzero(good)
    place = row.astype(np.float64) + 0.5 - height / 2, column.astype(np.float64) + 0.5 - width / 2
    gain, dark = gain_of(blocks.sensor), dark_of(blocks.sensor, blocks.count_time)
    return Pixels(*place, gain[good], dark[good], height, width)


def merge(blocks: Blocks, poses: Floats, scale: int = 1) -> Merged:
    """Merges the counts of good pixels on a grid `scale` times as fine as the array, by where their centres looked.

    Args:
        poses: (G, 3), where the array looked: rows down, columns right (native pixels), and radians about its centre.
    """
    pixels, good = pixels_of(blocks), blocks.good
    shape = (scale * pixels.height, scale * pixels.width)
    counts, frames = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    gains, darks = np.zeros(shape), np.zeros(shape)
    efficiency = blocks.sensor.pde.double().numpy()[good]
    own = np.ascontiguousarray(blocks.counts[:, good], np.int64)
    move_counts(
        own, blocks.frames, pixels, efficiency, np.ascontiguousarray(poses), scale, counts, frames, gains, darks
    )
    return merged_of(blocks, counts, frames, gains, darks, scale)


def merged_of(
    blocks: Blocks,
    counts: NDArray[np.int64],
    frames: NDArray[np.int64],
    gains: Floats,
    darks: Floats,
    scale: int,
) -> Merged:
    """Merged counts from the sums of a grid: of counts, of frames, and of efficiency and dark light times frames."""
    sensor = _merged_sensor(blocks, gains, darks, frames)
    return Merged(counts.astype(np.uint32), frames.astype(np.uint32), sensor, blocks.count_time, scale)


def _in_boxes(values: Floats, side: int) -> Floats:
    """(s H, s W) -> (H, W, s s)."""
    height, width = (size // side for size in values.shape)
    return values.reshape(height, side, width, side).transpose(0, 2, 1, 3).reshape(height, width, side**2)


def _merged_sensor(blocks: Blocks, gains: Floats, darks: Floats, frames: NDArray[np.int64]) -> Sensor:
    """The sensor with its maps as the merged counts saw them; like a mean one where no pixel looked."""
    looked, total = frames > 0, np.maximum(frames, 1)
    pde = np.where(looked, gains / total, float(blocks.sensor.pde.mean()))
    dark = np.where(looked, darks / total / blocks.count_time, float(blocks.sensor.dark_count_rate.median()))
    return replace(
        blocks.sensor,
        pde=torch.from_numpy(pde.astype(np.float32)),
        dark_count_rate=torch.from_numpy(dark.astype(np.float32)),
        pixel_mask=None,
    )
