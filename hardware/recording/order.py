"""What the threads of a recorder share: the order, how far it is, and the images between camera and disk."""

import queue
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

from hardware.camera import Block
from hardware.settings import Settings


@dataclass(frozen=True)
class Order:
    """What is to be recorded.

    Attributes:
        path: the capture file, which must not be there yet.
        settings: asked of the camera.
        images: how many; None without end.
        seconds: for how long; None without end.
        image_key: 0 scene, 1 flat, 2 dark.
        compression: a name in `tree.COMPRESSIONS`.
        reconnect: a camera that fails is opened again, with more and more time in between.
        notes: further notes for the file.
    """

    path: Path
    settings: Settings
    images: int | None = None
    seconds: float | None = None
    image_key: int = 0
    compression: str = "none"
    reconnect: bool = False
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How a recording goes, or how it ended.

    Attributes:
        images: written and flushed.
        lost: by the camera, as far as known.
        unknown: gaps of unknown length; the time without camera between two connections is one.
        saturated: share of counts at the saturation value.
        seconds: from the first image to the last.
        waiting: images on their way to the disk.
        disk: free bytes.
        failure: why the recording is not what was ordered; empty if it is.
    """

    images: int = 0
    lost: int = 0
    unknown: int = 0
    saturated: float = 0.0
    seconds: float = 0.0
    waiting: int = 0
    disk: int = 0
    failure: str = ""

    @property
    def whole(self) -> bool:
        """All that was ordered is in the file, and no image is known to be lost."""
        return not (self.failure or self.lost)


class Onlooker(Protocol):
    """Sees the images on their way to the disk."""

    def begin(self, applied: Settings) -> None:
        """Called once, before the first image. Raises InputError where such images are of no use to it."""

    def see(self, block: Block) -> None:
        """Called with every block that is recorded, in the camera's thread: it must be quick, wait for nothing, raise
        nothing, and leave the counts as they are."""


class Pipe:
    """Blocks between two threads, in order; None is the end. Each count is written by one thread only.

    Attributes:
        ending: no more images are wanted.
        done: the last one is written.
        interrupted: by the user.
        failure: of the camera, or an overrun.
    """

    def __init__(self) -> None:
        self._blocks: queue.SimpleQueue[Block | None] = queue.SimpleQueue()
        self._put_bytes = self._put_images = self._taken_bytes = self._taken_images = 0
        self.ending, self.done = Event(), Event()
        self.interrupted, self.failure = False, ""

    def put(self, block: Block) -> None:
        """One more."""
        self._put_bytes += block.counts.nbytes
        self._put_images += len(block.counts)
        self._blocks.put(block)

    def close(self) -> None:
        """No more."""
        self._blocks.put(None)

    def take(self) -> Block | None:
        """The next one, waited for; None after the last."""
        block = self._blocks.get()
        if block is not None:
            self._taken_bytes += block.counts.nbytes
            self._taken_images += len(block.counts)
        return block

    @property
    def waiting_bytes(self) -> int:
        """Of counts that wait."""
        return self._put_bytes - self._taken_bytes

    @property
    def waiting_images(self) -> int:
        """Images that wait."""
        return self._put_images - self._taken_images
