"""The camera's side of a recording: takes images, ends it where the disk is too slow, reconnects a lost camera."""

import time
from contextlib import suppress
from dataclasses import replace

from hardware.camera import Block, Camera, CameraError
from hardware.recording.order import Onlooker, Order, Pipe
from hardware.settings import Settings
from noise_model.errors import InputError

#: The most bytes of counts that may wait for the disk.
QUEUE_BYTES = 1 << 28
#: Times in s: between two looks whether a camera that waits may go on, the first wait for a lost camera, the longest.
PAUSE, FIRST_WAIT, LONGEST_WAIT = 0.005, 0.25, 30.0
#: s without an image after which a lost camera is given up, whether or not it can be opened.
PATIENCE = 300.0


class CameraSide:
    """Takes blocks from a camera and puts them into a pipe; `run` is for a thread of its own.

    Args:
        camera: open and configured.
        applied: the settings that the camera applied.
        onlooker: shown every block.
    """

    def __init__(
        self, camera: Camera, applied: Settings, order: Order, pipe: Pipe, onlooker: Onlooker | None = None
    ) -> None:
        self._camera, self._applied, self._order, self._pipe = camera, applied, order, pipe
        self._onlooker = onlooker
        self._offset, self._next, self._left = 0, 0, order.images
        self._first_time = self._last_time = 0.0
        self._began = self._heard = time.monotonic()
        self._wait = FIRST_WAIT

    def run(self) -> None:
        """Takes images until there are enough, the recording ends, or the camera ends."""
        try:
            while not self._take_a_run():
                pass
        except Exception as error:  # whatever a driver raises must end in the file
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            self._pipe.failure = reason
        finally:
            self._pipe.close()

    def _take_a_run(self) -> bool:
        """Takes the images of one run of the camera. Returns whether the recording is at its end."""
        try:
            for block in self._camera.blocks():
                if not self._pass_on(self._numbered(block)):
                    self._camera.stop()
                    break
        except CameraError as error:
            if not self._order.reconnect:
                raise
            self._reach_again(error)
            return self._pipe.ending.is_set()
        return True

    def _numbered(self, block: Block) -> Block:
        """The block with indices from the start of the recording; images lost between two runs follow from the time."""
        if block.first == block.lost and self._next:
            missed = round((block.host_time - self._last_time) / block.period) - len(block.counts)
            self._offset = self._next + max(1, missed)
            first = self._offset + block.first
            return replace(block, first=first, lost=first - self._next, lost_known=False)
        return replace(block, first=self._offset + block.first)

    def _pass_on(self, block: Block) -> bool:
        """Hands a block to the disk's side. Returns whether more is wanted."""
        self._first_time = self._first_time or block.host_time - len(block.counts) * block.period
        self._next, self._last_time = block.stop, block.host_time
        self._heard, self._wait = time.monotonic(), FIRST_WAIT
        if not self._room():
            self._pipe.failure = (
                f"overrun: the disk does not follow; images from number {block.first} on are not recorded;"
                " use a faster disk, or fewer images a second"
            )
            return False
        if self._left is not None:
            block = replace(block, counts=block.counts[: self._left])
            self._left -= len(block.counts)
        self._pipe.put(block)
        if self._onlooker is not None:
            self._onlooker.see(block)
        over = self._order.seconds is not None and block.host_time - self._first_time >= self._order.seconds
        return not (over or self._left == 0 or self._pipe.ending.is_set())

    def _room(self) -> bool:
        while self._camera.waits and self._pipe.waiting_bytes > QUEUE_BYTES and not self._pipe.ending.is_set():
            time.sleep(PAUSE)
        return self._pipe.waiting_bytes <= QUEUE_BYTES

    def _reach_again(self, error: CameraError) -> None:
        """Tries to open the camera again until it succeeds or the recording ends.

        Raises:
            CameraError: the camera is back with other settings, or the time is over.
        """
        self._last_time = self._last_time or time.monotonic()
        self._camera.__exit__(None, None, None)
        while not self._pipe.ending.wait(min(self._wait, max(0.0, self._end() - time.monotonic()))):
            if time.monotonic() >= self._end():
                away = f"no image in {time.monotonic() - self._heard:.0f} s of reconnecting"
                raise CameraError(f"{error}; {away}") from error
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            with suppress(CameraError):
                self._camera.__enter__()
                applied = self._camera.configure(self._applied)
                break
        else:
            raise error
        if applied != self._applied:
            raise CameraError(f"{self._camera.name}: back with other settings; record to another file") from error

    def _end(self) -> float:
        """When a camera that is away is given up."""
        given_up = self._heard + PATIENCE
        if self._order.seconds is None:
            return given_up
        return min(given_up, (self._first_time or self._began) + self._order.seconds)
