"""Files to read: written by the product, by tifffile and by NumPy."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings

# What the tests of this folder share, and the cameras they talk to.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "emulators")]

Save = Callable[..., Path]

KNOWN = Settings(10.4e-6, 4, counter_bits=9, dead_time=50e-9)


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """save(name, counts, ...) writes `counts` (T, H, W) to a fresh file of that name, and returns its path."""
    folder, numbers = tmp_path_factory.mktemp("captures"), count()

    def write(name: str, counts: np.ndarray[Any, Any], pixel_mask: Any = None, **how: Any) -> Path:
        path = folder / str(next(numbers)) / name
        path.parent.mkdir()
        if path.suffix == ".h5":
            settings = replace(KNOWN, **how)
            with CaptureWriter(path, counts.shape[1:], counts.dtype, settings, pixel_mask=pixel_mask) as writer:
                writer.append(counts)
        elif path.suffix == ".npy":
            np.save(path, counts)
        else:
            # Without metadata, as tifffile would otherwise squeeze axes of length 1.
            tifffile.imwrite(path, counts, photometric="minisblack", **{"metadata": None} | how)
        return path

    return write


@pytest.fixture(scope="session")
def spc3_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretend SPC3 library, compiled once; tests that need it are skipped where there is no C compiler."""
    from spc3_emulator import build

    return build(tmp_path_factory.mktemp("spc3"))


@pytest.fixture
def spad512_port() -> Iterator[int]:
    """Port of a pretend SPAD512."""
    from spad512_emulator import serving

    from hardware.cameras.spad512.emulator import Server

    with serving(Server()) as port:
        yield port
