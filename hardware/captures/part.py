"""A part of a recording: some of its images, and a region of each, read as they are asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hardware.parsing.source import Source
from noise_model.errors import InputError

#: Rows and columns of a region, as slices without steps.
Region = tuple[slice, slice]


@dataclass(frozen=True)
class Part:
    """The part of a recording that the user wants; None takes all.

    Attributes:
        first, last: images, both of them included and counted from 0.
        region: rows and columns.
    """

    first: int | None = None
    last: int | None = None
    region: Region | None = None

    def of(self, path: Path, source: Source) -> Source:
        """The part of a source, with what belongs to it of the mask, the image keys and the sequence numbers.

        Raises:
            InputError: there are no such images or pixels.
        """
        if self == Part():
            return source
        first, last = self.images_of(path, source.shape[0])
        places = source.places
        pixels = self._pixels(path, (source.shape[1] // places, source.shape[2] // places))
        rows, columns = (slice(places * part.start, places * part.stop) for part in pixels)
        key, sequence, mask, cycles = source.image_key, source.sequence, source.pixel_mask, source.cycles
        return replace(
            source,
            shape=(last + 1 - first, rows.stop - rows.start, columns.stop - columns.start),
            read=lambda start, stop: source.read(first + start, first + stop)[:, rows, columns],
            pixel_mask=None if mask is None else mask[pixels],
            image_key=None if key is None else key[first : last + 1],
            sequence=None if sequence is None else lambda start, stop: sequence(first + start, first + stop),
            cycles=None
            if cycles is None
            else lambda start, stop: cycles(first + start, first + stop)[:, rows, columns],
        )

    def images_of(self, path: Path, images: int) -> tuple[int, int]:
        """The first and the last image, of so many.

        Raises:
            InputError: there are no such images.
        """
        first, last = self.first or 0, images - 1 if self.last is None else self.last
        if not 0 <= first <= last < images:
            wrong = f"{path}: images {first} to {last} of 0 to {images - 1}: there are none such"
            raise InputError(f"{wrong}; expected a first and a last one of these", "first", "last")
        return first, last

    def _pixels(self, path: Path, shape: tuple[int, int]) -> Region:
        if self.region is None:
            return slice(0, shape[0]), slice(0, shape[1])
        if not _is_region(self.region):
            raise InputError(
                f"roi {self.region!r:.60}: expected two slices without steps, as (slice(0, 32), slice(16, 48))", "roi"
            )
        rows, columns = (
            slice(part.start or 0, side if part.stop is None else part.stop)
            for part, side in zip(self.region, shape, strict=True)
        )
        if not (0 <= rows.start < rows.stop <= shape[0] and 0 <= columns.start < columns.stop <= shape[1]):
            wrong = f"rows {rows.start}:{rows.stop} and columns {columns.start}:{columns.stop}"
            raise InputError(f"{path}: {wrong} of {shape[0]} x {shape[1]} pixels: expected some of these", "roi")
        return rows, columns


def _is_region(given: Any) -> bool:
    """Whether something is a region: Python callers may give anything."""
    two = isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, slice) for part in given)
    return two and all(
        part.step in (None, 1) and all(edge is None or hasattr(edge, "__index__") for edge in (part.start, part.stop))
        for part in given
    )
