"""What the process that restores does: a network, an order, and an answer for every sum."""

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.live.newest import BLOCKS, Sum
from spadsr.live.restoring import Answer, RestoringOrder
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import change_within
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.training_range import TrainingRange
from spadsr.restoration.weights import load_restorer


class LiveRestorer:
    """Restores sums by the last order."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._order: RestoringOrder | None = None
        self._restorer: Restorer | None = None
        self._motion: list[str] = []

    def obey(self, order: RestoringOrder) -> None:
        """Restores so from now on. Raises InputError where the weights or the device cannot be used."""
        before, self._order, self._motion = self._order, order, []
        if before is None or (before.weights, before.device) != (order.weights, order.device):
            self._restorer = load_restorer(order.weights, order.device)

    def answer(self, newest: Sum) -> Answer:
        """The restored sum. Raises InputError where the sensor is not of the kind or size that took it."""
        assert self._order is not None
        assert self._restorer is not None
        began = time.perf_counter()
        sensor, notes = self._order.corrections.sensor_of(newest)
        model = ForwardModel(sensor, newest.settings.exposure)
        counts = torch.from_numpy(newest.counts[None].astype(np.int64))
        rate, uncertainty, _ = self._restorer.answer(counts, model, self._order.scale)
        answer, spread = rate[0].cpu().numpy(), uncertainty[0].cpu().numpy()
        taken = 1e3 * (time.perf_counter() - began)
        seen = TrainingRange(self._restorer, model, self._order.corrections.calibrated)
        seen.add(newest.counts[None])
        if newest.blocks is not None:
            self._motion = _motion(newest, newest.blocks, sensor)
        warnings = (*self._motion, *notes, *map(str, seen.warnings()))
        return Answer(answer, spread, replace(newest, blocks=None), taken, warnings)


def _motion(newest: Sum, counts: NDArray[np.uint32], sensor: Sensor) -> list[str]:
    """Whether the scene moves within the sum, in words."""
    frames = newest.settings.cycles // newest.images * (newest.images // BLOCKS)
    blocks = Blocks.consecutive(counts, frames, sensor, newest.settings.count_time)
    change = change_within(blocks)
    return [change.sentence()] if change.moves else []
