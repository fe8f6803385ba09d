"""Images in memory as a capture, so that they can be restored and shown as recordings are."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.captures.capture import Capture
from hardware.parsing.source import Source
from hardware.settings import Settings


def capture_in_memory(
    path: Path,
    counts: NDArray[np.unsignedinteger],
    settings: Settings,
    pixel_mask: NDArray[np.uint32] | None,
    cycles: NDArray[np.integer[Any]] | None = None,
) -> Capture:
    """The capture of images in memory, counts (T, H, W), which are or will be part of the recording `path`.

    Args:
        cycles: (T, H, W), hardware frames of each pixel; None where those of the settings are of all.
    """
    shape = (len(counts), *counts.shape[1:])
    frames = None if cycles is None else (lambda start, stop: cycles[start:stop])
    source = Source(shape, counts.dtype, lambda start, stop: counts[start:stop], lambda: None, cycles=frames)
    return Capture(
        path=path,
        format="images in memory",
        shape=shape,
        dtype=counts.dtype,
        settings=settings,
        pixel_mask=pixel_mask,
        image_key=None,
        notes={},
        assumptions=(),
        assumed=(),
        lost=None,
        source=source,
    )
