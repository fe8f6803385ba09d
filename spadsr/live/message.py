"""The binary message in which an image goes to a page: a header of 64 bytes and two planes of pixels."""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

#: Version of the message; a page that knows another one says so instead of drawing nonsense.
VERSION = 1
#: Little-endian: "SPAD", version, kind, type of the first plane, flags (bytes), serial number (u64), number of the last
#: image in it (u64), host time in s (f64), rows and columns of the planes (u32), images in the sum and hardware frames
#: N (u32), unit in counts/s (f64), milliseconds it took to restore (f64).
HEADER = struct.Struct("<4sBBBBQQdIIIIdd")
#: The largest number that planes of float16 hold; those that count are kept below half of it.
LARGEST = 65504.0


class Kind(IntEnum):
    """What the two planes of a message are."""

    RECORDED = 0  # counts as recorded, and the detection rate they mean
    RESTORED = 1  # restored rate, and its standard uncertainty


class Flag(IntFlag):
    """What a page should know of an image."""

    NONE = 0
    SATURATED = 1  # some pixels are at the saturation value
    PLAYBACK = 2  # from a recording, not from the camera


class PlaneType(IntEnum):
    """How the pixels of the first plane are stored; the second plane is float16 always."""

    UINT16 = 0
    UINT32 = 1
    FLOAT16 = 2


_DTYPES = {PlaneType.UINT16: "<u2", PlaneType.UINT32: "<u4", PlaneType.FLOAT16: "<f2"}


@dataclass(frozen=True)
class Message:
    """One image on its way to a page.

    Attributes:
        kind: which two planes.
        last: number of the last image of the camera that is in it.
        host_time: s since 1970, when that image arrived.
        images: consecutive images in the sum.
        cycles: hardware frames N in the sum.
        unit: counts/s that 1.0 in a rate plane stands for.
        first: (h, w) counts, or restored rate in counts/s.
        second: (h, w) rate of the counts, or standard uncertainty, in counts/s.
        flags: what the page should know.
        milliseconds: time it took to restore; 0 for recorded images.
    """

    kind: Kind
    last: int
    host_time: float
    images: int
    cycles: int
    unit: float
    first: NDArray[np.generic]
    second: NDArray[np.floating]
    flags: Flag = Flag.NONE
    milliseconds: float = 0.0

    def packed(self, serial: int) -> bytes:
        """The bytes that are sent; `serial` is what the page acknowledges."""
        stored = PlaneType.FLOAT16
        if self.kind is Kind.RECORDED:
            stored = PlaneType.UINT16 if self.first.max(initial=0) < 1 << 16 else PlaneType.UINT32
        rows, columns = self.first.shape
        header = HEADER.pack(
            b"SPAD", VERSION, self.kind, stored, self.flags, serial, self.last, self.host_time, rows, columns,
            self.images, self.cycles, self.unit, self.milliseconds,
        )  # fmt: skip
        first = self.first.astype(_DTYPES[stored]) if self.kind is Kind.RECORDED else _half(self.first, self.unit)
        return header + first.tobytes() + _half(self.second, self.unit).tobytes()


def unit_for(largest_rate: float) -> float:
    """The unit of rate planes, counts/s: a power of two, so that float16 holds twice the largest rate of the camera."""
    return float(2.0 ** np.ceil(np.log2(max(largest_rate, 1.0) * 4 / LARGEST)))


def _half(rate: NDArray[np.generic], unit: float) -> NDArray[np.float16]:
    """Rates in units, as float16: rounded by 0.05 % at most; what is beyond the largest number is cut there."""
    return np.asarray(np.minimum(np.asarray(rate, np.float32) / np.float32(unit), LARGEST), "<f2")
