"""A recording: integer counts, and how they were taken."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hardware import formats
from hardware.captures.assumptions import complete
from hardware.captures.summing import group_starts, summed_reader
from hardware.parsing.source import Choice, Counts, Format, Source, blaming, regular_file
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure, Sensor

BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Capture:
    """An opened recording; a context manager.

    Attributes:
        path: the file, or the folder of images.
        format: name of its format.
        shape: (T, H, W): images, rows, columns.
        dtype: of the blocks; an unsigned integer type.
        exposure: count_time (s) of one hardware frame, and cycles: hardware frames summed into one image.
        dead_time: s; 0 for a binary array.
        counter_bits: of the in-pixel counter; 1 is a binary array.
        saturation_value: the largest count an image can hold.
        frame_time: s from the start of one image to the start of the next, where known.
        pixel_mask: (H, W) uint32, NXdetector bits.
        image_key: (T,) uint8: 0 scene, 1 flat, 2 dark, 3 invalid; None means all 0.
        corrected: the counts are dead-time corrected: not what the sensor counted.
        background_subtracted: likewise.
        notes: free acquisition settings.
        assumptions: a sentence for everything that neither the file nor the user said, and for what was lost.
        assumed: names of the settings that neither the file nor the user said.
        lost: images lost between the first and the last, by their sequence numbers; None where there are none.
    """

    path: Path
    format: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    exposure: Exposure
    dead_time: float
    counter_bits: int
    saturation_value: int
    frame_time: float | None
    pixel_mask: NDArray[np.uint32] | None
    image_key: NDArray[np.uint8] | None
    corrected: bool
    background_subtracted: bool
    notes: dict[str, Any]
    assumptions: tuple[str, ...]
    assumed: tuple[str, ...]
    lost: int | None
    source: Source = field(repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file."""
        self.source.close()

    def read(self, start: int, stop: int) -> Counts:
        """Images `start` to `stop`, (stop - start, H, W), checked.

        Raises:
            InputError: a count is negative or above `saturation_value` (the image is named), or the file is damaged.
        """
        with blaming(self.path, self.format):
            block = np.asarray(self.source.read(start, stop))
        if block.shape != (stop - start, *self.shape[1:]):
            raise InputError(
                f"{self.path}: damaged: images {start} to {stop - 1} are not all there; copy the file again"
            )
        return self._checked(block, start).astype(self.dtype, copy=False)

    def blocks(self, size: int | None = None) -> Iterator[Counts]:
        """All images in order, checked, `size` at a time (the last block may be smaller): (n, H, W) each.

        Without `size` a block is about 16 MB. Memory does not depend on T.

        Raises:
            InputError: as `read`.
        """
        size = size or max(1, BLOCK_BYTES // max(1, self.shape[1] * self.shape[2] * self.dtype.itemsize))
        for start in range(0, self.shape[0], size):
            yield self.read(start, min(start + size, self.shape[0]))

    def sequence_number(self, start: int, stop: int) -> NDArray[np.uint64] | None:
        """Indices as acquired of images `start` to `stop`, (stop - start,); None where the file has none.

        Raises:
            InputError: they do not increase.
        """
        if self.source.sequence is None:
            return None
        with blaming(self.path, self.format):
            numbers = self.source.sequence(start, stop)
        if (numbers[1:] <= numbers[:-1]).any():
            index = start + 1 + int((numbers[1:] <= numbers[:-1]).argmax())
            raise InputError(f"{self.path}: the sequence number of image {index} is no larger than the one before")
        return numbers

    def summed(self, cycles: int) -> "Capture":
        """The same recording with every `cycles` consecutive scene images summed into one, lazily, as uint32.

        A group with an image whose `image_key` is not 0 is left out; so is the rest that fills no group. `assumptions`
        says how many images that was.

        Raises:
            InputError: not one group can be filled, or the sums do not fit.
        """
        if cycles == 1 and self.image_key is None:
            return self
        starts = self._group_starts(cycles)
        slab = max(1, BLOCK_BYTES // (self.shape[1] * self.shape[2] * self.dtype.itemsize))
        read = summed_reader(self.read, starts, cycles, slab)
        shape = (len(starts), *self.shape[1:])
        source = replace(self.source, read=read, shape=shape, dtype=np.dtype(np.uint32), sequence=None)
        dropped = self.shape[0] - len(starts) * cycles
        said = (f"{dropped} of {self.shape[0]} images fill no group of {cycles} scene images and are left out",)
        return replace(
            self,
            source=source,
            shape=source.shape,
            dtype=source.dtype,
            exposure=replace(self.exposure, cycles=self.exposure.cycles * cycles),
            saturation_value=self.saturation_value * cycles,
            frame_time=self.frame_time and self.frame_time * cycles,
            image_key=None,
            assumptions=self.assumptions + (said if dropped else ()),
        )

    def _group_starts(self, cycles: int) -> Sequence[int] | NDArray[np.intp]:
        if cycles < 1:
            raise InputError(f"--sum {cycles}: expected 1 or more images per sum")
        if self.saturation_value * cycles >= 2**32:
            raise InputError(f"{self.path}: --sum {cycles} would exceed 32-bit counts; sum fewer images")
        starts = group_starts(self.shape[0], cycles, self.image_key)
        if not len(starts):
            raise InputError(
                f"{self.path}: --sum {cycles} fills no group from {self.shape[0]} images; sum fewer images"
            )
        return starts

    def sensor(self) -> Sensor:
        """The ideal sensor that the header describes: uniform PDE 1 (its rates are detection rates), no dark counts."""
        height, width = self.shape[1:]
        mask = None if self.pixel_mask is None else torch.from_numpy(self.pixel_mask.view(np.int32).copy())
        return Sensor(
            name=f"ideal, {self.counter_bits} bit",
            pde=torch.ones(height, width),
            dark_count_rate=torch.zeros(height, width),
            dead_time=self.dead_time,
            counter_bits=self.counter_bits,
            pixel_mask=mask,
            source=f"header of {self.path.name}",
            measured=False,
        )

    def _checked(self, block: Counts, start: int) -> Counts:
        if block.dtype.kind == "i" and block.min() < 0:
            index, value = _first(block, block < 0)
            raise InputError(
                f"{self.path}: image {start + index} holds the count {value}; expected counts of 0 and more"
            )
        if block.max() > self.saturation_value:
            index, value = _first(block, block > self.saturation_value)
            raise InputError(
                f"{self.path}: image {start + index} holds the count {value}, above the largest possible,"
                f" {self.saturation_value} ({self.exposure.cycles} cycles of a {self.counter_bits}-bit counter);"
                " correct the file, or --cycles and --bits"
            )
        return block


def open_capture(
    path: str | Path,
    *,
    count_time: float | None = None,
    cycles: int | None = None,
    dead_time: float | None = None,
    counter_bits: int | None = None,
    array: str | None = None,
    layout: str | None = None,
) -> Capture:
    """Opens a recording of any known format; its counts are read later, in blocks.

    The options say what the file does not: `count_time` (s), `cycles` (hardware frames per image), `dead_time` (s),
    `counter_bits`. What nobody says is assumed, and listed in `Capture.assumptions`. `array` names or numbers one of
    several arrays in a file; `layout` is how its numbers lie: counts, packed, images-first or images-last.

    Raises:
        InputError: not a capture, damaged, or an option contradicts the file.
    """
    path = Path(path)
    given = Settings.of("options", count_time=count_time, cycles=cycles, dead_time=dead_time, counter_bits=counter_bits)
    reader, choice = _recognised(path), Choice(array, layout)
    _check_choice(path, reader, choice)
    with blaming(path, reader.NAME):
        source = reader.open_source(path, choice)
        try:
            return assemble(path, reader.NAME, source, given)
        except BaseException:
            source.close()
            raise


def assemble(path: Path, name: str, source: Source, given: Settings) -> Capture:
    """The capture that a source is, with what the source does not say as `given`, or as is usual.

    Raises:
        InputError: the settings contradict each other.
    """
    settings, assumed = complete(path, source.said, given, source.usual, lambda: _peak(source))
    values, lost = settings.known(), _lost(path, source)
    gaps = (f"{lost} images were lost while recording (sequence numbers)",) if lost else ()
    return Capture(
        path=path,
        format=name,
        shape=source.shape,
        dtype=_unsigned(source.dtype),
        exposure=Exposure(values["count_time"], int(values["cycles"])),
        dead_time=values["dead_time"],
        counter_bits=int(values["counter_bits"]),
        saturation_value=int(values["saturation_value"]),
        frame_time=settings.frame_time,
        pixel_mask=source.pixel_mask,
        image_key=source.image_key,
        corrected=source.corrected,
        background_subtracted=source.background_subtracted,
        notes=dict(source.notes),
        assumptions=source.remarks + gaps + tuple(assumed.values()),
        assumed=tuple(assumed),
        lost=lost,
        source=source,
    )


def _check_choice(path: Path, reader: Format, choice: Choice) -> None:
    if choice.array is not None and not reader.ARRAYS:
        raise InputError(f"{path}: --array {choice.array}: a {reader.NAME} holds one array; leave the option out")
    if choice.layout is not None and choice.layout not in reader.LAYOUTS:
        known = f"expected {' or '.join(reader.LAYOUTS)}" if reader.LAYOUTS else "leave the option out"
        raise InputError(f"{path}: --layout {choice.layout} is none of a {reader.NAME}; {known}")


def _lost(path: Path, source: Source) -> int | None:
    if source.sequence is None:
        return None
    images = source.shape[0]
    first, last = int(source.sequence(0, 1)[0]), int(source.sequence(images - 1, images)[0])
    if last - first < images - 1:
        raise InputError(f"{path}: sequence numbers {first} to {last} of {images} images; correct or delete them")
    return last - first - images + 1


def _recognised(path: Path) -> Format:
    head = _head(path)
    for reader in readers():
        if reader.recognises(path, head):
            return reader
    regular_file(path)
    for reader in readers():
        if path.suffix.lower() in reader.SUFFIXES:
            raise InputError(f"{path}: not a {reader.NAME} in spite of its name, or cut off; copy it again")
    known = ", ".join(f"{reader.NAME} ({' '.join(reader.SUFFIXES)})" for reader in readers())
    raise InputError(f"{path}: not a capture; expected one of: {known}")


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    with blaming(regular_file(path), "file"), path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InputError(f"{path}: empty (0 bytes); copy or record it again")
    return head


@cache
def readers() -> tuple[Format, ...]:
    """The modules of `hardware.formats`, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    return tuple(importlib.import_module(f"{formats.__name__}.{name}") for name in names)


def _peak(source: Source) -> int:
    """The largest count, by reading everything."""
    images, height, width = source.shape
    step = max(1, BLOCK_BYTES // (height * width * source.dtype.itemsize))
    return max(int(source.read(start, min(start + step, images)).max()) for start in range(0, images, step))


def _first(block: Counts, bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Index of the first image with a bad count, and that count."""
    index = int(bad.any(axis=(1, 2)).argmax())
    return index, int(block[index][bad[index]][0])


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The native unsigned type that counts of `dtype` fit, once checked: never more than 32 bits."""
    return np.dtype(f"u{min(dtype.itemsize, 4)}")
