"""The capture file, HDF5 with NeXus names; and HDF5 files with a layout of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import bomb_check, check_present, told, whole_value
from hardware.hdf5.datasets import Images, images_at, only_images
from hardware.hdf5.nexus_tree import (
    CYCLES,
    DETECTOR,
    NAMED_NOTES,
    NOTES,
    PLACES_OF_PIXELS,
    SETTINGS,
    UNFINISHED,
    inside,
    plain,
)
from hardware.hdf5.unfinished import Unfinished, whole_images
from hardware.parsing import arrays
from hardware.parsing.source import Choice, Source, counts_dtype, stack_shape
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5
from noise_model.sensor import PLACES

NAME = "HDF5 capture"
SUFFIXES = (".h5", ".hdf5", ".nxs")
ARRAYS = True
AXES = ()
LAYOUTS = arrays.LAYOUTS

COUNTS = (f"{DETECTOR}/data", "/entry/data/data", "/entry/data")

#: Where a mask may lie below the group of the counts; detectors of DECTRIS have it in the second place.
MASKS = ("pixel_mask", "detectorSpecific/pixel_mask")

#: Seconds in a unit, by its names. UDUNITS, which NeXus refers to, has the words as well as the signs.
SECONDS = {
    name: size
    for size, names in {
        1.0: ("s", "sec", "second", "seconds"),
        1e-3: ("ms", "msec", "millisecond", "milliseconds"),
        1e-6: ("us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s", "usec", "microsecond", "microseconds"),
        1e-9: ("ns", "nsec", "nanosecond", "nanoseconds"),
        60.0: ("min", "minute", "minutes"),
    }.items()
    for name in names
}

#: Numbers of images that are compared at once.
SLAB = 1 << 20


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its signature, which may follow a user block."""
    return h5py.is_hdf5(path) or head.startswith(b"\x89HDF")


def open_source(path: Path, choice: Choice) -> Source:
    """Finds the counts and what is said about them; images are read as they are asked for."""
    file = read_hdf5(path)
    try:
        data = None if choice.array or choice.layout else _counts(path, file)
        plainly = data is not None and data.ndim < 4
        return _describe(path, file, data) if plainly else _of_its_own(path, file, choice)
    except BaseException:
        file.close()
        raise


def _describe(path: Path, file: h5py.File, data: h5py.Dataset) -> Source:
    fields = _Fields(path, inside(path, file, DETECTOR))
    cut = fields.whole_images(data) if UNFINISHED in file.attrs else None
    shape = stack_shape(path, data.shape if cut is None else (cut, *data.shape[1:]))
    check_present(path, data, cut)
    places = fields.places(shape)
    return Source(
        shape=shape,
        dtype=counts_dtype(path, data.dtype),
        read=_reader(path, data, fields.unfinished),
        close=file.close if fields.unfinished is None else fields.unfinished.close,
        settings=fields.settings(),
        pixel_mask=fields.mask((shape[1] // places, shape[2] // places)),
        image_key=fields.array("image_key", shape[:1], np.dtype(np.uint8)),
        notes=_notes(path, file),
        remarks=() if cut is None or fields.unfinished is None else (fields.unfinished.remark(cut),),
        sequence=fields.sequence(shape[0]),
        cycles=fields.cycles(shape),
        places=places,
    )


def _of_its_own(path: Path, file: h5py.File, choice: Choice) -> Source:
    """The images that the user names, or the only ones in the file, with the settings that lie beside them."""
    if choice.array:
        images, channel = _named(path, file, choice.array)
    elif (data := _counts(path, file)) is not None:
        images, channel = Images([data], data.name), None
    else:
        images, channel = only_images(path, file, COUNTS[0]), None
    _refuse_results(path, images.data[0])
    fields = _Fields(path, images.parent)
    order = Choice(channel, choice.layout)
    source = arrays.source_of_array(path, images.shape, images.dtype, images.reader(path), file.close, order)
    return replace(
        source,
        settings=source.settings if source.settings.known() else fields.settings(),
        pixel_mask=fields.mask(source.shape[1:]),
        remarks=(*source.remarks, f"counts read from {images}"),
    )


def _named(path: Path, file: h5py.File, name: str) -> tuple[Images, str | None]:
    """The images at a path in the file, after which a channel may follow (data/1)."""
    place, _, channel = name.rpartition("/")
    if place and channel.isdigit() and isinstance(inside(path, file, f"/{place.strip('/')}"), h5py.Dataset):
        return images_at(path, file, place), channel
    return images_at(path, file, name), None


def _counts(path: Path, file: h5py.File) -> h5py.Dataset | None:
    found = (inside(path, file, place) for place in COUNTS)
    data = next((item for item in found if isinstance(item, h5py.Dataset)), None)
    if data is not None:
        _refuse_results(path, data)
    return data


def _refuse_results(path: Path, data: h5py.Dataset) -> None:
    if told(path, data, "units") == "counts/s":
        raise InputError(f"{path}: a restored result in counts/s; give the capture it was made from")


def _reader(path: Path, data: h5py.Dataset, unfinished: Unfinished | None) -> Callable[[int, int], Counts]:
    check = bomb_check(path, data)

    def read(start: int, stop: int) -> Counts:
        check(start, stop)
        if unfinished is not None:
            return unfinished.rows(data, start, stop)
        images: Counts = data[()][None] if data.ndim == 2 else data[start:stop]
        return images

    return read


class _Fields:
    """Fields of the detector, each checked as it is asked for; None where the file has no such field."""

    def __init__(self, path: Path, detector: Any) -> None:
        self.path, self.detector = path, detector
        self.unfinished: Unfinished | None = None

    def whole_images(self, data: h5py.Dataset) -> int | None:
        """How many images are whole in a file whose writer was killed; None without sequence numbers."""
        numbers = self._field("sequence_number")
        if numbers is None or numbers.ndim != 1 or data.ndim != 3:
            return None
        check_present(self.path, numbers, 0)
        self.unfinished = Unfinished(self.path, data.file)
        return whole_images(data, numbers)

    def settings(self) -> PartialSettings:
        """What the fields say of how the images were taken."""
        return PartialSettings.of(self.path, **{name: self.scalar(field) for name, field in SETTINGS.items()})

    def mask(self, shape: tuple[int, int]) -> NDArray[np.uint32] | None:
        """The pixel mask, of an image of `shape`."""
        found = (self.array(name, shape, np.dtype(np.uint32)) for name in MASKS)
        return next((mask for mask in found if mask is not None), None)

    def scalar(self, name: str) -> float | None:
        """The number in a field, which may be repeated for every image; a time in seconds."""
        field = self._field(name)
        if field is None:
            return None
        if field.dtype.kind not in "iufb" or not field.size or field.ndim > 1:
            raise InputError(f"{self.path}: {name} has shape {field.shape} and type {field.dtype}; expected one number")
        return self._in_seconds(name, told(self.path, field, "units"), self._same(name, field))

    def _same(self, name: str, field: h5py.Dataset) -> Any:
        if field.size == 1:
            return np.asarray(whole_value(self.path, field)).item()
        check_present(self.path, field)
        read = _reader(self.path, field, None)
        numbers = read(0, 1)
        for start in range(0, field.size, SLAB):
            block = read(start, min(start + SLAB, field.size))
            if (block != numbers[0]).any():
                few = f"{block.min():g} to {block.max():g}"
                raise InputError(f"{self.path}: {name} differs between images ({few}); expected one number")
        return numbers[0].item()

    def _in_seconds(self, name: str, unit: Any, value: float) -> float:
        if not name.endswith("_time") or unit is None:
            return value
        known = SECONDS.get(unit) if isinstance(unit, str) else None
        known = known or (SECONDS.get(unit.strip().lower()) if isinstance(unit, str) and len(unit) > 2 else None)
        if known is None:
            raise InputError(f"{self.path}: {name} in {unit!r}; expected one of {', '.join(SECONDS)}")
        return value * known

    def sequence(self, images: int) -> Callable[[int, int], NDArray[np.uint64]] | None:
        """A reader of the sequence numbers, as they are asked for: a long recording has gigabytes of them."""
        field = self._integers("sequence_number", (images,))
        if field is None:
            return None
        read = _reader(self.path, field, self.unfinished)
        return lambda start, stop: read(start, stop).astype(np.uint64)

    def cycles(self, shape: tuple[int, int, int]) -> Callable[[int, int], Counts] | None:
        """A reader of the frames of each pixel: one map (H, W) for all images, or one for each."""
        field = self._field(CYCLES)
        common = field is not None and field.ndim == 2
        field = self._integers(CYCLES, shape[1:] if common else shape)
        if field is None:
            return None
        if not common:
            return _reader(self.path, field, self.unfinished)
        whole = _reader(self.path, field, None)(0, 1)
        return lambda start, stop: np.broadcast_to(whole, (stop - start, *shape[1:]))

    def places(self, shape: tuple[int, int, int]) -> int:
        """Places within a pixel along each side, whose counts are kept apart."""
        places = self.scalar(PLACES_OF_PIXELS)
        if places is None:
            return 1
        if places != PLACES or shape[1] % PLACES or shape[2] % PLACES:
            raise InputError(
                f"{self.path}: {places:g} places along each side of a pixel in images of {shape[1]} x {shape[2]};"
                f" expected {PLACES}, and a multiple of it"
            )
        return PLACES

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """The integer array in a field, of exactly `shape`."""
        field = self._integers(name, shape)
        if field is None:
            return None
        whole = field[()] if field.ndim == 2 else _reader(self.path, field, self.unfinished)(0, shape[0])
        array: NDArray[Any] = whole.astype(dtype)
        return array

    def _integers(self, name: str, shape: tuple[int, ...]) -> h5py.Dataset | None:
        field = self._field(name)
        if field is None:
            return None
        longer = self.unfinished is not None and field.shape[1:] == shape[1:] and field.shape[:1] >= shape[:1]
        if not (field.shape == shape or longer) or field.dtype.kind not in "iub":
            raise InputError(f"{self.path}: {name} is {field.dtype} {field.shape}; expected integers of shape {shape}")
        check_present(self.path, field, shape[0] if longer else None)
        return field

    def _field(self, name: str) -> h5py.Dataset | None:
        if not isinstance(self.detector, h5py.Group):
            return None
        field = inside(self.path, self.detector, name)
        return field if isinstance(field, h5py.Dataset) else None


def _notes(path: Path, file: h5py.File) -> dict[str, Any]:
    free = inside(path, file, NOTES)
    notes = {name: told(path, free, name) for name in free.attrs} if isinstance(free, h5py.Group) else {}
    notes.pop("NX_class", None)
    for name, place in NAMED_NOTES.items():
        field = inside(path, file, place)
        if isinstance(field, h5py.Dataset) and field.size == 1:
            notes[name] = plain(whole_value(path, field))
    return notes
