"""Captures: recordings of integer counts, and how they were taken."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, RLock
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from hardware.captures.assumptions import Peak, complete
from hardware.captures.part import Part, Region
from hardware.captures.sequence import lost_images, unwrapped
from hardware.captures.summing import group_starts, parts_reader, summed_reader
from hardware.formats.registry import Format, format_of
from hardware.parsing.levels import counts_of_levels
from hardware.parsing.sentinels import FAR, without_marked
from hardware.parsing.source import SIZE, Choice, Source, blaming, counts_dtype, size_of, stack_shape
from hardware.parsing.whole_numbers import whole_numbers
from hardware.settings import PartialSettings, Settings
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.files import at_home
from noise_model.sensor import Exposure, Sensor

#: Bytes of counts that are read at once, about.
BLOCK_BYTES = 1 << 24

_MOST_DIGITS = 19  # of a number of images


@dataclass(frozen=True)
class Capture:
    """An opened recording: counts that are read as they are asked for; a context manager.

    Attributes:
        path: the file, or the folder of images.
        format: name of its format.
        shape: (T, H, W): images, rows, columns; of places, where pixels are divided into them (`places`).
        dtype: type of the counts in a block; an unsigned integer type.
        settings: how the images were taken.
        pixel_mask: (H, W), NXdetector bits.
        image_key: (T,): 0 scene, 1 flat, 2 dark, 3 invalid; None means all 0.
        notes: further facts of the acquisition, by name.
        assumptions: a sentence for everything that was assumed, lost, or worth knowing about how the file was read.
        assumed: names of the settings that neither the file nor the user said.
        lost: images lost between the first and the last, by their sequence numbers; None without such numbers.
        region: rows and columns that were taken of an array of `array_shape`, as slices; None where it is all of them.
    """

    path: Path
    format: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    settings: Settings
    pixel_mask: NDArray[np.uint32] | None
    image_key: NDArray[np.uint8] | None
    notes: dict[str, Any]
    assumptions: tuple[str, ...]
    assumed: tuple[str, ...]
    lost: int | None
    source: Source = field(repr=False)
    region: Region | None = None
    array_shape: tuple[int, int] | None = None
    _closed: Event = field(default_factory=Event, repr=False, compare=False)  # shared with what is made of the capture
    _reading: RLock = field(default_factory=RLock, repr=False, compare=False)  # sources seek in files

    def __repr__(self) -> str:
        images, rows, columns = self.shape
        return f"<Capture {self.path.name}: {images} images of {rows} x {columns} pixels, {self.settings.exposure}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the file."""
        self._closed.set()
        self.source.close()

    @property
    def exposure(self) -> Exposure:
        """Count time of one hardware frame (s), and the hardware frames summed into one image.

        Raises:
            InputError: pixels have frames of their own.
        """
        if self.mapped:
            raise InputError(
                f"{self.path}: pixels have different numbers of hardware frames, as in merged recordings, which can be"
                " restored only; give the recording that it was made from"
            )
        return self.settings.exposure

    @property
    def mapped(self) -> bool:
        """Whether pixels have numbers of hardware frames of their own; the settings then say the most of any pixel."""
        return self.source.cycles is not None

    def require_plain(self) -> None:
        """Raises InputError where pixels have hardware frames or places of their own, as in merged recordings."""
        if self.mapped or self.places > 1:
            raise InputError(
                f"{self.path}: pixels have hardware frames or places of their own, as in merged recordings, which"
                " cannot be played; give the recording that it was made from"
            )

    @property
    def places(self) -> int:
        """Places within a pixel along each side, whose counts are kept apart; 1 where pixels are whole."""
        return self.source.places

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of whole pixels."""
        return self.shape[1] // self.places, self.shape[2] // self.places

    def exposure_of(self, start: int, stop: int) -> Exposure:
        """The exposure of the images `start` to `stop`, with cycles (stop - start, H, W) where pixels have their own.

        Raises:
            InputError: as `cycles`.
        """
        cycles = self.cycles(start, stop)
        if cycles is None:
            return self.settings.exposure
        return Exposure(self.settings.count_time, torch.from_numpy(cycles.astype(np.int64)))

    def cycles(self, start: int, stop: int) -> Counts | None:
        """Hardware frames of each pixel of the images `start` to `stop`, (stop - start, H, W) uint32.

        They are 0 where a pixel never looked; None where one number, that of the settings, is that of all.

        Raises:
            InputError: a number is negative or above that of the settings, or the file is damaged.
        """
        if self.source.cycles is None:
            return None
        with self._reading, blaming(self.path, self.format):
            block = np.asarray(self.source.cycles(start, stop))
        most = self.settings.cycles
        if block.shape != (stop - start, *self.shape[1:]) or block.min() < 0 or block.max() > most:
            raise InputError(
                f"{self.path}: the hardware frames of the pixels of images {start} to {stop - 1} are not all there, or"
                f" not from 0 to {most} (number_of_cycles); correct or copy the file"
            )
        return block.astype(np.uint32)

    def read(self, start: int, stop: int) -> Counts:
        """Counts of the images `start` to `stop`, (stop - start, H, W), checked; threads take turns.

        Raises:
            InputError: a count is negative or above the largest possible (the image is named), or the file is damaged.
        """
        self._require_open()
        with self._reading, blaming(self.path, self.format):
            block = np.asarray(self.source.read(start, stop))
        if block.shape != (stop - start, *self.shape[1:]):
            raise InputError(
                f"{self.path}: damaged: images {start} to {stop - 1} are not all there; copy the file again"
            )
        if block.dtype.kind not in "iub":
            raise InputError(f"{self.path}: values are {block.dtype} in spite of what was said; expected whole numbers")
        return self._checked(block, start).astype(self.dtype, copy=False)

    def blocks(self, size: int | None = None) -> Iterator[Counts]:
        """Counts of all images in order, (n, H, W) each, checked, `size` images at a time and fewer at the end.

        Without `size` a block is about 16 MB. Memory does not depend on the number of images.

        Raises:
            InputError: as `read`.
        """
        size = size or max(1, BLOCK_BYTES // max(1, self.shape[1] * self.shape[2] * self.dtype.itemsize))
        for start in range(0, self.shape[0], size):
            yield self.read(start, min(start + size, self.shape[0]))

    def sequence_number(self, start: int, stop: int) -> NDArray[np.uint64] | None:
        """Indices as acquired of the images `start` to `stop`, (stop - start,); None where the file has none.

        Raises:
            InputError: they do not increase.
        """
        if self.source.sequence is None:
            return None
        self._require_open()
        with blaming(self.path, self.format):
            numbers = self.source.sequence(start, stop)
        if (numbers[1:] <= numbers[:-1]).any():
            index = start + 1 + int((numbers[1:] <= numbers[:-1]).argmax())
            raise InputError(f"{self.path}: the sequence number of image {index} is no larger than the one before")
        return numbers

    def parts(self, image: int, most: int) -> tuple[Counts, NDArray[np.int64]]:
        """An image that is a sum, in up to `most` consecutive parts: counts (P, H, W), images in each (P,).

        One that is no sum is a part of itself.

        Raises:
            InputError: as `read`.
        """
        if self.source.parts is None:
            return self.read(image, image + 1), np.ones(1, np.int64)
        self._require_open()
        return self.source.parts(image, most)

    def between(self, start: int, stop: int) -> "Capture":
        """The images `start` to `stop` of the same recording (as summed); its assumptions are those of the whole."""
        source = self.source
        sequence, cycles, parts = source.sequence, source.cycles, source.parts
        shape = (stop - start, *self.shape[1:])
        part = replace(
            source,
            shape=shape,
            read=lambda first, last: source.read(start + first, start + last),
            sequence=sequence and (lambda first, last: sequence(start + first, start + last)),
            cycles=cycles and (lambda first, last: cycles(start + first, start + last)),
            parts=parts and (lambda image, most: parts(start + image, most)),
        )
        key = None if self.image_key is None else self.image_key[start:stop]
        return replace(self, source=part, shape=shape, image_key=key)

    def summed(self, group: int, every: int | None = None) -> "Capture":
        """The same recording with every `group` consecutive scene images summed into one, lazily, as uint32.

        A group with an image whose `image_key` is not 0 is left out; so is the rest that fills no group. `assumptions`
        says how many images are left out.

        Args:
            every: images from the first of a group to the first of the next; fewer than `group` make groups that
                overlap. Without it they adjoin.

        Raises:
            InputError: not one group can be filled, or the sums do not fit 32 bits.
        """
        if group < 1:
            raise InputError(f"sums of {group} images; expected 1 or more images per sum", "sum")
        step = group if every is None else every
        if step < 1:
            raise InputError(f"a sum every {step} images; expected 1 or more images", "every")
        if group == step == 1 and self.image_key is None:
            return self
        settings, starts = self._summed_settings(group, step), self._group_starts(group, step)
        slab = max(1, BLOCK_BYTES // (self.shape[1] * self.shape[2] * self.dtype.itemsize))
        read = summed_reader(self.read, starts, group, slab)
        shape = (len(starts), *self.shape[1:])
        frames = self.source.cycles and summed_reader(self._frames, starts, group, slab)
        parts = parts_reader(self.read, starts, group, slab) if group > 1 and not self.mapped else None
        source = replace(
            self.source, read=read, shape=shape, dtype=np.dtype(np.uint32), sequence=None, cycles=frames, parts=parts
        )
        covered = np.diff(np.append(starts, self.shape[0])).clip(max=group)  # a later group begins before the end
        dropped = self.shape[0] - int(covered.sum())
        remark = f"{dropped} of {self.shape[0]} images fill no group of {group} scene images and are left out"
        return replace(
            self,
            source=source,
            shape=source.shape,
            dtype=source.dtype,
            settings=settings,
            image_key=None,
            assumptions=self.assumptions + ((remark,) if dropped else ()),
        )

    def _frames(self, start: int, stop: int) -> Counts:
        cycles = self.cycles(start, stop)
        assert cycles is not None
        return cycles

    def _summed_settings(self, group: int, every: int) -> Settings:
        if self.settings.saturation_value * group >= 2**32:
            raise InputError(f"{self.path}: sums of {group} images exceed 32-bit counts; sum fewer images", "sum")
        frame_time = self.settings.frame_time and self.settings.frame_time * every
        return replace(self.settings.summed(group), frame_time=frame_time)

    def _group_starts(self, group: int, every: int) -> Sequence[int] | NDArray[np.intp]:
        starts = group_starts(self.shape[0], group, every, self.image_key)
        if not len(starts):
            few = f"no group of {group} scene images among {self.shape[0]}"
            raise InputError(f"{self.path}: {few}; sum fewer images", "sum")
        return starts

    @property
    def distinct_images(self) -> int:
        """How many images there are that repeat none before them, by what the file says (a simulated camera's)."""
        said = str(self.notes.get("distinct_images", ""))
        return min(int(said), self.shape[0]) if said.isdecimal() and 0 < len(said) < _MOST_DIGITS else self.shape[0]

    @property
    def sensor(self) -> Sensor:
        """The ideal sensor with the capture's settings: PDE 1 (its rates are detection rates), no dark counts."""
        height, width = self.pixels
        mask = None if self.pixel_mask is None else torch.from_numpy(self.pixel_mask.view(np.int32).copy())
        return Sensor(
            name=f"ideal, {self.settings.counter_bits} bit",
            pde=torch.ones(height, width),
            dark_count_rate=torch.zeros(height, width),
            dead_time=self.settings.dead_time,
            counter_bits=self.settings.counter_bits,
            pixel_mask=mask,
            source=f"header of {self.path.name}",
            measured=False,
        )

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise InputError(f"{self.path}: was closed; open it again to read more of it")

    def _checked(self, block: Counts, start: int) -> Counts:
        largest = self.settings.saturation_value
        if self.pixel_mask is not None:
            masked = np.repeat(np.repeat(self.pixel_mask != 0, self.places, axis=0), self.places, axis=1)
            block = np.where(masked & ((block < 0) | (block > largest)), 0, block)
        if block.dtype.kind == "i" and block.min() < 0:
            index, value = _first(block, block < 0)
            raise InputError(
                f"{self.path}: image {start + index} holds the count {value}; expected counts of 0 and more"
            )
        if self.mapped:
            self._check_mapped(block, start)
        if block.max() > largest:
            index, value = _first(block, block > largest)
            how = f"{self.settings.cycles} cycles of a {self.settings.counter_bits}-bit counter"
            raise InputError(
                f"{self.path}: image {start + index} holds the count {value}, above the largest possible, {largest}"
                f" ({how}); correct the file, or how it is said to be taken",
                "cycles",
                "counter_bits",
            )
        return block

    def _check_mapped(self, block: Counts, start: int) -> None:
        """Raises InputError where a pixel counts more than its own frames allow."""
        largest = self._frames(start, start + len(block)).astype(np.int64) * ((1 << self.settings.counter_bits) - 1)
        if (block > largest).any():
            index, row, column = (int(each) for each in np.unravel_index((block > largest).argmax(), block.shape))
            raise InputError(
                f"{self.path}: pixel ({row}, {column}) of image {start + index} holds the count"
                f" {block[index, row, column]}, above the largest possible in its hardware frames,"
                f" {largest[index, row, column]}; correct the file"
            )


def open_capture(
    path: str | Path,
    *,
    count_time: float | None = None,
    cycles: int | None = None,
    dead_time: float | None = None,
    counter_bits: int | None = None,
    array: str | None = None,
    layout: str | None = None,
    channel: str | int | None = None,
    position: str | int | None = None,
    slice: str | int | None = None,
    first: int | None = None,
    last: int | None = None,
    roi: Region | None = None,
) -> Capture:
    """Opens a recording of any known format; its counts are read later, in blocks.

    `count_time` (s), `cycles` (hardware frames per image), `dead_time` (s) and `counter_bits` are for what the file
    does not say. What is not given either is assumed, and listed in `Capture.assumptions`. `array` names or numbers one
    of several arrays in a file, or one of several channels; `layout` is the order of its numbers: counts, packed,
    packed-rows, images-first or images-last, or for files without a header rows x columns x bits, such as 512x512x8.
    `channel`, `position` and `slice` name or number (from 1) one of several in a file with such axes.
    `first` and `last` choose images, both included and counted from 0, and `roi` rows and columns (two slices); what is
    assumed does not depend on them.

    Raises:
        InputError: not a capture, damaged, or an argument contradicts the file.
    """
    path = at_home(path)
    given = PartialSettings.of(
        None, count_time=count_time, cycles=cycles, dead_time=dead_time, counter_bits=counter_bits
    )
    axes = {"channel": channel, "position": position, "slice": slice}
    chosen = {axis: str(entry) for axis, entry in axes.items() if entry is not None}
    form, choice = format_of(path), Choice(array, layout, **chosen)
    _check_choice(path, form, choice)
    with blaming(path, form.NAME):
        source = form.open_source(path, choice)
        try:
            return _assembled(path, form.NAME, source, given, Part(first, last, roi))
        except BaseException:
            source.close()
            raise


def _assembled(path: Path, name: str, whole: Source, given: PartialSettings, part: Part) -> Capture:
    """The capture of a part of a source; what the source does not say is as `given`, or assumed."""
    whole = replace(whole, shape=stack_shape(path, whole.shape))
    counts_dtype(path, whole.dtype)
    known = PartialSettings.model_validate(given.known() | whole.settings.known())
    whole = without_marked(whole_numbers(path, whole, known), known)
    whole = counts_of_levels(path, whole, known)
    settings, assumed = complete(path, whole.settings, given, whole.usual, lambda: _peak(path, whole))
    source = part.of(path, unwrapped(path, whole))
    lost = lost_images(source)
    gaps = (f"{lost} images were lost while recording (sequence numbers)",) if lost else ()
    return Capture(
        path=path,
        format=name,
        shape=source.shape,
        dtype=_unsigned(source.dtype),
        settings=settings,
        pixel_mask=source.pixel_mask,
        image_key=source.image_key,
        notes=dict(source.notes),
        assumptions=source.remarks + gaps + tuple(assumed.values()),
        assumed=tuple(assumed),
        lost=lost,
        source=source,
        region=part.region,
        array_shape=whole.shape[1:],
    )


def _check_choice(path: Path, form: Format, choice: Choice) -> None:
    if choice.array is not None and not form.ARRAYS:
        raise InputError(f"{path}: array {choice.array}: a {form.NAME} holds one array; choose none", "array")
    for axis in ("channel", "position", "slice"):
        if getattr(choice, axis) is not None and axis not in form.AXES:
            raise InputError(f"{path}: {axis} {getattr(choice, axis)}: {form.NAME}s have no {axis}s; choose none", axis)
    a_size = SIZE in form.LAYOUTS and size_of(choice.layout) is not None
    if choice.layout is not None and choice.layout not in form.LAYOUTS and not a_size:
        known = f"expected {' or '.join(form.LAYOUTS)}" if form.LAYOUTS else "choose none"
        raise InputError(f"{path}: layout {choice.layout} is none of a {form.NAME}; {known}", "layout")


def _peak(path: Path, source: Source) -> Peak:
    """The largest count of a file, by reading everything but masked pixels.

    Raises:
        InputError: it is the largest number of a type of more than 8 bits and far above all others, so no count.
    """
    images, height, width = source.shape
    step = max(1, BLOCK_BYTES // (height * width * source.dtype.itemsize))
    good = slice(None) if source.pixel_mask is None else source.pixel_mask == 0
    most = int(np.iinfo(source.dtype).max) if source.dtype.kind in "iu" else 1
    mark = 0 if source.dtype.itemsize == 1 else most
    seen, below = Counter[int]({0: 0}), 0
    for start in range(0, images, step):
        block = source.read(start, min(start + step, images))[:, good]
        highest = int(block.max(initial=0))
        below = max(below, int(block.max(initial=0, where=block < mark)) if highest == mark else highest)
        largest = max(highest, *seen)
        for count in (largest, largest - 1):
            seen[count] += int(np.count_nonzero(block == count))
    peak = max(seen)
    if mark and peak == mark and below < mark // FAR:
        what = f"{peak}, the largest number of its type and far above all others (up to {below})"
        raise InputError(
            f"{path}: some counts are {what}; mask such pixels, or say how the file was taken if these are counts",
            "cycles",
            "counter_bits",
        )
    return Peak(peak, seen[peak], seen[peak - 1], peak == most and source.dtype.kind != "b")


def _first(block: Counts, bad: NDArray[np.bool_]) -> tuple[int, int]:
    """Index in the block of the first image with a bad count, and that count."""
    index = int(bad.any(axis=(1, 2)).argmax())
    return index, int(block[index][bad[index]][0])


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The native unsigned type that counts of `dtype` fit, once checked: never more than 32 bits."""
    return np.dtype(f"u{min(dtype.itemsize, 4)}")
