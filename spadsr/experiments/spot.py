"""The spot of an oscilloscope: whether it is found, and where, against the length of the exposure."""

from functools import partial

import numpy as np
import torch

from noise_model.arrays import Picture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments.experiment import Measure, Row, Task
from spadsr.experiments.moving import FRAME, answers, counted

SHAPE, SCALE = (64, 32), 4
FIGURES, WIDTH = 100.0, 0.7  # 1/s; standard deviation, native pixels
WHITE = 0.7  # detections a frame
REACH = 2.0  # native pixels within which a spot is found

FOUND = Measure("spots found", tie=0.1)
PLACE = Measure("place rms", "native pixels", tie=0.1, more=False)

_REPEATS = 32
_MOST_FRAMES = 64  # beyond, the spot is a line
_NEAR = 2.5  # native pixels around the brightest one

_Y, _X = (np.mgrid[: SHAPE[0] * SCALE, : SHAPE[1] * SCALE] + 0.5) / SCALE


def place_at(time: float) -> tuple[float, float]:
    """Row and column of the spot, native pixels: a figure of Lissajous."""
    phase = 2 * np.pi * FIGURES * time
    return 32 + 24 * float(np.sin(2 * phase)), 16 + 11 * float(np.sin(3 * phase + 0.5))


def spot(start: float, time: float) -> Picture:
    """A bright spot on a dark ground, at `start` + `time`, s."""
    row, column = place_at(start + time)
    return np.asarray(0.02 + 0.98 * np.exp(-((_Y - row) ** 2 + (_X - column) ** 2) / 2 / WIDTH**2), np.float32)


def centre_of(picture: Picture) -> tuple[float, float]:
    """Row and column, native pixels: the centre of mass, above the median, around the brightest pixel."""
    light = np.maximum(picture - np.median(picture), 0).astype(np.float64)
    row, column = np.unravel_index(int(light.argmax()), light.shape)
    near = light * (np.hypot(_Y - _Y[row, 0], _X - _X[0, column]) < _NEAR)
    total = max(float(near.sum()), 1e-30)
    return float((near * _Y).sum() / total), float((near * _X).sum() / total)


def spots(task: Task, frames: int, starts: np.random.Generator, draws: torch.Generator) -> list[Row]:
    """The figures of every method of spots at random times; none where exposures are so long that they are lines."""
    if frames > _MOST_FRAMES:
        return []
    model = ForwardModel(Sensor.load("spad512").uniform(SHAPE), Exposure(FRAME, frames))
    times = starts.uniform(0, 1 / FIGURES, _REPEATS).tolist()
    counts = [counted(partial(spot, time), WHITE, model, SCALE, draws)[0] for time in times]
    truth, rows = np.array([place_at(time) for time in times]), []
    for method, pictures in answers(task.methods(slow=False), counts, model, SCALE, WHITE).items():
        off = np.hypot(*(np.array([centre_of(picture) for picture in pictures]) - truth).T)
        near = off[off < REACH]
        place = {PLACE: float(np.sqrt(np.mean(near**2)))} if 2 * near.size > _REPEATS else {}  # of those easily found
        rows.append(Row(frames, method, {FOUND: near.size / _REPEATS, **place}, "spot"))
    return rows
