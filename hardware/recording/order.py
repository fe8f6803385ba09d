"""The order of a recording, its progress, and the images on their way from the camera's thread to the disk's."""

import queue
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Protocol

from hardware.camera import Block
from hardware.settings import Settings


@dataclass(frozen=True)
class Order:
    """The order of a recording: what is to be recorded, and for how long.

    Attributes:
        path: the capture file, which must not exist yet.
        settings: the settings asked of the camera.
        images: how many images; None records without end.
        seconds: for how long; None records without end.
        image_key: 0 scene, 1 flat, 2 dark.
        compression: a name in `nexus_tree.COMPRESSIONS`.
        reconnect: open a camera that fails again, after waits that grow.
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
    """The state of a recording that is under way or has ended.

    Attributes:
        images: images written and flushed.
        acquired: images of the camera from the first to the last that were taken for it, with those lost between.
        lost: images lost by the camera, as far as known.
        unknown: gaps of unknown length; the time between two connections to a camera is one.
        saturated: share of counts at the saturation value.
        seconds: time from the first image to the last.
        waiting: images on their way to the disk.
        disk: free bytes of the disk.
        failure: why the recording is not what was ordered; empty if it is.
    """

    images: int = 0
    acquired: int = 0
    lost: int = 0
    unknown: int = 0
    saturated: float = 0.0
    seconds: float = 0.0
    waiting: int = 0
    disk: int = 0
    failure: str = ""

    @property
    def whole(self) -> bool:
        """Whether all that was ordered is in the file, and no image is known to be lost."""
        return not (self.failure or self.lost)


class Onlooker(Protocol):
    """An observer that sees the images of a recording on their way to the disk."""

    def begin(self, applied: Settings) -> None:
        """Called once, before the first image. Raises InputError where it cannot use images with these settings."""

    def see(self, block: Block) -> None:
        """Called with every block that is recorded.

        It runs in the camera's thread: it must be quick, wait for nothing, raise nothing, and not change the counts.
        """


class Pipe:
    """A queue of blocks from the camera's thread to the disk's.

    Attributes:
        ending: set when no more images are wanted.
        done: set when the last image is written.
        interrupted: whether the user interrupted the recording.
        failure: how the camera failed, or that the disk was too slow; empty if neither.
    """

    def __init__(self) -> None:
        self._blocks: queue.SimpleQueue[Block | None] = queue.SimpleQueue()  # None is the end
        # Each of these numbers is written by one thread only, so that they need no lock.
        self._put_bytes = self._put_images = self._taken_bytes = self._taken_images = 0
        self.ending, self.done = Event(), Event()
        self.interrupted, self.failure = False, ""

    def put(self, block: Block) -> None:
        """Adds a block."""
        self._put_bytes += block.counts.nbytes
        self._put_images += len(block.counts)
        self._blocks.put(block)

    def close(self) -> None:
        """Says that no block follows."""
        self._blocks.put(None)

    def take(self) -> Block | None:
        """The next block, waited for; None after the last."""
        block = self._blocks.get()
        if block is not None:
            self._taken_bytes += block.counts.nbytes
            self._taken_images += len(block.counts)
        return block

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the counts that wait."""
        return self._put_bytes - self._taken_bytes

    @property
    def waiting_images(self) -> int:
        """Number of images that wait."""
        return self._put_images - self._taken_images
