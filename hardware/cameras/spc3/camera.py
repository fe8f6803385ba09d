"""The MPD SPC3, 64x32 counting pixels, through the vendor's library.

It has three modes. Continuous (usual): every image, up to 96,154 a second; where one is lost, the library reports an
error. Snap: a number of images into the memory of the camera, then out of it, again and again; how much time passes
between two snaps is not known. Live: one image at a time, 100 a second at most; the others are discarded.
"""

import ctypes
import time
from collections.abc import Generator, Iterator
from ctypes import POINTER, byref, c_double, c_short, c_uint8, c_uint16
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block, CameraError, Offer, saturated_share
from hardware.cameras.spc3.library import EMPTY, Library, checked
from hardware.settings import Settings

ADDRESS = "spc3:LIBRARY,live=0,snap=0"
OPTIONS = {"live": 0.0, "snap": 0.0}

ROWS, COLUMNS = 64, 32
PIXELS = ROWS * COLUMNS

#: The unit of exposures in s, and how many units the readout of a frame takes, during the next exposure.
UNIT, READOUT = 10e-9, 1040
#: The largest exposure in units, sum of frames, and number of images in a snap.
MOST = 65534
#: s; used where no dead time is asked for.
USUAL_DEAD_TIME = 50e-9
#: s; the shortest time between two live images.
LIVE_PERIOD = 0.01
#: s. A camera that is started sooner than SETTLE after its settings may stay idle; one that is silent for PATIENCE is.
SETTLE, PATIENCE = 0.1, 2.0
#: A block is handed over when it has so many images, or after so many s.
BATCH, GATHER = 256, 0.05
#: Bytes: more than the library can hand over at once.
LARGEST_BUFFER = 1 << 31


def availability() -> tuple[bool, str]:
    """Whether the library is found without being named in an address."""
    try:
        return True, f"library {Library('').path}; whether a camera is connected shows when it is opened"
    except CameraError as error:
        return False, str(error)


def connect(what: str, *, live: float = 0.0, snap: float = 0.0) -> "Spc3":
    """An SPC3 through the library `what`, in live mode if `live` is 1, in snaps of `snap` images if that is not 0.

    Raises:
        CameraError: the library cannot be used, or the options contradict each other.
    """
    if live not in (0, 1) or snap != int(snap) or not 0 <= snap <= MOST or (live and snap):
        raise CameraError(f"SPC3: live={live:g}, snap={snap:g}; expected live=1, or snap=1 to {MOST}, or neither")
    return Spc3(Library(what), bool(live), int(snap))


@dataclass(frozen=True)
class _Applied:
    settings: Settings
    dtype: np.dtype[Any]
    period: float
    at: float


class Spc3:
    """An MPD SPC3 camera. All calls but `stop` belong to one thread."""

    name = "spc3"
    shape = (ROWS, COLUMNS)
    pixel_mask: NDArray[np.uint32] | None = None
    waits = False

    def __init__(self, library: Library, live: bool, snap: int) -> None:
        self._library, self._live, self._snap = library, live, snap
        self._applied: _Applied | None = None
        self._stopped = Event()
        self._run: Generator[Block, None, None] | None = None

    def __enter__(self) -> Self:
        self._library.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._applied = None
        if self._run is not None:
            self._run.close()
        self._library.close()

    def configure(self, settings: Settings) -> Settings:
        """Applies count time, cycles and dead time; the camera's own corrections stay off.

        Where an image is one frame, the 9-bit counters are read out as 8 bits, and `counter_bits` is 8.
        """
        units = _within("count_time", settings.count_time / UNIT, f"in units of {UNIT:g} s")
        cycles = _within("cycles", settings.cycles, "frames in one image")
        dead_time = self._set_dead_time(settings.dead_time or USUAL_DEAD_TIME)
        self._library.call("SPC3_Set_Camera_Par", units, self._snap or 1, cycles, 1, 0, 0, 0)
        self._library.call("SPC3_Set_DeadTime_Correction", 0)
        self._library.call("SPC3_Set_Background_Subtraction", 0)
        self._library.call("SPC3_Apply_settings")
        self._applied = self._as_applied(units, cycles, dead_time, settings.frame_time)
        return self._applied.settings

    def blocks(self) -> Iterator[Block]:
        """Hands over every image (continuous), every image of a snap, or single images (live)."""
        if self._applied is None:
            raise CameraError("SPC3: no settings yet; call configure first")
        self._stopped.clear()
        mode = self._live_images if self._live else self._snaps if self._snap else self._continuous
        self._run = mode(self._applied)
        return self._run

    def stop(self) -> None:
        """Ends `blocks`; a snap under way is waited for."""
        self._stopped.set()

    def choices(self) -> dict[str, Offer]:
        """Count time and cycles; the frame time in live mode only, elsewhere it follows from these."""
        live = {"frame_time": Offer(LIVE_PERIOD, 1e6)} if self._live else {}
        return {"count_time": Offer(UNIT, MOST * UNIT), "cycles": Offer(1, MOST), **live}

    def identity(self) -> dict[str, str]:
        """Serial number and versions, and how lost images show."""
        return {**self._library.identity(), "losses": self._losses()}

    def _losses(self) -> str:
        if self._live:
            return "live mode: images between those kept are discarded, their number is not known"
        if self._snap:
            return f"snaps of {self._snap} images: none lost within a snap, the time between two is not known"
        return "continuous mode: the camera numbers no images; it stops with an error where one is lost"

    # Settings

    def _set_dead_time(self, wanted: float) -> float:
        nearest, asked = c_uint16(), round(min(max(wanted * 1e9, 0), 0xFFFF))
        self._library.call("SPC3_Get_DeadTime", asked, byref(nearest))
        self._library.call("SPC3_Set_DeadTime", nearest.value)
        return nearest.value * 1e-9

    def _as_applied(self, units: int, cycles: int, dead_time: float, frame_time: float | None) -> _Applied:
        wide = c_short()
        self._library.call("SPC3_Is16Bit", byref(wide))
        period = max(units, READOUT) * UNIT * cycles
        if self._live:
            period = max(period, LIVE_PERIOD, frame_time or 0.0)
        full = Settings(units * UNIT, cycles, 9 if wide.value else 8, dead_time, period)
        most = 0xFFFF if wide.value else 0xFF
        settings = replace(full, largest_count=most) if most < full.saturation_value else full
        dtype = np.dtype("<u2" if wide.value or self._live or self._snap else np.uint8)
        return _Applied(settings, dtype, period, time.monotonic())

    # Runs

    def _block(self, counts: NDArray[Any], applied: _Applied, first: int, known: bool = True) -> Block:
        saturated = saturated_share(counts, applied.settings.saturation_value)
        return Block(counts, first, applied.period, time.monotonic(), 0, known, saturated)

    def _continuous(self, applied: _Applied) -> Generator[Block, None, None]:
        self._start_continuous(applied)
        try:
            first = 0
            for counts in self._gathered(applied):
                yield self._block(counts, applied, first)
                first += len(counts)
        finally:
            self._library.end("SPC3_Stop_ContAcq_in_Memory")

    def _start_continuous(self, applied: _Applied) -> None:
        time.sleep(max(0.0, applied.at + SETTLE - time.monotonic()))
        self._library.call("SPC3_Start_ContAcq_in_Memory")

    def _gathered(self, applied: _Applied) -> Iterator[NDArray[Any]]:
        """Whole images: at least BATCH, or what came within GATHER s. Part of an image waits for its other part."""
        size, waiting, since = PIXELS * applied.dtype.itemsize, bytearray(), time.monotonic()
        for piece in self._pieces(applied):
            waiting += piece
            images, now = len(waiting) // size, time.monotonic()
            if images >= BATCH or (images and now - since > GATHER):
                whole, waiting, since = waiting, waiting[images * size :], now
                yield np.frombuffer(whole, applied.dtype, images * PIXELS).reshape(images, ROWS, COLUMNS)

    def _pieces(self, applied: _Applied) -> Iterator[bytes]:
        """The bytes that the library hands over, copied, until `stop`."""
        patience, heard, may_restart = max(PATIENCE, 4 * applied.period), time.monotonic(), True
        while not self._stopped.is_set():
            piece = self._poll()
            yield piece
            if piece:
                heard, may_restart = time.monotonic(), False
            elif time.monotonic() - heard < patience:
                self._stopped.wait(0.001)
            elif may_restart:
                self._restart(applied)
                heard, may_restart = time.monotonic(), False
            else:
                raise CameraError(f"SPC3: no frames for {patience:.1f} s; unplug and replug the camera")

    def _restart(self, applied: _Applied) -> None:
        self._library.call("SPC3_Stop_ContAcq_in_Memory")
        self._start_continuous(applied)

    def _poll(self) -> bytes:
        size, data = c_double(), POINTER(c_uint8)()
        status = self._library.status("SPC3_Get_Memory_Buffer", byref(size), byref(data))
        if status == EMPTY:
            return b""
        checked("SPC3_Get_Memory_Buffer", status)
        if not 0 <= size.value < LARGEST_BUFFER:
            raise CameraError(f"SPC3: the library claims {size.value:g} bytes at once; unplug and replug the camera")
        return ctypes.string_at(data, int(size.value)) if size.value else b""

    def _snaps(self, applied: _Applied) -> Generator[Block, None, None]:
        first = 0
        while not self._stopped.is_set():
            self._library.call("SPC3_Prepare_Snap")
            self._library.call("SPC3_Get_Snap")
            for start in range(0, self._snap, BATCH):
                if self._stopped.is_set():
                    return
                counts = self._download(start, min(start + BATCH, self._snap), applied)
                yield self._block(counts, applied, first + start, known=start > 0 or first == 0)
            first += self._snap

    def _download(self, start: int, stop: int, applied: _Applied) -> NDArray[Any]:
        counts = np.empty((stop - start, ROWS, COLUMNS), applied.dtype)
        for image, position in zip(counts, range(start + 1, stop + 1), strict=True):
            self._library.call("SPC3_Get_Img_Position", image.ctypes.data, position, 1)
        return counts

    def _live_images(self, applied: _Applied) -> Generator[Block, None, None]:
        self._library.call("SPC3_Set_Live_Mode_ON")
        try:
            first = 0
            while not self._stopped.wait(applied.period):
                counts = np.empty((1, ROWS, COLUMNS), applied.dtype)
                self._library.call("SPC3_Get_Live_Img", counts.ctypes.data)
                yield self._block(counts, applied, first, known=False)
                first += 1
        finally:
            self._library.end("SPC3_Set_Live_Mode_OFF")


def _within(name: str, value: float, what: str) -> int:
    if not 0.5 <= value < MOST + 0.5:
        raise CameraError(f"SPC3: {name} is {value:g} {what}; expected 1 to {MOST}")
    return int(value + 0.5)
