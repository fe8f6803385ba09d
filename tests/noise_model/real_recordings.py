"""Readers of the public recordings, each as the counts it holds. What is known of them, and from where:

- Fan and plasma ball: ten peak-normalised frames of one scene and thirteen of another from a 64x32 counting camera,
  exposure and dead time not stated; dark counts of the same camera in 60,000 frames of 20 ns.
- SPC3: the program that wrote the dark frames (the SDK's example, Normal mode) sums 300 frames of 10.40 us and prints
  the first 32 rows of 32 pixels. The integrated images come from the same sensor: see `test_real_sensors`.
- SwissSPAD2: averages of 1 to 256 binary frames of one scene, written as round(255 k / N).
- SPAD512: -log(1 - k / N) of the background of a bead recording, 50 x 50 pixels, N = 30 x 255 frames of 10.3 us (the
  script and folder names that made it); a mask of hot pixels, 512 x 512, without its threshold.
- 320x240: dark counts of 4096 bit planes, of an exposure that is not stated.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from skimage.io import imread

from hardware.captures.capture import open_capture

Counts = NDArray[np.int64]

CAMERA_FRAME, CAMERA_FRAMES = 20e-9, 60_000
SPC3_FRAME, SPC3_FRAMES = 10.40e-6, 300  # s, frames of a dark image
SPAD512_FRAMES, SPAD512_FRAME = 30 * 255, 10.3e-6
BIT_PLANES = 4096
AVERAGED = (1, 4, 16, 64, 256)


def fan(shared: Path) -> Counts:
    """(10, 64, 32)"""
    return np.stack([_single(shared / f"data/real/bianlab/input/{number}.tiff") for number in range(1, 11)])


def plasma_ball(shared: Path) -> Counts:
    """(13, 64, 32)"""
    return np.stack([_single(shared / f"data/real/bianlab/input/{number}.tiff") for number in range(11, 24)])


def camera_dark(shared: Path) -> Counts:
    """(64, 32) of `CAMERA_FRAMES` frames that fired, of the camera of the fan"""
    return np.asarray(loadmat(shared / "data/real/bianlab/count_dark.mat")["count_dark"], dtype=np.int64)


def _single(path: Path) -> Counts:
    with open_capture(path) as capture:
        return np.asarray(capture.read(0, 1)[0], dtype=np.int64)


def averages(shared: Path) -> dict[int, Counts]:
    """For each number of binary frames, how many fired: (256, 192)."""
    folder = shared / "data/real/swissspad2"
    levels = {n: imread(folder / f"average{n:03d}_left.png").astype(np.float64) for n in AVERAGED}
    return {n: np.rint(level * (n / 255)).astype(np.int64) for n, level in levels.items()}


def spc3_dark(shared: Path) -> Counts:
    """(50, 32, 32), of `SPC3_FRAMES` frames each"""
    folder = shared / "data/real/slac_spc3"
    return np.stack([np.loadtxt(folder / f"initial_testfile.{n:03d}", dtype=np.int64) for n in range(50)])


def spc3_integrated(shared: Path, name: str) -> Counts:
    """(64, 32) counts of structured light: h1, h2 or nh0"""
    return np.asarray(np.loadtxt(shared / f"data/real/slac_spc3/{name}.out", dtype=np.int64))


def spad512_background(shared: Path) -> Counts:
    """(50, 50) of `SPAD512_FRAMES` frames that fired"""
    with h5py.File(shared / "data/real/spad512/darkcounts.jld2") as file:
        per_frame = np.asarray(file["darkcounts"])
    return np.asarray(np.rint(-np.expm1(-per_frame) * SPAD512_FRAMES), dtype=np.int64)


def spad512_hot(shared: Path) -> NDArray[np.bool_]:
    """(512, 512)"""
    return np.asarray(np.load(shared / "data/real/spad512/hot_mask1.npy"))


def dark_planes(shared: Path, name: str) -> Counts:
    """(240, 320) of `BIT_PLANES` dark bit planes that fired: bframee or bframeee"""
    return np.asarray(loadmat(shared / f"data/real/quanticam_320x240/{name}.mat")[name], dtype=np.int64)
