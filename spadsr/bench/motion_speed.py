"""Speed of following a scene that moves, from counts to merged ones, beside restoring their plain sum."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.progress import Report, silent
from noise_model.sensor import Exposure, Sensor
from simulate.drawings import dead_leaves
from spadsr.bench.timing import interleaved
from spadsr.motion.blocks import Blocks
from spadsr.motion.following import follow
from spadsr.motion.merging import merge
from spadsr.motion.motion import Way
from spadsr.restoration.ahead import in_order
from spadsr.restoration.restorer import Restorer

_SHAPE, _BLOCKS, _FRAMES = (64, 32), 128, 16
_SUMS = 8  # of which a long recording has many more
_SCALE, _SHAKE, _MARGIN = 4, 4.0, 16  # native pixels: the shake; fine ones: the margin
_WHITE, _TIME = 0.1, 1e-5


@dataclass(frozen=True)
class MotionSpeed:
    """The speed of what is done with sums of 2,048 binary frames of 64x32 pixels, as of a long recording.

    Attributes:
        ratio: the time of restoring their plain sums at x4, over the time taken.
    """

    name: str
    frames_per_second: float
    ratio: float


def bench_motion(restorer: Restorer, progress: Report = silent) -> list[MotionSpeed]:
    """Measures, in turn, how fast counts of a shaken scene are restored, merged along a path, and swept.

    Sums are restored together, and as many followed at once as there are threads: so does `infer`.

    Args:
        progress: called with the number of runs done and that of all.
    """
    blocks = _shaken()
    plain = merge(blocks, np.zeros((len(blocks), 3)))
    counts = torch.from_numpy(plain.counts.astype(np.int64)).expand(_SUMS, -1, -1)
    model = replace(plain.model, exposure=Exposure(_TIME, int(blocks.frames.sum())))

    def each(way: Way) -> None:
        at_once = torch.get_num_threads()
        for _ in in_order(lambda some, report: follow(some, way, report), [blocks] * _SUMS, at_once):
            pass

    jobs = {
        "plain sums, restored": lambda: restorer.answer(counts, model, _SCALE),
        "path and merge": lambda: each("rigid"),
        "path and sweep": lambda: each("local"),
    }
    seconds = interleaved(*jobs.values(), progress=progress)
    frames = _SUMS * int(blocks.frames.sum())
    return [MotionSpeed(name, frames / taken, seconds[0] / taken) for name, taken in zip(jobs, seconds, strict=True)]


def _shaken() -> Blocks:
    """Counts of a drawing that a binary array sees along a path of slow waves."""
    size = [side * _SCALE + 2 * _MARGIN for side in _SHAPE]
    drawing = dead_leaves((size[0], size[1]), np.random.default_rng(1))
    boxes = cv2.boxFilter(drawing, -1, (_SCALE, _SCALE), anchor=(0, 0))
    rows, columns = (np.round(_MARGIN + _SCALE * _wave(seed)).astype(int) for seed in (0, 1))
    ends = [_SCALE * side for side in _SHAPE]
    light = np.stack(
        [boxes[i : i + ends[0] : _SCALE, j : j + ends[1] : _SCALE] for i, j in zip(rows, columns, strict=True)]
    )
    sensor = Sensor.load("spad512").uniform(_SHAPE)
    rates = torch.from_numpy(light * np.float32(_WHITE / _TIME))
    counts = ForwardModel(sensor, Exposure(_TIME, _FRAMES)).sample(rates, torch.Generator().manual_seed(0))
    return Blocks.consecutive(counts.numpy().astype(np.uint16), _FRAMES, sensor, _TIME)


def _wave(seed: int) -> Floats:
    rng, times = np.random.default_rng(seed), (np.arange(_BLOCKS) + 0.5) / _BLOCKS
    wave = sum(rng.normal() / f * np.sin(2 * np.pi * (f * times + rng.uniform())) for f in (1, 2, 3))
    return np.asarray(wave / np.ptp(wave) * _SHAKE)
