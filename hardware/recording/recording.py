"""One recording of a running camera: its thread takes blocks, and another writes them to the file."""

import math
import time
from dataclasses import replace
from threading import Thread

from hardware.camera import Block, Camera, smallest_dtype
from hardware.hdf5.nexus_tree import unfinished_name
from hardware.recording.disk_side import DiskSide
from hardware.recording.order import Order, Pipe, Progress
from hardware.settings import Settings
from noise_model.files import require_room

#: The most bytes of counts that may wait for the disk.
QUEUE_BYTES = 1 << 28
#: s between two looks whether a camera that waits may go on.
PAUSE = 0.005


class Recording:
    """A recording from its order to its end.

    Args:
        camera: open and configured.
        applied: the settings that the camera applied.
        under_way: the camera runs already; the recording then begins with the first image that began after the order.

    Raises:
        InputError: the file is there already, or the disk has no room for the images ordered.

    Attributes:
        order: what is recorded.
    """

    def __init__(self, camera: Camera, applied: Settings, order: Order, under_way: bool) -> None:
        unfinished_name(order.path)
        if order.images is not None and order.compression == "none":
            pixels = math.prod(camera.shape) * smallest_dtype(applied.saturation_value).itemsize
            require_room(order.path, order.images * pixels)
        self.order = order
        self._camera, self._pipe, self._left = camera, Pipe(), order.images
        self._disk = DiskSide(camera, applied, order, self._pipe)
        self._thread = Thread(target=self._disk.run, daemon=True)
        self._not_before = time.monotonic() if under_way else None
        self._began, self._first_time = time.monotonic(), 0.0
        self._thread.start()

    @property
    def over_at(self) -> float:
        """When the recording has lasted for as long as was ordered, by `time.monotonic()`; inf for any length."""
        return math.inf if self.order.seconds is None else (self._first_time or self._began) + self.order.seconds

    # The camera's side

    def take(self, block: Block) -> bool:
        """Takes a block on its way to the disk, in the camera's thread. Returns whether more is wanted."""
        if self._pipe.ending.is_set():
            return False
        part = self._ordered(block)
        if part is None:
            return True
        self._first_time = self._first_time or part.host_time - len(part.counts) * part.period
        if not self._room():
            self._pipe.failure = (
                f"overrun: the disk does not follow; images from number {part.first} on are not recorded;"
                " use a faster disk, or fewer images a second"
            )
            return False
        if self._left is not None:
            part = replace(part, counts=part.counts[: self._left])
            self._left -= len(part.counts)
        self._pipe.put(part)
        return not (part.host_time >= self.over_at or self._left == 0 or self._pipe.ending.is_set())

    def close(self, failure: str = "") -> None:
        """Says that no block follows, and why if that is not as ordered; in the camera's thread."""
        self._pipe.failure = self._pipe.failure or failure
        self._pipe.close()

    def _ordered(self, block: Block) -> Block | None:
        """What of a block began after the order; None where all of it is older."""
        if self._not_before is None:
            return block
        began = block.host_time - len(block.counts) * block.period
        old = max(0, -int((began - self._not_before) // block.period)) if began < self._not_before else 0
        if old >= len(block.counts):
            return None
        self._not_before = None
        return replace(block, counts=block.counts[old:], first=block.first + old, lost=0, lost_known=True)

    def _room(self) -> bool:
        while self._camera.waits and self._pipe.waiting_bytes > QUEUE_BYTES and not self._pipe.ending.is_set():
            time.sleep(PAUSE)
        return self._pipe.waiting_bytes <= QUEUE_BYTES

    # The user's side

    def end(self) -> None:
        """Wants no more images, by the user's word; those on their way are still written."""
        self._pipe.interrupted = True
        self._pipe.ending.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the file is closed, for so long at most; returns whether it is."""
        return self._pipe.done.wait(seconds)

    @property
    def running(self) -> bool:
        """Whether the file is still being written."""
        return not self._pipe.done.is_set()

    def progress(self) -> Progress:
        """The state of the recording."""
        return self._disk.progress()

    def outcome(self) -> Progress:
        """Waits until the file is closed, and returns the state at the end.

        Raises:
            InputError: nothing could be recorded.
        """
        self.wait()
        if self._disk.error is not None:
            raise self._disk.error
        return self._disk.progress()
