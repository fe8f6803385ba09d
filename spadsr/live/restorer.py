"""What the process that restores does: a network, an order, and an answer for every sum."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import numpy as np
import torch
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.interrupts import ignore_signals
from noise_model.sensor import Sensor
from spadsr.live.corrections import Corrections
from spadsr.live.newest import BLOCKS, Sum
from spadsr.motion.blocks import Blocks
from spadsr.motion.changes import change_within
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.training_range import TrainingRange
from spadsr.restoration.weights import load_restorer

#: The process runs at this lower priority, where the system has such, so that the camera comes first.
NICENESS = 5


@dataclass(frozen=True)
class RestoringOrder:
    """How sums are to be restored.

    Attributes:
        scale: resolution of the picture over that of the sensor.
        weights: a weight file or the name of shipped weights.
        device: cpu or cuda.
        corrections: what is known of the sensor.
    """

    scale: int
    weights: str
    device: str = "cpu"
    corrections: Corrections = field(default_factory=Corrections)


@dataclass(frozen=True)
class Answer:
    """A restored sum.

    Attributes:
        rate, uncertainty: (s H, s W) float32, counts/s.
        of: the sum that was restored.
        milliseconds: how long it took.
        warnings: what the user should know about it.
    """

    rate: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    of: Sum
    milliseconds: float
    warnings: tuple[str, ...]


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


def restore_for(server: Connection) -> None:
    """The process that restores: answers every sum by the last order; a line is why it ends."""
    ignore_signals()  # they are for the server to handle
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with suppress(EOFError, OSError):  # the server is gone
        try:
            restorer = LiveRestorer()
            while True:
                said = server.recv()
                if isinstance(said, RestoringOrder):
                    restorer.obey(said)
                    server.send(None)
                else:
                    server.send(restorer.answer(said))
        except (EOFError, OSError):
            raise
        except Exception as error:  # of whatever kind: the page says it
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            server.send(f"nothing is restored: {reason}")
