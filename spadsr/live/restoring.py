"""Restoring the newest sum in a process of its own: whatever becomes of it, the raw view and recordings go on."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.interrupts import ignore_signals
from noise_model.sensor import Sensor
from spadsr.live.newest import Sum

#: The process runs at this lower priority, where the system has such, so that the camera comes first.
NICENESS = 5


@dataclass(frozen=True)
class RestoringOrder:
    """How sums are to be restored.

    Attributes:
        scale: resolution of the picture over that of the sensor.
        weights: a weight file or the name of shipped weights; None takes the usual ones.
        device: cpu or cuda.
        sensor: the sensor that takes the images; None takes the ideal one that their settings describe.
        pixel_mask: (H, W), nonzero where a pixel is not to be used; None for none.
    """

    scale: int = 4
    weights: Path | None = None
    device: str = "cpu"
    sensor: Sensor | None = None
    pixel_mask: NDArray[np.uint32] | None = None


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


class Restoring:
    """A process that restores the newest sum, again and again, and the thread that serves it.

    Args:
        show: called with every answer, in a thread of its own.
        fail: called with one line when the process ended or cannot restore, in a thread of its own.

    Attributes:
        pictures, images: how many sums were restored, and how many images of the camera were in them.
    """

    def __init__(self, show: Callable[[Answer], None], fail: Callable[[str], None]) -> None:
        self._show, self._fail = show, fail
        self._wake = threading.Condition()
        self._newest: Sum | None = None
        self._order: RestoringOrder | None = None
        self._process: Any = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self.pictures = self.images = 0

    @property
    def running(self) -> bool:
        """Whether sums are restored."""
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """Number of the process, where there is one."""
        return self._process.pid if self._process is not None else None

    def start(self, order: RestoringOrder) -> None:
        """Begins to restore so, in place of what was going on."""
        self.stop()
        context = multiprocessing.get_context("spawn")  # a fork would share the threads' locks
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_restore, args=(theirs, order), daemon=True)
        self._process.start()
        theirs.close()  # the process has its own end: when it dies, ours is told
        self._closing, self._newest = False, None
        self._thread = threading.Thread(target=self._serve, args=(ours,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the process."""
        if self._process is None or self._thread is None:
            return
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._process.kill()
        self._process.join()
        self._thread.join()
        self._process = self._thread = None

    def offer(self, newest: Sum) -> None:
        """Makes a sum the newest; returns at once."""
        with self._wake:
            self._newest = newest
            self._wake.notify()

    def _serve(self, process: Connection) -> None:
        """Hands the newest sum to the process, and its answer on, until the process ends."""
        try:
            self._check(process.recv())
            while (newest := self._next()) is not None:
                process.send(newest)
                answer = process.recv()
                self._check(answer)
                self.pictures += 1
                self.images += newest.images if newest.live else 0
                self._show(answer)
        except InputError as error:
            self._fail(str(error))
        except (EOFError, OSError):
            if not self._closing:
                self._fail("the process that restores ended unexpectedly; the recorded images go on")
        finally:
            process.close()

    def _next(self) -> Sum | None:
        with self._wake:
            while self._newest is None and not self._closing:
                self._wake.wait()
            newest, self._newest = self._newest, None
        return None if self._closing else newest

    @staticmethod
    def _check(said: object) -> None:
        if isinstance(said, str) and said:
            raise InputError(said)


def _restore(server: Connection, order: RestoringOrder) -> None:
    """The process: says that it is ready with an empty line, then answers every sum; a line is why it ends."""
    ignore_signals()  # they are for the server to handle
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with suppress(EOFError, OSError):  # the server is gone
        try:
            restore = _restorer(order)
            server.send("")
            while True:
                server.send(restore(server.recv()))
        except (EOFError, OSError):
            raise
        except Exception as error:  # of whatever kind: the page says it
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            server.send(f"nothing is restored: {reason}")


def _restorer(order: RestoringOrder) -> Callable[[Sum], Answer]:
    """Loads the weights, and gives the function that restores."""
    import torch

    from hardware.captures.in_memory import capture_in_memory
    from noise_model.forward_model import ForwardModel
    from spadsr.restoration.chosen_sensor import sensor_of
    from spadsr.restoration.training_range import TrainingRange
    from spadsr.restoration.weights import load_restorer

    torch.set_num_threads(1)
    restorer = load_restorer(order.weights, order.device)

    def restore(newest: Sum) -> Answer:
        began = time.perf_counter()
        capture = capture_in_memory(Path("live"), newest.counts[None], newest.settings, order.pixel_mask)
        sensor, warnings = sensor_of(capture, order.sensor)
        image = torch.from_numpy(newest.counts[None].astype(np.int64))
        model = ForwardModel(sensor, newest.settings.exposure)
        rate, uncertainty, _ = restorer.answer(image, model, order.scale)
        answer, spread = rate[0].cpu().numpy(), uncertainty[0].cpu().numpy()
        taken = 1e3 * (time.perf_counter() - began)
        seen = TrainingRange(restorer, model, order.sensor is not None and order.sensor.measured)
        seen.add(newest.counts[None])
        return Answer(answer, spread, newest, taken, (*warnings, *map(str, seen.warnings())))

    return restore
