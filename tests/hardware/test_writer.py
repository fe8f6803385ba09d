"""Captures written: the tree as documented, whole or not at all, readable after the writer was killed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.hdf5.nexus_tree import DETECTOR
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure

BINARY = Settings(1e-5, 16)


def test_everything_written_is_read_back(tmp_path: Path) -> None:
    mask = np.arange(30, dtype=np.uint32).reshape(6, 5)
    notes = {
        "start_time": "2026-01-01T00:00:00Z",
        "serial_number": "S7",
        "laser": "off",
        "gain": 3,
        "temperature": 21.5,
    }
    counts = np.random.default_rng(0).integers(0, 17, (11, 6, 5)).astype(np.uint8)
    taken = replace(BINARY, frame_time=2e-4, corrected=True)
    with CaptureWriter(tmp_path / "a.h5", (6, 5), np.uint16, taken, pixel_mask=mask, notes=notes) as writer:
        writer.append(counts[:4], image_key=0)
        writer.append(counts[4:], image_key=2)
    with open_capture(tmp_path / "a.h5") as capture:
        np.testing.assert_array_equal(np.concatenate(list(capture.blocks(3))), counts)
        assert capture.settings == taken
        assert (capture.exposure, taken.saturation_value, capture.dtype) == (Exposure(1e-5, 16), 16, np.uint16)
        assert capture.notes == notes
        assert capture.assumptions == ()
        np.testing.assert_array_equal(capture.pixel_mask, mask)
        np.testing.assert_array_equal(capture.image_key, [0] * 4 + [2] * 7)


def test_a_generic_viewer_finds_the_signal(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "a.h5", (6, 5), np.uint8, BINARY) as writer:
        writer.append(np.ones((3, 6, 5), np.uint8), sequence_number=np.array([0, 1, 5]))
    with h5py.File(tmp_path / "a.h5") as file:
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        assert plot.attrs["NX_class"] == b"NXdata"
        assert plot.get("data", getlink=True).path == f"{DETECTOR}/data"
        assert plot[plot.attrs["signal"]].shape == (3, 6, 5)
        assert plot["data"].chunks[1:] == (6, 5)
        assert file[DETECTOR]["data"].attrs["units"] == b"counts"
        assert file[DETECTOR]["sequence_number"][:].tolist() == [0, 1, 5]
        assert file.attrs["creator"].startswith(b"spadsr")


def interrupted(path: Path) -> None:
    with CaptureWriter(path, (2, 2), "u1", BINARY) as writer:
        writer.append(np.ones((1, 2, 2), np.uint8))
        raise KeyboardInterrupt


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "a.h5")
    with pytest.raises(InputError, match="no image"), CaptureWriter(tmp_path / "a.h5", (2, 2), "u1", BINARY):
        pass
    with (
        pytest.raises(ValueError, match="expected"),
        CaptureWriter(tmp_path / "a.h5", (2, 2), "u1", BINARY) as writer,
    ):
        writer.append(np.ones((1, 2, 2), np.uint16))
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_survives_a_failed_rewrite(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(RuntimeError), CaptureWriter(path, (2, 2), "u1", BINARY):
        raise RuntimeError
    assert path.read_text() == "precious"


def test_folders_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="cannot be written"),
        CaptureWriter(tmp_path / "file/a.h5", (2, 2), "u1", BINARY),
    ):
        pass


def test_types_that_hold_no_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float32"):
        CaptureWriter(tmp_path / "a.h5", (2, 2), np.float32, BINARY)


KILLED = """
import os, signal, sys
import numpy as np
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
with CaptureWriter(sys.argv[1], (8, 8), "u1", Settings(1e-5, counter_bits=8)) as writer:
    for value in range(5):
        writer.append(np.full((300, 8, 8), value, np.uint8))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_appended_outlives_a_killed_writer(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.h5"], env=environment, check=False)
    assert run.returncode == -signal.SIGKILL
    (partial,) = tmp_path.iterdir()
    with open_capture(partial) as capture:
        means = [block.mean() for block in capture.blocks(300)]
    assert means == [0, 1, 2, 3, 4]
