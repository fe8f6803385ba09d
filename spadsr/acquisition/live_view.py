"""Restoring the newest image while recording, without slowing the recorder down."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block, Camera
from hardware.settings import Settings
from noise_model.errors import InputError
from spadsr.acquisition.live_mailbox import Mailbox
from spadsr.acquisition.live_painter import READY, LiveOrder, paint

#: s that the process has for a last picture after the recording; s between two looks whether it is ready.
FAREWELL, PATIENCE = 10.0, 0.1


@dataclass(frozen=True)
class LiveCount:
    """How many images of a recording were restored live so far; `restored` and `skipped` add up to all images.

    Attributes:
        pictures: number of pictures made.
        restored: number of images in these pictures.
        skipped: number of images in none of them.
    """

    pictures: int = 0
    restored: int = 0
    skipped: int = 0


class LiveView:
    """Restores the newest image of a recording in a process of its own; an `Onlooker`, and a context manager.

    The process asks for an image when it is free, and takes those next recorded; all others are skipped. Nothing waits
    for it: whatever becomes of it, the recording goes on.

    Args:
        camera: opened already.
        say: called with what the user should know, once each: warnings, and that the process failed.
    """

    def __init__(self, order: LiveOrder, camera: Camera, say: Callable[[str], None]) -> None:
        if order.images < 1:
            raise InputError(f"sum of {order.images} images: expected 1 or more", "sum")
        context = multiprocessing.get_context("spawn")  # a fork would share the threads' locks
        self._order, self._say = order, say
        self._mailbox = Mailbox(context, camera.shape)
        self._painter, painters = context.Pipe()
        self._process = context.Process(
            target=paint, args=(order, self._mailbox, camera.pixel_mask, painters), daemon=True
        )
        self._painters = painters
        self._total: NDArray[np.uint32] = np.zeros(camera.shape, np.uint32)
        self._added = self._seen = 0
        self._alive = True

    def __enter__(self) -> Self:
        self._process.start()
        self._painters.close()  # the process has its own end: it alone keeps the connection open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the process; after a recording without error it may finish its picture first, for a while."""
        try:
            if kind is None:
                self._tell(None)
                self._process.join(FAREWELL)
                self.look()
        finally:
            self._alive = False
            self._process.kill()
            self._process.join()
            self._painter.close()

    def begin(self, applied: Settings) -> None:
        """Waits until the process is ready, so that the first images are not missed.

        Raises:
            InputError: it cannot restore such images, or sums of them.
        """
        if applied.saturation_value * self._order.images >= 1 << 32:
            raise InputError(f"sums of {self._order.images} images would exceed 32-bit counts; sum fewer images", "sum")
        self._tell(applied)
        while not self._painter.poll(PATIENCE):
            pass
        try:
            answer = self._painter.recv()
        except (EOFError, OSError):
            answer = "nothing is restored live: the process that restores could not be started"
        if answer != READY:
            raise InputError(answer)

    def see(self, block: Block) -> None:
        """Adds up images, if the process asked for some: the newest, and those that come next."""
        self._seen += len(block.counts)
        if not self._mailbox.wanted:
            return
        start = 0 if self._added else max(0, len(block.counts) - self._order.images)
        newest = block.counts[start : start + self._order.images - self._added]
        self._total += newest.sum(axis=0, dtype=np.uint32)
        self._added += len(newest)
        if self._added == self._order.images:
            self._mailbox.put(self._total, block.first + start + len(newest) - 1)
            self._total[:] = 0
            self._added = 0

    def look(self) -> LiveCount:
        """How many images were restored so far; passes on what the process has told since."""
        if self._alive:
            self._listen()
        pictures = self._mailbox.done
        restored = pictures * self._order.images
        return LiveCount(pictures, restored, max(0, self._seen - restored))

    def _listen(self) -> None:
        try:
            while self._painter.poll():
                self._say(self._painter.recv())
        except (EOFError, OSError):  # ended: as it was told to, after an error it told, or killed
            self._alive = False
            self._process.join()
            if self._process.exitcode:
                self._say(f"restoring ended unexpectedly (exit code {self._process.exitcode}); the recording goes on")

    def _tell(self, settings: Settings | None) -> None:
        with suppress(OSError):  # it is gone, which `look` says
            self._painter.send(settings)
