"""The Pi Imaging SPAD512, 512x512 binary pixels, through the TCP server of the vendor's program.

An image of b bits is the sum of 2^b - 1 binary frames, made by the camera. Images are requested many at a time: within
a request none is lost; the gap between two requests is not known, as the program numbers no images.
"""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block, CameraError, Offer, saturated_share
from hardware.cameras.spad512.link import Link, readable
from hardware.formats.spad512 import BYTES_PER_ROW, ROWS, upright
from hardware.settings import Settings

ADDRESS = "spad512:HOST,port=9999,frames=1000,overlap=0"
OPTIONS = {"port": 9999.0, "frames": 1000.0, "overlap": 0.0}

COLUMNS = 8 * BYTES_PER_ROW
#: Bit depths of the camera; exposures are given in us up to 4 bits, in ms above.
DEPTHS = (1, 4, 6, 7, 8, 9, 10, 11, 12)
MOST_FRAMES = 100_000
#: The most bytes of counts in a block.
BLOCK_BYTES = 1 << 24
#: s; the longest that the read-out of a binary frame takes (the 15 of a 4-bit image: 400 us).
READOUT = 30e-6
#: s: a silence that is longer than the exposures by STALL is an error; `stop` waits FAREWELL for the reply under way.
STALL, FAREWELL = 5.0, 1.0

_READINGS = ("master", "slave", "board", "chip")


def availability() -> tuple[bool, str]:
    """Says that the camera is always usable: whether the program runs shows when it is opened."""
    return True, "needs Pi Imaging's program running, its command server on (port 9999 or 9998)"


def connect(what: str, *, port: float = 9999.0, frames: float = 1000.0, overlap: float = 0.0) -> "Spad512":
    """The SPAD512 of the program on the host `what`, or on this machine.

    Args:
        port: of the program's command server.
        frames: images in a request.
        overlap: 1 to expose while the frame before is read out.

    Raises:
        CameraError: an option is out of range.
    """
    for name, value, most in (("port", port, 65535), ("frames", frames, MOST_FRAMES), ("overlap", overlap + 1, 2)):
        if value != int(value) or not 1 <= value <= most:
            raise CameraError(f"SPAD512: {name} is {value:g}; expected a whole number up to {most}")
    return Spad512(what or "127.0.0.1", int(port), int(frames), bool(overlap))


@dataclass(frozen=True)
class _Applied:
    """Settings as applied, and the request that asks for images with them.

    Attributes:
        command: the request.
        exposure: s, of one image.
        longest: s, exposure and read-out of one image at most.
        packed: whether eight pixels come in a byte.
    """

    settings: Settings
    command: str
    exposure: float
    longest: float
    dtype: np.dtype[Any]
    packed: bool

    @property
    def image_bytes(self) -> int:
        return ROWS * BYTES_PER_ROW if self.packed else ROWS * COLUMNS * self.dtype.itemsize

    @property
    def batch(self) -> int:
        return BLOCK_BYTES // (ROWS * COLUMNS * self.dtype.itemsize)


class Spad512:
    """A Pi Imaging SPAD512 camera. All calls but `stop` belong to one thread."""

    name = "spad512"
    shape = (ROWS, COLUMNS)
    pixel_mask: NDArray[np.uint32] | None = None
    waits = False

    def __init__(self, host: str, port: int, frames: int, overlap: bool) -> None:
        self._address, self._frames, self._overlap = (host, port), frames, overlap
        self._link: Link | None = None
        self._applied: _Applied | None = None
        self._identity: dict[str, str] = {}
        self._stopped = Event()
        self._run: Generator[Block, None, None] | None = None

    def __enter__(self) -> Self:
        """Connects, and waits for the breakdown calibration with which the program may begin."""
        self._hang_up()
        self._link = Link(*self._address)
        return self

    def __exit__(self, *error: object) -> None:
        if self._run is not None:
            self._run.close()
        self._applied = None
        self._hang_up()

    def configure(self, settings: Settings) -> Settings:
        """Applies bit depth, exposure and pile-up correction.

        The depth is the smallest whose images hold the counts asked for. In binary settings, `count_time` is that of a
        binary frame; in others, that of the image divided by `cycles`. Pile-up corrected images (4 bits and more) are
        no longer sums of binary frames: their settings are those of one frame of 16-bit counts.
        """
        self._applied = _applied(settings, self._frames, self._overlap)
        self._ask(_pile_up(self._applied.settings))
        self._identity = self._described()
        return self._applied.settings

    def blocks(self) -> Iterator[Block]:
        """Hands over every image of one request after another."""
        if self._applied is None:
            raise CameraError("SPAD512: no settings yet; call configure first")
        self._stopped.clear()
        self._run = self._requests(self._applied)
        return self._run

    def stop(self) -> None:
        """Ends `blocks`; the camera may have to be asked again for what it was doing."""
        self._stopped.set()

    def choices(self) -> dict[str, Offer]:
        """Cycles, of which the bit depth is made, and the count time of a binary frame."""
        cycles = tuple(float((1 << depth) - 1) for depth in DEPTHS)
        return {"count_time": Offer(1e-9, 10.0), "cycles": Offer(cycles[0], cycles[-1], cycles)}

    def identity(self) -> dict[str, str]:
        """Serial numbers and versions; temperatures and bias as they were when the camera was configured."""
        return dict(self._identity or self._described())

    def temperatures(self) -> dict[str, float]:
        """Temperatures of both FPGAs (master, slave), the board and the chip, degrees Celsius; not during a run."""
        return dict(zip(_READINGS, self._numbers("R", len(_READINGS)), strict=False))

    def bias(self) -> tuple[float, float]:
        """Quenching and excess voltage, V; not during a run."""
        quenching, excess = self._numbers("V", 2)[:2]
        return quenching, excess

    # Conversation

    def _ask(self, command: str) -> str:
        if self._link is None:
            raise CameraError("SPAD512: not opened; enter the camera first (with camera: ...)")
        return self._link.ask(command)

    def _numbers(self, command: str, least: int) -> list[float]:
        reply = self._ask(command)
        try:
            numbers = [float(part) for part in reply.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) < least or not all(map(math.isfinite, numbers)):
            raise CameraError(f"SPAD512: answers {command} with {readable(reply)}; expected {least} numbers or more")
        return numbers

    def _described(self) -> dict[str, str]:
        temperatures, bias = self.temperatures(), self.bias()
        assert self._link is not None
        known = self._link.information
        return {
            "description": f"Pi Imaging {readable(self._link.banner.split(maxsplit=1)[0])}",
            "serial_number": f"{known['master_serial']} {known['slave_serial']}",
            "firmware": known["firmware"],
            "software": known["software"],
            "temperatures": ", ".join(f"{name} {value:g} C" for name, value in temperatures.items()),
            "bias": f"quenching {bias[0]:g} V, excess {bias[1]:g} V",
            "losses": f"requests of {self._frames} images: none lost within one, the gap between two is not known",
        }

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # Runs

    def _requests(self, applied: _Applied) -> Generator[Block, None, None]:
        first = 0
        while not self._stopped.is_set():
            for counts in self._request(applied):
                known = first == 0 or first % self._frames != 0
                yield _block(counts, applied, first, known)
                first += len(counts)

    def _request(self, applied: _Applied) -> Generator[NDArray[Any], None, None]:
        """The images of one request, at most `batch` at a time."""
        link, patience, over = self._reached(applied), STALL + self._frames * applied.longest, False
        try:
            link.send(applied.command)
            for start in range(0, self._frames, applied.batch):
                wire = bytearray(min(applied.batch, self._frames - start) * applied.image_bytes)
                if not link.fill(memoryview(wire), patience, self._stopped.is_set):
                    return
                yield _decoded(wire, applied)
            over = link.end_of_pixels(patience, self._stopped.is_set)
        except CameraError:
            self._hang_up()
            raise
        finally:  # stopped, or the caller has enough
            if self._link is not None and not over and not link.drained(FAREWELL):
                self._hang_up()

    def _reached(self, applied: _Applied) -> Link:
        """The connection, made again where a stop had to cut it."""
        if self._link is None:
            self._link = Link(*self._address)
            self._ask(_pile_up(applied.settings))
        return self._link


def _applied(asked: Settings, frames: int, overlap: bool) -> _Applied:
    depth = next((depth for depth in DEPTHS if (1 << depth) - 1 >= asked.saturation_value), 0)
    if depth == 0:
        most = f"at most {(1 << DEPTHS[-1]) - 1} binary frames in an image"
        raise CameraError(f"SPAD512: {asked.cycles} cycles of {asked.counter_bits} bits; expected {most}")
    cycles = (1 << depth) - 1
    unit = 1e-6 if depth <= 4 else 1e-3
    wanted = asked.count_time * (cycles if asked.counter_bits == 1 else asked.cycles)
    # The finest step the program takes is not known: a thousandth of the unit is what is asked for.
    units = f"{wanted / unit:.3f}".rstrip("0").rstrip(".")
    if not 0 < float(units) < 1e7:
        raise CameraError(
            f"SPAD512: an image of {wanted:g} s; expected {unit / 1000:g} to {1e7 * unit:g} s at {depth} bits"
        )
    corrected = asked.corrected and depth > 1
    exposure = float(units) * unit
    taken = (exposure, 1, 16) if corrected else (exposure / cycles, cycles, 1)
    return _Applied(
        settings=Settings(*taken, corrected=corrected),
        command=f"I,{depth},{units},{frames},0,{int(overlap)},0,1",
        exposure=exposure,
        longest=exposure + cycles * READOUT,
        dtype=np.dtype("<u2" if depth > 8 or corrected else np.uint8),
        packed=depth == 1,
    )


def _pile_up(settings: Settings) -> str:
    return f"PU,{int(settings.corrected)}"


def _decoded(wire: bytearray, applied: _Applied) -> NDArray[Any]:
    """Counts (n, 512, 512), from the bytes of the program."""
    if applied.packed:
        packed = np.frombuffer(wire, np.uint8).reshape(-1, ROWS, BYTES_PER_ROW)
        return np.ascontiguousarray(upright(packed))
    counts = np.frombuffer(wire, applied.dtype).reshape(-1, ROWS, COLUMNS)
    largest, possible = int(counts.max()), applied.settings.saturation_value
    if largest > possible:
        raise CameraError(
            f"SPAD512: a count of {largest} where {possible} is the largest possible: out of step with the program;"
            " restart it"
        )
    return counts


def _block(counts: NDArray[Any], applied: _Applied, first: int, known: bool) -> Block:
    saturated = saturated_share(counts, applied.settings.saturation_value)
    return Block(counts, first, applied.exposure, time.monotonic(), 0, known, saturated)
