"""The one owner of a camera: it runs the camera, and hands every block to onlookers and, meanwhile, to a recording."""

import math
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread

from hardware.camera import Block, Camera, CameraError
from hardware.recording.order import Onlooker, Order
from hardware.recording.recording import Recording
from hardware.settings import Settings
from noise_model.errors import InputError

#: s: the first wait for a lost camera, and the longest between two tries.
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
#: s without an image after which a lost camera is given up, whether or not it can be opened.
PATIENCE = 300.0


@dataclass(frozen=True)
class Tally:
    """What a camera has handed over since the session began.

    Attributes:
        images: images handed over.
        lost: images lost by the camera, as far as known.
        unknown: gaps of unknown length; the time between two connections to a camera is one.
        seconds: time from the first image to the last.
        gone: why the camera is not there, while it is tried again; empty otherwise.
        failure: why the camera no longer runs; empty if it runs, or was stopped.
    """

    images: int = 0
    lost: int = 0
    unknown: int = 0
    seconds: float = 0.0
    gone: str = ""
    failure: str = ""


class Session:
    """Runs an open camera in a thread of its own, for as long as it is wanted.

    Onlookers and recordings come and go without stopping the camera; images are numbered from the start of the session
    on, over breaks as well.

    Args:
        camera: open; it is configured here, and must be used by nobody else.
        settings: asked of the camera.
        reconnect: open a camera that fails again, after waits that grow.

    Attributes:
        applied: the settings that the camera applied.

    Raises:
        CameraError: a setting that the camera refuses.
    """

    def __init__(self, camera: Camera, settings: Settings, *, reconnect: bool = False) -> None:
        self._camera, self._reconnect, self._shape = camera, reconnect, camera.shape
        self.applied = camera.configure(settings)
        self._onlookers: tuple[Onlooker, ...] = ()
        self._recording: Recording | None = None
        self._ends = False  # with the recording
        self._thread: Thread | None = None
        self._ending, self._lock = Event(), Lock()
        self._offset = self._next = 0
        self._last_time = self._first_time = 0.0
        self._rested = False  # the camera was stopped as wanted, and no image came since
        self._heard, self._wait = 0.0, FIRST_WAIT
        self._tally = Tally()

    @property
    def running(self) -> bool:
        """Whether the camera runs, or is tried again."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def tally(self) -> Tally:
        """What the camera has handed over so far."""
        return self._tally

    def attach(self, onlooker: Onlooker) -> None:
        """Shows an onlooker every block from the next on. Raises InputError where it cannot use such images."""
        onlooker.begin(self.applied)
        with self._lock:
            self._onlookers = (*self._onlookers, onlooker)

    def detach(self, onlooker: Onlooker) -> None:
        """Shows an onlooker no further block."""
        with self._lock:
            self._onlookers = tuple(each for each in self._onlookers if each is not onlooker)

    def record(self, order: Order, *, and_end: bool = False) -> Recording:
        """Records so, from the next image on; a session that does not run yet records from its first image on.

        Args:
            and_end: end the session with the recording, so that onlookers see the images that are recorded, no others.

        Raises:
            InputError: a recording is under way, or the file is there already.
        """
        with self._lock:
            if self._recording is not None:
                raise InputError(f"{self._recording.order.path}: is being recorded; end that recording first")
            self._recording, self._ends = Recording(self._camera, self.applied, order, under_way=self.running), and_end
            return self._recording

    def end_recording(self) -> Recording | None:
        """Ends the recording that is under way, and returns it; the camera runs on."""
        with self._lock:
            recording, self._recording = self._recording, None
        if recording is not None:
            recording.end()
            recording.close()
        return recording

    def start(self) -> None:
        """Starts the camera; without effect while it runs."""
        if self.running:
            return
        self._ending.clear()
        self._heard, self._wait = time.monotonic(), FIRST_WAIT
        self._tally = replace(self._tally, failure="", gone="")
        if self._next:  # no sum spans the rest
            self._rested = True
            for onlooker in self._onlookers:
                onlooker.begin(self.applied)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Stops the camera, and ends a recording that is under way.

        Args:
            patience: s that a driver may take; the recording ends then without it. None waits for it.
        """
        self._ending.set()
        self._camera.stop()
        if self._thread is not None:
            self._thread.join(patience)
        self._close_recording()

    def apply(self, settings: Settings) -> Settings:
        """Applies other settings, and runs on with them; returns what the camera made of them.

        Raises:
            InputError: a recording is under way: its settings may not change.
            CameraError: the camera refuses; it then runs on as before.
        """
        if self._recording is not None:
            raise InputError("a recording is under way, and has one exposure: end it first")
        ran = self.running
        self.stop()
        try:
            self.applied = self._camera.configure(settings)
        except CameraError:
            self.applied = self._camera.configure(self.applied)
            raise
        finally:
            for onlooker in self._onlookers:
                onlooker.begin(self.applied)
            if ran:
                self.start()
        return self.applied

    # The camera's thread

    def _run(self) -> None:
        failure = ""
        try:
            while not self._take_a_run():
                pass
        except Exception as error:  # whatever a driver raises must end in the file, and before the user
            failure = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self._tally = replace(self._tally, failure=failure, gone="")
        self._close_recording(failure)

    def _take_a_run(self) -> bool:
        """Takes the images of one run of the camera. Returns whether the session is at its end."""
        blocks = self._camera.blocks()
        try:
            for block in blocks:
                self._hand_on(self._numbered(block))
                if self._ending.is_set():
                    self._camera.stop()
                    break
        except CameraError as error:
            if not self._reconnect:
                raise
            self._reach_again(error)
            return self._ending.is_set()
        finally:
            if isinstance(blocks, Generator):
                blocks.close()  # the driver may hold it: only now the camera is at rest, and takes other settings
        return True

    def _numbered(self, block: Block) -> Block:
        """The block with numbers from the start of the session.

        Images lost while the camera was gone follow from the time; while it rested none are lost.
        """
        if self._rested:
            self._offset, self._rested = self._next, False
        elif block.first == block.lost and self._next:
            missed = round((block.host_time - self._last_time) / block.period) - len(block.counts)
            self._offset = self._next + max(1, missed)
            first = self._offset + block.first
            return replace(block, first=first, lost=first - self._next, lost_known=False)
        return replace(block, first=self._offset + block.first)

    def _hand_on(self, block: Block) -> None:
        self._next, self._last_time = block.stop, block.host_time
        self._heard, self._wait = time.monotonic(), FIRST_WAIT
        self._first_time = self._first_time or block.host_time - len(block.counts) * block.period
        self._tally = replace(
            self._tally,
            images=self._tally.images + len(block.counts),
            lost=self._tally.lost + block.lost,
            unknown=self._tally.unknown + (not block.lost_known),
            seconds=self._last_time - self._first_time,
        )
        with self._lock:
            recording, onlookers = self._recording, self._onlookers
        for onlooker in onlookers:
            onlooker.see(block)
        if recording is not None and not recording.take(block):
            self._close_recording()
            if self._ends:
                self._ending.set()

    def _close_recording(self, failure: str = "") -> None:
        with self._lock:
            recording, self._recording = self._recording, None
        if recording is not None:
            recording.close(failure)

    def _reach_again(self, error: CameraError) -> None:
        """Tries to open the camera again until it succeeds or the session ends.

        Raises:
            CameraError: the camera is back with other settings, or the time is over.
        """
        self._tally = replace(self._tally, gone=str(error))
        self._last_time = self._last_time or time.monotonic()
        self._camera.__exit__(None, None, None)
        while not self._ending.wait(min(self._wait, max(0.0, self._end() - time.monotonic()))):
            if time.monotonic() >= self._end():
                away = f"no image in {time.monotonic() - self._heard:.0f} s of reconnecting"
                raise CameraError(f"{error}; {away}") from error
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            with suppress(CameraError):
                self._camera.__enter__()
                applied = self._camera.configure(self.applied)
                break
        else:
            raise error
        if self._camera.shape != self._shape:
            raise CameraError(f"{self._camera.name}: back with another size; start spadsr anew") from error
        if applied != self.applied:
            raise CameraError(f"{self._camera.name}: back with other settings; record to another file") from error
        self._tally = replace(self._tally, gone="")

    def _end(self) -> float:
        """When a camera that is away is given up: a recording of a certain length is over by then, or should be."""
        with self._lock:
            recording = self._recording
        return min(self._heard + PATIENCE, recording.over_at if recording is not None else math.inf)
