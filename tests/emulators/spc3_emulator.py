"""The pretend SPC3 library, compiled when it is first asked for, and what its frames show."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

CYCLE = 251


def build(folder: Path) -> Path:
    """Compiles the emulator into `folder`; the calling test is skipped where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the SPC3 emulator with")
    library = folder / "libSPC3.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(Path(__file__).with_name("spc3.c")), "-o", str(library), "-lm"], check=True)
    return library


def reset(library: Path) -> None:
    """Forgets every camera and reads the environment again."""
    ctypes.CDLL(str(library)).SPC3_Emulator_Reset()


def misuse(library: Path) -> int:
    """How many calls since then would have crashed the vendor's library."""
    return int(ctypes.CDLL(str(library)).SPC3_Emulator_Misuse())


def pattern(first: int, images: int) -> NDArray[np.uint16]:
    """(images, 64, 32): what images `first` and following of an acquisition show."""
    index = np.arange(first, first + images)[:, None]
    frames = ((np.arange(2048) + index) % CYCLE).astype(np.uint16)
    frames[:, :4] = index >> np.arange(0, 32, 8) & 255
    return frames.reshape(-1, 64, 32)


def image_numbers(counts: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Index of each image (n, 64, 32), from its first four pixels."""
    return counts.reshape(len(counts), -1)[:, :4].astype(np.int64) @ (1 << np.arange(0, 32, 8))
