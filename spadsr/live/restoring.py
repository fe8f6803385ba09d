"""Restoring the newest sum in a process of its own: whatever becomes of it, the raw view and recordings go on."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from noise_model.errors import InputError
from noise_model.interrupts import ignored_signals
from spadsr.live.newest import Sum
from spadsr.live.restorer import Answer, RestoringOrder, restore_for

#: s between two looks whether the scene moves within the sum.
MOTION_PERIOD = 0.5


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
        self._looked = 0.0
        self.pictures = self.images = 0

    def order(self, order: RestoringOrder) -> None:
        """Restores so from the next sum on; starts the process where there is none."""
        with self._wake:
            self._order, self._newest = order, None
            self._wake.notify()
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def stop(self) -> None:
        """Ends the process."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._process is not None and self._thread is not None:
            self._process.kill()
            self._process.join()
            self._thread.join()
        self._process = self._thread = None

    def offer(self, newest: Sum) -> None:
        """Makes a sum the newest; returns at once."""
        with self._wake:
            self._newest = newest
            self._wake.notify()

    def _start(self) -> None:
        self.stop()
        context = multiprocessing.get_context("spawn")  # a fork would share the threads' locks
        ours, theirs = context.Pipe()
        self._process = context.Process(target=restore_for, args=(theirs,), daemon=True)
        with ignored_signals():
            self._process.start()
        theirs.close()  # the process has its own end: when it dies, ours is told
        self._closing = False
        self._thread = threading.Thread(target=self._serve, args=(ours,), daemon=True)
        self._thread.start()

    def _serve(self, process: Connection) -> None:
        """Hands orders and the newest sum to the process, and its answers on, until the process ends."""
        known: RestoringOrder | None = None
        try:
            while (work := self._next(known)) is not None:
                process.send(work)
                said = process.recv()
                if isinstance(said, str):
                    raise InputError(said)
                if isinstance(work, RestoringOrder):
                    known = work
                elif self._order is known:  # else the answer is to an order of the past
                    self.pictures += 1
                    self.images += work.images if work.live else 0
                    self._show(said)
        except InputError as error:
            self._fail(str(error))
        except (EOFError, OSError):
            if not self._closing:
                self._fail("the process that restores ended unexpectedly; the recorded images go on")
        finally:
            process.close()

    def _next(self, known: RestoringOrder | None) -> RestoringOrder | Sum | None:
        """An order that the process does not know, or the newest sum, waited for; None at the end."""
        with self._wake:
            while not (self._closing or self._order is not known or self._newest is not None):
                self._wake.wait()
            if self._closing or self._order is not known:
                return None if self._closing else self._order
            newest, self._newest = self._newest, None
        now = time.monotonic()
        if newest is None or now - self._looked > MOTION_PERIOD:
            self._looked = now
            return newest
        return replace(newest, blocks=None)  # they are many bytes
