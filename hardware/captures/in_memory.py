"""Images in memory as a capture: what looks at recordings can look at them too."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.camera import CameraSettings
from hardware.captures.capture import Capture, assemble
from hardware.parsing.source import Source
from hardware.settings import NOTHING_SAID, Settings


def held_capture(
    path: Path, counts: NDArray[np.unsignedinteger], settings: CameraSettings, pixel_mask: NDArray[np.uint32] | None
) -> Capture:
    """Images (T, H, W) of a camera with `settings`, that are or will be part of the recording `path`.

    Raises:
        InputError: not settings that a camera can have.
    """
    said = Settings.of(
        path,
        count_time=settings.count_time,
        cycles=settings.cycles,
        frame_time=settings.frame_time,
        dead_time=settings.dead_time,
        counter_bits=settings.counter_bits,
        saturation_value=settings.saturation_value,
    )
    images, rows, columns = counts.shape
    dtype: np.dtype[Any] = counts.dtype
    source = Source(
        shape=(images, rows, columns),
        dtype=dtype,
        read=lambda start, stop: counts[start:stop],
        close=lambda: None,
        said=said,
        pixel_mask=pixel_mask,
        corrected=settings.corrected,
        background_subtracted=settings.background_subtracted,
    )
    return assemble(path, "images in memory", source, NOTHING_SAID)
