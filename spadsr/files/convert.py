"""Converting a recording from any format that is read to one that is written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.captures.capture import Capture, open_capture
from hardware.captures.other_formats import WRITERS, Write, write_capture
from noise_model.errors import InputError
from noise_model.files import require_room
from noise_model.progress import Report


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


def convert_capture(source: Path, target: Path, options: Mapping[str, Any], report: Report) -> Converted:
    """Writes the counts of `source` to `target`, in the format of its name, in memory that does not depend on T.

    Args:
        options: keywords of `open_capture`, for a file that does not say.

    Raises:
        InputError: `source` is not a capture, the name of `target` is of no format that is written, or the format
            cannot hold the counts.
    """
    write = _writer(target)
    with open_capture(source, **options) as capture:
        if target.exists() and target.samefile(source):
            raise InputError(f"{target}: is the recording itself; choose another name")
        require_room(target, math.prod(capture.shape) * capture.dtype.itemsize)
        write(capture, target, report)
        left_out = {} if write is write_capture else _settings(capture)
        return Converted(target, capture.shape, capture.assumptions, left_out)


def _writer(target: Path) -> Write:
    for ending, write in WRITERS.items():
        if target.name.lower().endswith(ending):
            return write
    raise InputError(f"{target}: not a format that is written; expected a name ending in {', '.join(WRITERS)}")


def _settings(capture: Capture) -> dict[str, float]:
    """What only a capture file keeps, as `open_capture` is told it later."""
    settings = capture.settings
    return {name: getattr(settings, name) for name in ("count_time", "cycles", "dead_time", "counter_bits")}
