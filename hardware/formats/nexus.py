"""The capture file: HDF5 with NeXus names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5.checks import bomb_check, check_present, whole_value
from hardware.hdf5.nexus_tree import DETECTOR, NAMED_NOTES, NOTES, SETTINGS, UNFINISHED, inside, plain
from hardware.hdf5.unfinished import Unfinished, whole_images
from hardware.parsing.source import Choice, Source, counts_dtype, stack_shape
from hardware.settings import PartialSettings
from noise_model.arrays import Counts
from noise_model.errors import InputError
from noise_model.hdf5_files import read_hdf5

NAME = "HDF5 capture"
SUFFIXES = (".h5", ".hdf5", ".nxs")
ARRAYS = False
LAYOUTS = ()

PLACES = (f"{DETECTOR}/data", "/entry/data/data", "/entry/data")
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "\N{MICRO SIGN}s": 1e-6, "ns": 1e-9}


def recognises(path: Path, head: bytes) -> bool:
    """Recognises a file by its signature, which may follow a user block."""
    return h5py.is_hdf5(path) or head.startswith(b"\x89HDF")


def open_source(path: Path, choice: Choice) -> Source:
    """Finds the counts and what is said about them; images are read as they are asked for."""
    file = read_hdf5(path)
    try:
        return _describe(path, file)
    except BaseException:
        file.close()
        raise


def _describe(path: Path, file: h5py.File) -> Source:
    data = _counts(path, file)
    fields = _Fields(path, inside(path, file, DETECTOR))
    cut = fields.whole_images(data) if UNFINISHED in file.attrs else None
    shape = stack_shape(path, data.shape if cut is None else (cut, *data.shape[1:]))
    check_present(path, data, cut)
    return Source(
        shape=shape,
        dtype=counts_dtype(path, data.dtype),
        read=_reader(path, data, fields.unfinished),
        close=file.close if fields.unfinished is None else fields.unfinished.close,
        settings=PartialSettings.of(path, **{name: fields.scalar(field) for name, field in SETTINGS.items()}),
        pixel_mask=fields.array("pixel_mask", shape[1:], np.dtype(np.uint32)),
        image_key=fields.array("image_key", shape[:1], np.dtype(np.uint8)),
        notes=_notes(path, file),
        remarks=() if cut is None or fields.unfinished is None else (fields.unfinished.remark(cut),),
        sequence=fields.sequence(shape[0]),
    )


def _counts(path: Path, file: h5py.File) -> h5py.Dataset:
    found = (inside(path, file, place) for place in PLACES)
    data = next((item for item in found if isinstance(item, h5py.Dataset)), None)
    if data is None:
        raise InputError(f"{path}: HDF5 without counts; expected the dataset {PLACES[0]}")
    if plain(data.attrs.get("units")) == "counts/s":
        raise InputError(f"{path}: a restored result in counts/s; give the capture it was made from")
    return data


def _reader(path: Path, data: h5py.Dataset, unfinished: Unfinished | None) -> Callable[[int, int], Counts]:
    check = bomb_check(path, data)

    def read(start: int, stop: int) -> Counts:
        check(start, stop)
        if unfinished is not None:
            return unfinished.rows(data, start, stop)
        images: Counts = data[None] if data.ndim == 2 else data[start:stop]
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

    def scalar(self, name: str) -> float | None:
        """The number in a field; a time in seconds."""
        field = self._field(name)
        if field is None:
            return None
        if field.dtype.kind not in "iufb" or field.size != 1:
            raise InputError(f"{self.path}: {name} has shape {field.shape} and type {field.dtype}; expected one number")
        value = np.asarray(whole_value(self.path, field)).item()
        return self._in_seconds(name, plain(field.attrs.get("units")), value)

    def _in_seconds(self, name: str, unit: Any, value: float) -> float:
        if not name.endswith("_time") or unit in (None, "s"):
            return value
        if unit not in SECONDS:
            raise InputError(f"{self.path}: {name} in {unit!r}; expected one of {', '.join(SECONDS)}")
        return value * SECONDS[unit]

    def sequence(self, images: int) -> Callable[[int, int], NDArray[np.uint64]] | None:
        """A reader of the sequence numbers, as they are asked for: a long recording has gigabytes of them."""
        field = self._integers("sequence_number", (images,))
        if field is None:
            return None
        read = _reader(self.path, field, self.unfinished)
        return lambda start, stop: read(start, stop).astype(np.uint64)

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
    notes = {name: plain(value) for name, value in free.attrs.items()} if isinstance(free, h5py.Group) else {}
    notes.pop("NX_class", None)
    for name, place in NAMED_NOTES.items():
        field = inside(path, file, place)
        if isinstance(field, h5py.Dataset) and field.size == 1:
            notes[name] = plain(whole_value(path, field))
    return notes
