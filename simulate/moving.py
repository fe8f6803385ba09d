"""Captures of an array that moves by parts of a pixel, its counts gathered on a grid finer than its pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Exposure


def sample_moving(
    model: ForwardModel, rates: Tensor, scale: int, path: list[tuple[float, float]], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random counts of an array that moves along a path, with every effect of the sensor, and the frames of each place.

    Its frames come in groups of equal numbers, one for each step of the path. Beyond its edges the scene is mirrored.

    Args:
        model: all pixels look in the same number of frames, a multiple of the steps.
        rates: (B, s H, s W) photon detection rate, counts/s per native pixel area.
        path: rows down and columns right, each from -0.5 to below 0.5 native pixels.
        generator: the only source of randomness, on the device of the rates.

    Returns:
        Counts (B, 4 H, 4 W) int32, and frames (4 H, 4 W) int64, 0 where no pixel looked.
    """
    height, width = model.sensor.shape
    frames = model.exposure.most_cycles // len(path)
    group = ForwardModel(model.sensor, Exposure(model.exposure.count_time, frames))
    margin = scale // 2 + 1
    seen = F.pad(rates[:, None], (margin,) * 4, mode="reflect")
    boxes = F.avg_pool2d(seen, scale, stride=1)[:, 0] if scale > 1 else seen[:, 0]
    counts = torch.zeros(len(rates), PLACES * height, PLACES * width, dtype=torch.int32, device=rates.device)
    cycles = torch.zeros(counts.shape[1:], dtype=torch.int64, device=rates.device)
    for step in path:
        place = [slice(int(PLACES * (0.5 + side)), None, PLACES) for side in step]
        native = _displaced(boxes, [margin + scale * side for side in step], scale, (height, width))
        counts[:, place[0], place[1]] += group.sample(native, generator)
        cycles[place[0], place[1]] += frames
    return counts, cycles


def _displaced(boxes: Tensor, start: list[float], scale: int, shape: tuple[int, int]) -> Tensor:
    """Rates of native pixels (B, H, W) that begin at `start`: exact where the scene is even within its own pixels."""
    (top, left), (down, right) = ([math.floor(side) for side in start], [side - math.floor(side) for side in start])

    def at(row: int, column: int) -> Tensor:
        ends = row + scale * (shape[0] - 1) + 1, column + scale * (shape[1] - 1) + 1
        return boxes[:, row : ends[0] : scale, column : ends[1] : scale]

    upper = torch.lerp(at(top, left), at(top, left + 1), right)
    return torch.lerp(upper, torch.lerp(at(top + 1, left), at(top + 1, left + 1), right), down)
