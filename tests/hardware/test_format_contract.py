"""Every format of this package whose files can be of several images does what formats have to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from made_files import save_mat5, save_mat73, save_raw, save_spc3

from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from hardware.testing import Example, FormatContract

COUNTS = np.random.default_rng(0).integers(0, 200, (40, 9, 8)).astype(np.uint16)


def nexus(folder: Path) -> Example:
    settings = Settings(1e-5, 4, 9, 5e-8, frame_time=1e-4, corrected=True, largest_count=2000)
    with CaptureWriter(folder / "a.h5", COUNTS.shape[1:], np.uint16, settings) as writer:
        writer.append(COUNTS)
    return Example(folder / "a.h5", COUNTS, settings)


def spc3(folder: Path) -> Example:
    path = save_spc3(folder / "a.spc3", COUNTS[:, None])
    return Example(path, COUNTS, Settings(104 * 10e-9, 10, 9, 50 * 1e-9, 10 * 10.4e-6))


def spad512(folder: Path) -> Example:
    frames = np.random.default_rng(0).integers(0, 2, (4, 512, 512)).astype(np.uint8)
    return Example(save_raw(folder / "a.bin", frames), frames)


def npy(folder: Path) -> Example:
    np.save(folder / "a.npy", COUNTS)
    return Example(folder / "a.npy", COUNTS)


def npy_in_fortran_order(folder: Path) -> Example:
    np.save(folder / "a.npy", np.asfortranarray(COUNTS))
    return Example(folder / "a.npy", COUNTS)


def npz(folder: Path) -> Example:
    np.savez_compressed(folder / "a.npz", counts=COUNTS)
    return Example(folder / "a.npz", COUNTS)


def hdf5_of_its_own(folder: Path) -> Example:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("t0/channel0", data=COUNTS, chunks=(7, 9, 8), compression="gzip")
    return Example(folder / "a.h5", COUNTS)


def tiff(folder: Path) -> Example:
    tifffile.imwrite(folder / "a.tif", COUNTS, photometric="minisblack", compression="zlib")
    return Example(folder / "a.tif", COUNTS)


def matlab_5(folder: Path) -> Example:
    return Example(save_mat5(folder / "a.mat", counts=COUNTS.transpose(1, 2, 0)), COUNTS)


def matlab_7(folder: Path) -> Example:
    return Example(save_mat73(folder / "a.mat", counts=COUNTS.transpose(1, 2, 0)), COUNTS)


MAKERS = [nexus, hdf5_of_its_own, spc3, spad512, npy, npy_in_fortran_order, npz, tiff, matlab_5, matlab_7]


class TestFormats(FormatContract):
    """The formats of this package."""

    @pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
    def example(self, request: pytest.FixtureRequest, tmp_path: Path) -> Example:
        make: Callable[[Path], Example] = request.param
        return make(tmp_path)


class Wrong(FormatContract):
    """Its tests are called by hand."""


def test_the_contract_finds_what_is_wrong(tmp_path: Path) -> None:
    right: dict[str, Any] = vars(nexus(tmp_path))
    path = right["path"]
    for example, words in (
        (Example(path, COUNTS + 1, right["settings"]), "not equal"),
        (Example(path, COUNTS[1:], right["settings"]), "another shape"),
    ):
        with pytest.raises(AssertionError, match=words):
            Wrong().test_counts_are_those_in_the_file(example)
    with pytest.raises(AssertionError, match="the settings are others"):
        Wrong().test_settings_are_those_in_the_file(Example(path, COUNTS, Settings(1e-5)))
