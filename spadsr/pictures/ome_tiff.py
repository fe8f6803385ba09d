"""OME-TIFF files of restored images, for Fiji, napari and other viewers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from hardware.hdf5.nexus_tree import creator
from noise_model.files import whole_file

#: What the channels hold, in order.
CHANNELS = ("rate, counts/s per native pixel area", "standard uncertainty, counts/s per native pixel area")

_LARGEST_CLASSIC_TIFF = (1 << 32) - (1 << 28)  # bytes, less a margin for the tags


def write_ome_tiff(
    path: Path,
    rate: NDArray[np.float32],
    uncertainty: NDArray[np.float32],
    *,
    scale: int,
    exposure: float,
    frame_time: float | None,
    description: Mapping[str, Any],
) -> None:
    """Writes rates and their uncertainty, (T, s H, s W) float32 each, as the two channels of an OME-TIFF stack.

    Args:
        scale: s; a pixel is 1/s of a native one, which is the unit of length, as the pitch of the array is not known.
        exposure: s, of one image.
        frame_time: s from the start of one image to the start of the next, where known.
        description: further facts, stored as JSON.
    """
    data = np.stack([rate, uncertainty], axis=1)
    metadata: dict[str, Any] = {
        "axes": "TCYX",
        "Channel": {"Name": list(CHANNELS)},
        "PhysicalSizeX": 1 / scale,
        "PhysicalSizeXUnit": "pixel",
        "PhysicalSizeY": 1 / scale,
        "PhysicalSizeYUnit": "pixel",
        "Plane": {"ExposureTime": [exposure] * (2 * len(rate)), "ExposureTimeUnit": ["s"] * (2 * len(rate))},
        "Description": json.dumps(description),
    }
    if frame_time:
        metadata |= {"TimeIncrement": frame_time, "TimeIncrementUnit": "s"}
    large = data.nbytes > _LARGEST_CLASSIC_TIFF
    with whole_file(path) as partial, tifffile.TiffWriter(partial, ome=True, bigtiff=large) as writer:
        writer.write(data, photometric="minisblack", metadata=metadata, software=creator())
