"""Recordings of the MPD SPC3 (`.spc3`): a header, then raw images; long recordings are split over several files."""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import numpy as np

from hardware.parsing.source import Choice, RawStack, Source, stack_shape
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError

NAME = "SPC3 recording"
SUFFIXES = (".spc3",)
ARRAYS = True
AXES = ()
LAYOUTS = ()

SIGNATURE = b"MPD\xff\x03\x00\x00\x01"
HEADER_BYTES = 1024
PIXELS_AT = len(SIGNATURE) + HEADER_BYTES

#: Where the header says how many images there are: it differs between the files of one recording.
FRAMES = slice(114, 118)

CLOCK, NANOSECOND = 10e-9, 1e-9
COUNTER_BITS = 9
#: Time in s that reading out one image takes, by the number of counters.
READOUT = {1: 10.40e-6, 2: 20.8e-6, 3: 31.2e-6}


@dataclass(frozen=True)
class Header:
    """The header, field by field, in its own units."""

    identity: bytes
    serial: bytes
    firmware: int
    date: bytes
    rows: int
    columns: int
    bits: int
    counters: int
    exposure: int
    summed: int
    corrected: int
    gate_duty: int
    hold_off: int
    background_subtracted: int
    signed: int
    frames: int
    averaged: int
    averaged_frames: int
    pixels: int

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Reads a header from the bytes after the signature."""
        return cls(*struct.unpack_from("<10s32sHx20s35x4BHHBBHBBIBxH4xH", raw))

    def shape(self, path: Path) -> tuple[int, int]:
        """Rows and columns. Old files give no number of pixels; half an array has fewer than rows x columns."""
        pixels = self.pixels or self.rows * self.columns
        if not self.columns or pixels % self.columns:
            raise InputError(f"{path}: {pixels} pixels in rows of {self.columns}; damaged, copy it again")
        return stack_shape(path, (1, pixels // self.columns, self.columns))[1:]

    def dtype(self, path: Path) -> np.dtype[Any]:
        """Type of the pixels."""
        if self.bits not in (8, 16):
            raise InputError(f"{path}: pixels of {self.bits} bits; expected 8 or 16, copy it again")
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits // 8}")

    def settings(self, path: Path) -> PartialSettings:
        """The settings. The frame time is the exposure, but at least the time that reading out takes."""
        if self.averaged:
            raise InputError(f"{path}: averages of {self.averaged_frames} images, not counts; record without averaging")
        # One frame that is put out in 8 bits has been cut to them; sums are of all bits of the counter.
        counter_bits = self.bits if (self.summed, self.bits) == (1, 8) else COUNTER_BITS
        largest = self.summed * ((1 << counter_bits) - 1)
        period = max(self.exposure * CLOCK, READOUT[self.counters])
        return PartialSettings.of(
            path,
            count_time=self.exposure * CLOCK,
            cycles=self.summed,
            frame_time=self.summed * period if self.summed else None,
            dead_time=self.hold_off * NANOSECOND,
            counter_bits=counter_bits,
            saturation_value=min(largest, (1 << self.bits - bool(self.signed)) - 1) or None,
            corrected=bool(self.corrected),
            background_subtracted=bool(self.background_subtracted),
        )

    def notes(self) -> dict[str, Any]:
        """The other fields, as notes."""
        notes: dict[str, Any] = {
            "description": f"MPD SPC3 {_text(self.identity)}".strip(),
            "serial_number": _text(self.serial),
            "recorded": _text(self.date),
            "firmware": f"{self.firmware / 100:.2f}",
        }
        if 0 < self.gate_duty < 100:
            notes["gate_duty_percent"] = self.gate_duty
        return {name: value for name, value in notes.items() if value}


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its signature."""
    return head.startswith(SIGNATURE)


def open_source(path: Path, choice: Choice) -> Source:
    """Opens a recording; the sizes of its files say how many images there are, which a header may not."""
    raw = _header(path)
    header = Header.parse(raw)
    counter = _counter(path, header, choice)
    settings = header.settings(path)
    paths = [path, *_continuations(path, raw)]
    frames, ragged = _frames(paths, header)
    images = sum(frames)
    shape = stack_shape(path, (images, *header.shape(path)))
    closing = ExitStack()
    parts = []
    for part, number in zip(paths, frames, strict=True):
        parts.append(RawStack(part, (number * header.counters, *shape[1:]), header.dtype(path), PIXELS_AT))
        closing.callback(parts[-1].close)
    return Source(
        shape=shape,
        dtype=parts[0].dtype,
        read=_reader(parts, header.counters, counter),
        close=closing.close,
        settings=settings,
        notes=header.notes(),
        remarks=tuple(_remarks(header, paths, images, ragged)),
    )


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        beginning = file.read(PIXELS_AT)
    if len(beginning) < PIXELS_AT:
        raise InputError(f"{path}: truncated: {len(beginning)} of the {PIXELS_AT} bytes of its header; copy it again")
    return beginning[len(SIGNATURE) :]


def _counter(path: Path, header: Header, choice: Choice) -> int:
    """The index of the counter to read."""
    if header.counters not in READOUT:
        raise InputError(f"{path}: {header.counters} counters; expected 1, 2 or 3, copy it again")
    known = [str(number) for number in range(1, header.counters + 1)]
    wanted = choice.array or ("1" if header.counters == 1 else "")
    if wanted not in known:
        raise InputError(f"{path}: images of {header.counters} counters; choose {' or '.join(known)}", "array")
    return int(wanted) - 1


def _continuations(path: Path, raw: bytes) -> list[Path]:
    """name2.spc3, name3.spc3, ... beside name.spc3, as long as their headers are the same."""
    found: list[Path] = []
    for number in count(2):
        after = path.with_name(f"{path.stem}{number}{path.suffix}")
        if not after.is_file() or after.is_symlink() or not _continues(after, raw):
            return found
        found.append(after)
    raise AssertionError


def _continues(after: Path, raw: bytes) -> bool:
    with after.open("rb") as file:
        signature, other = file.read(len(SIGNATURE)), bytearray(file.read(HEADER_BYTES))
    other[FRAMES] = raw[FRAMES]
    return signature == SIGNATURE and other == raw


def _frames(paths: Sequence[Path], header: Header) -> tuple[list[int], list[Path]]:
    """How many frames (of all counters) every file holds, and which files end within one."""
    frame = math.prod(header.shape(paths[0])) * header.dtype(paths[0]).itemsize * header.counters
    found = [divmod(path.stat().st_size - PIXELS_AT, frame) for path in paths]
    return [frames for frames, _rest in found], [path for path, (_, rest) in zip(paths, found, strict=True) if rest]


def _reader(parts: Sequence[RawStack], counters: int, counter: int) -> Callable[[int, int], Counts]:
    ends = np.cumsum([part.shape[0] for part in parts])

    def read(start: int, stop: int) -> Counts:
        pieces = []
        for part, end in zip(parts, ends, strict=True):
            begin = end - part.shape[0]
            first, last = max(start * counters, begin), min(stop * counters, end)
            if first < last:
                pieces.append(part.read(first - begin, last - begin))
        return np.concatenate(pieces)[counter::counters]

    return read


def _remarks(header: Header, paths: Sequence[Path], images: int, ragged: Sequence[Path]) -> Iterator[str]:
    if len(paths) > 1:
        yield f"read as one recording: {', '.join(path.name for path in paths)}"
    for path in ragged:
        yield f"{path.name} ends within an image, which is left out"
    if header.frames != images:
        yield f"the header says {header.frames} images, the size says {images}: the size is right"
    if 0 < header.gate_duty < 100:
        yield f"gated, open for {header.gate_duty} % of the exposure, which the exposure above does not account for"


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("ascii", "replace").strip()
