"""The NeXus tree of captures and results in HDF5 files: its places, how it is written, and how it is walked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hardware.hdf5 import bitshuffle
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.hdf5_files import SafeFile
from noise_model.plain_text import encodable

DETECTOR = "/entry/instrument/detector"
NOTES = "/entry/notes"

#: Attributes of `Settings`, with their names in a file: numbers, and what was done to the counts.
NUMBERS = {
    "count_time": "count_time",
    "cycles": "number_of_cycles",
    "dead_time": "dead_time",
    "counter_bits": "bit_depth_readout",
    "saturation_value": "saturation_value",
    "frame_time": "frame_time",
}
SETTINGS = NUMBERS | {
    "corrected": "countrate_correction_applied",
    "background_subtracted": "background_subtracted",
}

#: Fields for the hardware frames of each pixel, and for the number of places along each side of a pixel.
CYCLES, PLACES_OF_PIXELS = "cycles", "places_per_pixel"

#: Notes that NeXus has a place for.
NAMED_NOTES = {
    "start_time": "/entry/start_time",
    "description": f"{DETECTOR}/description",
    "serial_number": f"{DETECTOR}/serial_number",
}

CLASSES = {
    "/entry": "NXentry",
    "/entry/instrument": "NXinstrument",
    DETECTOR: "NXdetector",
    "/entry/data": "NXdata",
    NOTES: "NXcollection",
}

LARGEST_CHUNK, SMALLEST_CHUNK = 1 << 20, 1 << 14

#: Attribute of a capture that is being written, or whose writer was killed: the writer, as `this_process` names it.
UNFINISHED = "unfinished"

_LEVEL = 1  # of gzip

#: Filters of a dataset, by name.
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": _LEVEL, "shuffle": True},
    "lz4": bitshuffle.FILTER,
}


def creator() -> str:
    """Name and version of the program that writes a file."""
    try:
        return f"spadsr {version('spadsr')}"
    except PackageNotFoundError:
        return "spadsr (not installed)"


@contextmanager
def new_tree(path: Path) -> Iterator[SafeFile]:
    """An empty tree in a file beside `path`, renamed to it at the end; nothing is left after an error."""
    with whole_file(path) as partial, new_file(partial) as file:
        yield file


def unfinished_name(path: Path) -> Path:
    """The name of the recording `path` until it is finished.

    Raises:
        InputError: it exists already, finished or not.
    """
    part = path.with_suffix(f".part{path.suffix}")
    for taken in (path, part):
        if taken.exists():
            raise InputError(f"{taken}: is there already; recordings replace nothing: move it, or choose another name")
    return part


def new_file(path: Path) -> SafeFile:
    """An empty tree in the file `path`, which exists."""
    file = SafeFile(path, "w")
    file.attrs["default"] = text("entry")
    file.attrs["creator"] = text(creator())
    for place, nexus_class in CLASSES.items():
        file.create_group(place).attrs["NX_class"] = text(nexus_class)
    file["/entry"].attrs["default"] = text("data")
    file["/entry/data"].attrs["signal"] = text("data")
    file["/entry/data/data"] = h5py.SoftLink(f"{DETECTOR}/data")
    return file


def write_settings(file: h5py.File, settings: Settings, names: Mapping[str, str] = SETTINGS) -> None:
    """Writes those of the settings that are named and known, times with their unit."""
    for name, field in names.items():
        if (value := getattr(settings, name)) is None:
            continue
        file[DETECTOR][field] = value
        if field.endswith("_time"):
            file[DETECTOR][field].attrs["units"] = text("s")


def write_notes(file: h5py.File, notes: Mapping[str, Any]) -> None:
    """Writes further facts, by name, in the places that NeXus has for some of them."""
    for name, value in notes.items():
        if name in NAMED_NOTES:
            file[NAMED_NOTES[name]] = text(str(value))
        else:
            file[NOTES].attrs[name] = text(value) if isinstance(value, str) else value


def append(
    group: h5py.Group, name: str, block: NDArray[Any], units: str | None = None, compression: str = "none"
) -> None:
    """Appends `block` (n, ...) to the dataset `name`, which the first call makes, chunked over its first axis.

    Compressed blocks should all be of one length: then every chunk is written once and never again.
    """
    if name not in group:
        most, filters = (None, *block.shape[1:]), COMPRESSIONS[compression]
        chunks = _chunk(block, 1 if filters else SMALLEST_CHUNK)
        data = group.create_dataset(name, (0, *most[1:]), block.dtype, maxshape=most, chunks=chunks, **filters)
        if units:
            data.attrs["units"] = text(units)
    data = group[name]
    start = data.shape[0]
    data.resize(start + len(block), axis=0)
    if compression == "gzip" and data.chunks[1:] == block.shape[1:] and start % data.chunks[0] == 0:
        _write_chunks(data, start, block)
    else:
        data[start:] = block


def _write_chunks(data: h5py.Dataset, start: int, block: NDArray[Any]) -> None:
    """Writes shuffled and deflated chunks, as HDF5 would, in half the time."""
    import imagecodecs  # takes long to load

    images = data.chunks[0]
    for first in range(0, len(block), images):
        piece = np.zeros(data.chunks, data.dtype)
        piece[: len(block) - first] = block[first : first + images]
        shuffled = piece.reshape(-1, 1).view(np.uint8).T.tobytes()
        packed = imagecodecs.deflate_encode(shuffled, _LEVEL)
        data.id.write_direct_chunk((start + first, *[0] * (data.ndim - 1)), bytes(packed))


def _chunk(block: NDArray[Any], least_bytes: int) -> tuple[int, ...]:
    image_bytes = max(block[:1].nbytes, 1)
    images = min(len(block), LARGEST_CHUNK // image_bytes)
    return (max(images, least_bytes // image_bytes, 1), *block.shape[1:])


def inside(path: Path, group: h5py.Group, place: str, hops: int = 16) -> Any:
    """The item at `place`, absolute or below `group`, or None. At most `hops` soft links are followed.

    Raises:
        InputError: the way there leaves the file `path` by an external link, or soft links lead in a circle.
    """
    at: Any = group.file if place.startswith("/") else group
    for part in filter(None, place.split("/")):
        if not isinstance(at, h5py.Group) or not at.id.links.exists(part.encode()):
            return None
        kind = at.id.links.get_info(part.encode()).type
        if kind == h5py.h5l.TYPE_SOFT and hops:
            at = inside(path, at, at.id.links.get_val(part.encode()).decode(), hops - 1)
        elif kind == h5py.h5l.TYPE_HARD:
            at = at[part]
        else:
            raise InputError(f"{path}: {place} is a link out of the file or a circle of links; copy the counts into it")
    return at


def text(value: str) -> NDArray[Any]:
    """Text as an HDF5 string of fixed length: others lie in a heap, and HDF5 may hang over a damaged one."""
    encoded = encodable(value).encode()
    return np.array(encoded, h5py.string_dtype("utf-8", max(len(encoded), 1)))


def plain(value: Any) -> Any:
    """An HDF5 value as a Python one: str, int, float, bool, or a list of them."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()] if value.ndim else plain(value.item())
    return value.item() if isinstance(value, np.generic) else value
