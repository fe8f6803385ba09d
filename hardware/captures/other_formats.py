"""Writing a capture to other formats: block by block, whole or not at all."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from hardware.captures.capture import Capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.nexus_tree import PLACES_OF_PIXELS, SETTINGS, creator
from hardware.parsing.source import LARGEST_PIXEL, PIXEL_SIZE
from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.progress import Report

Write = Callable[[Capture, Path, Report], None]

#: Bytes of a classic TIFF file, less a margin for its pages' tags.
LARGEST_CLASSIC_TIFF = (1 << 32) - (1 << 28)

#: ImageJ knows whole numbers of 8 and 16 bits only.
LARGEST_IMAGEJ_COUNT = (1 << 16) - 1


def settings_of(capture: Capture) -> dict[str, float]:
    """How the capture was taken, in SI units, by the names of the capture file."""
    return {SETTINGS[name]: value for name, value in capture.settings.numbers().items()}


def require_known(capture: Capture) -> None:
    """Raises InputError where a setting is assumed: assumptions are not written as if they were facts."""
    if capture.assumed:
        missing = ", ".join(capture.assumed)
        wrong = f"{capture.path}: does not say all that a capture file must; give {missing}"
        raise InputError(wrong, *capture.assumed)


def write_capture(capture: Capture, path: Path, report: Report) -> None:
    """Writes the capture file (HDF5), with everything that is known.

    Raises:
        InputError: a setting is not known: assumptions are not written as if they were facts.
    """
    require_known(capture)
    notes = capture.notes | {"converted_from": capture.path.name}
    with CaptureWriter(
        path,
        capture.shape[1:],
        capture.dtype,
        capture.settings,
        pixel_mask=capture.pixel_mask,
        notes=notes,
        places=capture.places,
    ) as writer:
        for start, block in _blocks(capture, report):
            stop = start + len(block)
            key = None if capture.image_key is None else capture.image_key[start:stop]
            numbers, cycles = capture.sequence_number(start, stop), capture.cycles(start, stop)
            writer.append(block, sequence_number=numbers, image_key=key, cycles=cycles)


def write_array(capture: Capture, path: Path, report: Report) -> None:
    """Writes a NumPy array (T, H, W): counts only."""
    header = {"descr": capture.dtype.str, "fortran_order": False, "shape": capture.shape}
    with whole_file(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _start, block in _blocks(capture, report):
            file.write(np.ascontiguousarray(block).data)


def write_imagej(capture: Capture, path: Path, report: Report) -> None:
    """Writes a TIFF stack that ImageJ opens, with the settings in its "Info".

    Raises:
        InputError: the file or its counts would be too large for what ImageJ reads as TIFF.
    """
    if capture.settings.saturation_value > LARGEST_IMAGEJ_COUNT and capture.dtype.itemsize > 2:
        raise InputError(f"{path}: counts above {LARGEST_IMAGEJ_COUNT} are not for ImageJ's TIFF; convert to .ome.tif")
    dtype = min(capture.dtype, np.dtype(np.uint16), key=lambda each: each.itemsize)
    if np.prod(capture.shape, dtype=np.int64) * dtype.itemsize > LARGEST_CLASSIC_TIFF:
        raise InputError(f"{path}: more than 4 GB do not fit a TIFF for ImageJ; convert to .ome.tif, .h5 or .npy")
    metadata = {"axes": "TYX", "Info": json.dumps(settings_of(capture)), "finterval": capture.settings.frame_time}
    _write_tiff(capture, path, dtype, report, imagej=True, metadata=metadata)


def write_ome(capture: Capture, path: Path, report: Report) -> None:
    """Writes an OME-TIFF stack, with the settings as its description; BigTIFF where it is large.

    Where pixels have hardware frames of their own, these are a second channel.
    """
    said = settings_of(capture) | ({PLACES_OF_PIXELS: capture.places} if capture.places > 1 else {})
    metadata: dict[str, Any] = {"axes": "TYX", "Description": json.dumps(said)}
    metadata |= physical_size(capture.notes, capture.places)
    if capture.settings.frame_time:
        metadata |= {"TimeIncrement": capture.settings.frame_time, "TimeIncrementUnit": "s"}
    dtype = np.dtype(np.uint32) if capture.mapped else capture.dtype
    if capture.mapped:
        metadata |= {"axes": "TCYX", "Channel": {"Name": ["counts", "hardware frames"]}}
    size = np.prod(capture.shape, dtype=np.int64) * dtype.itemsize * (2 if capture.mapped else 1)
    how = {"ome": True, "bigtiff": bool(size > LARGEST_CLASSIC_TIFF)}
    _write_tiff(capture, path, dtype, report, metadata=metadata, **how)


def physical_size(notes: Mapping[str, Any], finer: int) -> dict[str, Any]:
    """The size of a pixel in the words of OME: in um where the note `pixel_size` says it, else in native pixels.

    Args:
        finer: how many times finer than native pixels it is along each side.
    """
    native, unit, size = 1.0, "pixel", notes.get(PIXEL_SIZE)
    if isinstance(size, int | float) and 0 < size <= LARGEST_PIXEL:
        native, unit = 1e6 * float(size), "\u00b5m"
    return {f"PhysicalSize{axis}{end}": value for axis in "XY" for end, value in (("", native / finer), ("Unit", unit))}


def _write_tiff(
    capture: Capture, path: Path, dtype: np.dtype[Any], report: Report, metadata: dict[str, Any], **how: Any
) -> None:
    images, *pixels = capture.shape
    with whole_file(path) as partial, tifffile.TiffWriter(partial, **how) as writer:
        writer.write(
            (page.astype(dtype, copy=False) for page in _pages(capture, report)),
            shape=(images, 2, *pixels) if capture.mapped else capture.shape,
            dtype=dtype,
            photometric="minisblack",
            metadata={name: value for name, value in metadata.items() if value is not None},
            software=creator(),
        )


def _pages(capture: Capture, report: Report) -> Iterator[NDArray[np.unsignedinteger]]:
    """The counts of each image and, where pixels have hardware frames of their own, these after them."""
    for start, block in _blocks(capture, report):
        cycles = capture.cycles(start, start + len(block))
        for index, page in enumerate(block):
            yield page
            if cycles is not None:
                yield cycles[index]


def _blocks(capture: Capture, report: Report) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
    """All blocks, each with the index of its first image."""
    start = 0
    for block in capture.blocks():
        yield start, block
        start += len(block)
        report(start, capture.shape[0])


#: The writer of each ending of a file name; the first that fits is used.
WRITERS: dict[str, Write] = {
    ".h5": write_capture,
    ".npy": write_array,
    ".ome.tif": write_ome,
    ".ome.tiff": write_ome,
    ".tif": write_imagej,
    ".tiff": write_imagej,
}
