"""Converting a recording from any format that is read to one that is written, and a result to pictures."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hardware.captures.capture import Capture, open_capture
from hardware.captures.other_formats import WRITERS, Write, write_capture, write_ome
from hardware.captures.part import Part
from hardware.parsing.source import LARGEST_PIXEL, PIXEL_SIZE
from noise_model.errors import InputError
from noise_model.files import require_room
from noise_model.progress import Report
from spadsr.restoration.restored import (
    Restored,
    is_picture_name,
    is_result_name,
    output_bytes,
    write_images,
    write_pictures,
    write_result,
)
from spadsr.restoration.result_file import is_result_file, read_result


@dataclass(frozen=True)
class Converted:
    """What was written, and what to tell the user.

    Attributes:
        shape: (T, H, W).
        notes: what was assumed or lost in reading.
        left_out: settings that the new file does not hold, by the names of the arguments of `open_capture`.
    """

    path: Path
    shape: tuple[int, int, int]
    notes: tuple[str, ...]
    left_out: Mapping[str, float]


def convert_capture(
    source: Path,
    target: Path,
    options: Mapping[str, Any],
    report: Report,
    *,
    each: bool = False,
    pixel_size: float | None = None,
) -> Converted:
    """Writes the counts of `source` to `target`, in the format of its name, in memory that does not depend on T.

    The restored images of a result are written as `restored.write_images` does.

    Args:
        options: keywords of `open_capture`, for a file that does not say.
        each: of a result, a picture of every image, numbered.
        pixel_size: of a native pixel, m; `.h5` and OME-TIFF keep it.

    Raises:
        InputError: `source` is not a capture, the name of `target` is of no format that is written, or the format
            cannot hold the counts.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is the recording itself; choose another name")
    if pixel_size is not None and not 1e-12 <= pixel_size <= LARGEST_PIXEL:
        raise InputError(f"pixel_size {pixel_size:g}: expected 1e-12 to {LARGEST_PIXEL:g} m", "pixel_size")
    notes = {} if pixel_size is None else {PIXEL_SIZE: pixel_size}
    if is_result_file(source):
        return _convert_result(source, target, options, report, each, notes)
    if each:
        raise InputError(f"{source}: a recording; pictures of every image are made of a result: restore it", "each")
    write = _writer(target)
    with open_capture(source, **options) as capture:
        if write not in (write_capture, write_ome) and (capture.mapped or capture.places > 1):
            raise InputError(
                f"{target}: only .h5 and .ome.tif keep the hardware frames of each pixel, which {source.name} has;"
                " convert to one of these"
            )
        each_pixel = 8 if capture.mapped else capture.dtype.itemsize  # bytes: counts and hardware frames, or counts
        require_room(target, math.prod(capture.shape) * each_pixel)
        write(replace(capture, notes=capture.notes | notes), target, report)
        if capture.mapped and write is write_ome:
            note = f"{target.name}: counts and hardware frames, for viewers; {source.name} is what is restored"
            return Converted(target, capture.shape, (*capture.assumptions, note), {})
        left_out = {} if write is write_capture else _settings(capture)
        return Converted(target, capture.shape, capture.assumptions, left_out)


def _convert_result(
    source: Path, target: Path, options: Mapping[str, Any], report: Report, each: bool, notes: Mapping[str, float]
) -> Converted:
    part = Part(options.get("first"), options.get("last"))
    if others := {name: value for name, value in options.items() if value is not None and name not in vars(part)}:
        raise InputError(f"{source}: a result, which says all of itself; choose images alone", *others)
    with read_result(source) as result:
        first, last = part.images_of(source, len(result))
        images, (rows, columns) = last + 1 - first, (side // result.scale for side in result.shape[1:])
        require_room(target, output_bytes(target, (images, rows, columns), result.scale, result.storage))

        def blocks() -> Iterator[Restored]:
            for start in range(first, last + 1):
                block = result.read(start, start + 1)
                yield replace(block, notes={**block.notes, **notes})
                report(start + 1 - first, images)

        if each:
            names = list(write_pictures(blocks(), images, target))
            return Converted(names[0], (images, *result.shape[1:]), result.warnings, {})
        if is_result_name(target):
            write_result(blocks(), target, result.storage)
        else:
            write_images(blocks(), images, target)
        shown = 1 if is_picture_name(target) else images
        return Converted(target, (shown, *result.shape[1:]), result.warnings, {})


def _writer(target: Path) -> Write:
    for ending, write in WRITERS.items():
        if target.name.lower().endswith(ending):
            return write
    raise InputError(f"{target}: not a format that is written; expected a name ending in {', '.join(WRITERS)}")


def _settings(capture: Capture) -> dict[str, float]:
    """What only a capture file keeps, as `open_capture` is told it later."""
    settings = capture.settings
    return {name: getattr(settings, name) for name in ("count_time", "cycles", "dead_time", "counter_bits")}
