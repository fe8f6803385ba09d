"""Dark count rates of public recordings, fitted: `python tests/noise_model/real_dark.py` prints them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from real_recordings import (
    BIT_PLANES,
    CAMERA_FRAME,
    CAMERA_FRAMES,
    SPAD512_FRAME,
    SPAD512_FRAMES,
    SPC3_FRAME,
    SPC3_FRAMES,
    Counts,
    camera_dark,
    dark_planes,
    spad512_background,
    spc3_dark,
)

from noise_model.calibration.dark import DarkMap, dark_map
from noise_model.calibration.streams import Stream, gather
from noise_model.sensor import Exposure, Sensor

BULK_MULTIPLE = 10


def of_spc3(shared: Path) -> DarkMap:
    """First half of the rows"""
    return _fitted("SPC3", spc3_dark(shared), Exposure(SPC3_FRAME, SPC3_FRAMES), Sensor.load("spc3"))


def of_camera(shared: Path) -> DarkMap:
    """The camera of the fan, in frames shorter than its dead time"""
    gated = replace(Sensor.load("spc3"), dead_time=0.0, counter_bits=1, afterpulse_probability=0.0)
    return _fitted("camera", camera_dark(shared)[None], Exposure(CAMERA_FRAME, CAMERA_FRAMES), gated)


def of_spad512(shared: Path) -> DarkMap:
    """50x50 pixels, stray light included"""
    exposure = Exposure(SPAD512_FRAME, SPAD512_FRAMES)
    return _fitted("SPAD512", spad512_background(shared)[None], exposure, Sensor.load("spad512"))


def of_planes(shared: Path, name: str) -> DarkMap:
    """320x240 array, in counts per bit plane"""
    ideal = replace(Sensor.load("spad512"), afterpulse_probability=0.0, crosstalk=torch.zeros(1, 1))
    return _fitted(name, dark_planes(shared, name)[None], Exposure(1.0, BIT_PLANES), ideal)


def _fitted(name: str, images: Counts, exposure: Exposure, sensor: Sensor) -> DarkMap:
    """Of dark images (T, H, W) of an array like `sensor`."""
    count, height, width = images.shape
    counts = images.astype(np.uint16)
    stream = Stream(
        name, (count, height, width), exposure, sensor.dead_time, sensor.counter_bits, lambda: iter([counts])
    )
    return dark_map([gather(stream)], sensor.uniform((height, width)))


def tail(rates: NDArray[np.floating]) -> float:
    """Share of pixels of more than `BULK_MULTIPLE` times the median rate."""
    return float((rates > BULK_MULTIPLE * np.median(rates)).mean())


def main() -> None:
    shared = Path(__file__).parents[3] / "shared"
    maps = {"SPC3": of_spc3(shared), "camera of the fan": of_camera(shared), "SPAD512": of_spad512(shared)}
    maps |= {name: of_planes(shared, name) for name in ("bframee", "bframeee")}
    for name, found in maps.items():
        print(f"{name}: {tail(found.rate):.1%} above {BULK_MULTIPLE} times the median")
        for each, estimate in found.estimates.items():
            print(f"  {each}: {estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})")


if __name__ == "__main__":
    main()
