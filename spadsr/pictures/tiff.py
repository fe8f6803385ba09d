"""TIFF files of restored images, for Fiji, napari and other viewers, written image by image."""

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from hardware.hdf5.nexus_tree import creator
from noise_model.errors import InputError
from noise_model.files import whole_file

#: What the channels hold, in order.
CHANNELS = ("rate, counts/s per native pixel area", "standard uncertainty, counts/s per native pixel area")

_LARGEST_CLASSIC_TIFF = (1 << 32) - (1 << 28)  # bytes, less a margin for the tags

Pages = Iterator[NDArray[np.float32]]


def write_imagej_tiff(
    path: Path, pages: Pages, shape: tuple[int, int, int], *, frame_time: float | None, description: Mapping[str, Any]
) -> None:
    """Writes images as a float32 stack that ImageJ opens.

    Args:
        pages: T images (H, W); `shape` is (T, H, W).
        frame_time: s from the start of one image to the start of the next, where known.
        description: facts, stored as JSON in ImageJ's "Info".

    Raises:
        InputError: more than the 4 GB that ImageJ reads as TIFF.
    """
    if 4 * np.prod(shape, dtype=np.int64) > _LARGEST_CLASSIC_TIFF:
        raise InputError(f"{path}: more than 4 GB do not fit a TIFF for ImageJ; write .ome.tif or .h5", "output")
    metadata = {"axes": "TYX", "Info": json.dumps(description)} | ({"finterval": frame_time} if frame_time else {})
    with whole_file(path) as partial:
        _write(partial, pages, shape, metadata, imagej=True)


def write_ome_tiff(
    path: Path,
    pages: Pages,
    shape: tuple[int, int, int],
    *,
    size: Mapping[str, Any],
    exposure: float,
    frame_time: float | None,
    description: Mapping[str, Any],
    later: Mapping[str, Sequence[float]],
) -> None:
    """Writes rates and their uncertainty as the two channels of a float32 OME-TIFF stack.

    Args:
        pages: for each of T images its rate and its uncertainty, (s H, s W); `shape` is (T, s H, s W).
        size: that of a pixel, in the words of OME.
        exposure: s, of one image.
        frame_time: s from the start of one image to the start of the next, where known.
        description: further facts, stored as JSON.
        later: of them those that are known once all pages are: a number for each of T images.
    """
    room = {name: _numbers([0.0] * shape[0]) for name in later}
    facts = "".join(f', "{name}": [{zeros}]' for name, zeros in room.items())
    planes = 2 * shape[0]
    metadata: dict[str, Any] = {
        "axes": "TCYX",
        "Channel": {"Name": list(CHANNELS)},
        **size,
        "Plane": {"ExposureTime": [exposure] * planes, "ExposureTimeUnit": ["s"] * planes},
        "Description": f"{json.dumps(description)[:-1]}{facts}}}",
    }
    if frame_time:
        metadata |= {"TimeIncrement": frame_time, "TimeIncrementUnit": "s"}
    whole = (shape[0], 2, *shape[1:])
    large = bool(4 * np.prod(whole, dtype=np.int64) > _LARGEST_CLASSIC_TIFF)
    with whole_file(path) as partial:
        _write(partial, pages, whole, metadata, ome=True, bigtiff=large)
        for name, zeros in room.items():
            _replace(partial, f"{name}&quot;: [{zeros}", f"{name}&quot;: [{_numbers(later[name])}")


def _numbers(values: Sequence[float]) -> str:
    """Float32 numbers as text whose length depends only on how many there are."""
    return ", ".join(f"{value:15.9g}" for value in values)


def _replace(path: Path, old: str, new: str) -> None:
    """Replaces bytes of a file by as many others."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        place = mapped.find(old.encode())
        assert place >= 0
        assert len(old) == len(new)
        mapped[place : place + len(old)] = new.encode()


def _write(path: Path, pages: Pages, shape: tuple[int, ...], metadata: dict[str, Any], **how: Any) -> None:
    with tifffile.TiffWriter(path, **how) as writer:
        writer.write(
            pages, shape=shape, dtype=np.float32, photometric="minisblack", metadata=metadata, software=creator()
        )
