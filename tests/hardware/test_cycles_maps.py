"""Captures whose pixels have numbers of hardware frames of their own: written, read, summed, and refused."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from hardware.captures.other_formats import write_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.progress import silent
from noise_model.sensor import HOT

MOST = Settings(1e-5, cycles=20)
FIELD = "/entry/instrument/detector/cycles"


def drawn(images: int = 4, side: int = 8) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts and frames: 0 to 20 frames, and as many counts or fewer."""
    rng = np.random.default_rng(0)
    cycles = rng.integers(0, 21, (images, side, side))
    return rng.binomial(cycles, 0.4).astype(np.uint8), cycles


def written(path: Path, places: int = 1, **changes: Any) -> tuple[Path, NDArray[Any], NDArray[Any]]:
    counts, cycles = drawn()
    cycles = changes.get("cycles", cycles)
    mask = np.zeros((8 // places, 8 // places), np.uint32)
    mask[1, 0] = HOT
    with CaptureWriter(path, (8, 8), "u1", MOST, places=places, pixel_mask=mask, compression="gzip") as writer:
        for start in (0, 2):
            writer.append(counts[start : start + 2], cycles=cycles[start : start + 2])
    return path, counts, cycles


def test_maps_come_back_image_by_image(tmp_path: Path) -> None:
    path, counts, cycles = written(tmp_path / "a.h5")
    with open_capture(path) as capture:
        assert capture.mapped
        assert capture.settings == MOST
        assert (capture.read(0, 4) == counts).all()
        found = capture.cycles(1, 3)
        assert found is not None
        assert found.dtype == np.uint32
        assert (found == cycles[1:3]).all()
        exposure = capture.exposure_of(1, 3)
        assert exposure.map is not None
        assert (exposure.map.numpy() == cycles[1:3]).all()
        assert exposure.count_time == MOST.count_time
        with pytest.raises(InputError, match="pixels have different numbers of hardware frames"):
            _ = capture.exposure


def test_one_map_for_all_images(tmp_path: Path) -> None:
    path, counts, _ = written(tmp_path / "a.h5", cycles=np.full((4, 8, 8), 20))
    common = counts.max(axis=0) + np.arange(8)[:, None] % 3
    with h5py.File(path, "r+") as file:
        del file[FIELD]
        file[FIELD] = common
    with open_capture(path) as capture:
        assert (capture.cycles(1, 4) == common).all()
        assert (capture.read(0, 4) == counts).all()


def test_sums_have_the_sums_of_frames(tmp_path: Path) -> None:
    path, counts, cycles = written(tmp_path / "a.h5")
    with open_capture(path) as capture:
        summed = capture.summed(2)
        assert (summed.read(0, 2) == counts.reshape(2, 2, 8, 8).sum(axis=1)).all()
        assert (summed.cycles(0, 2) == cycles.reshape(2, 2, 8, 8).sum(axis=1)).all()
        assert summed.settings.cycles == 40


@pytest.mark.parametrize("places", [1, 4])
def test_they_are_kept_by_conversion(tmp_path: Path, places: int) -> None:
    path, counts, cycles = written(tmp_path / "a.h5", places)
    with open_capture(path) as capture:
        write_capture(capture, tmp_path / "b.h5", silent)
    with open_capture(tmp_path / "b.h5") as copy:
        assert (copy.cycles(0, 4) == cycles).all()
        assert (copy.read(0, 4) == counts).all()
        assert copy.places == places
        assert copy.shape == (4, 8, 8)
        assert copy.sensor.shape == (8 // places, 8 // places)
        assert copy.sensor.pixel_mask is not None
        assert copy.sensor.pixel_mask[1, 0] == HOT


def test_a_count_above_the_frames_of_its_pixel(tmp_path: Path) -> None:
    path, counts, _ = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file[FIELD][2, 3, 5] = 4
        file["/entry/instrument/detector/data"][2, 3, 5] = 5
    with open_capture(path) as capture:
        expected = r"pixel \(3, 5\) of image 2 holds the count 5, above the largest possible .* 4; correct"
        with pytest.raises(InputError, match=expected):
            capture.read(0, 4)
        assert (capture.read(0, 2) == counts[:2]).all()


@pytest.mark.parametrize("wrong", ["above the most", "negative", "another shape", "a float"])
def test_frames_that_cannot_be(tmp_path: Path, wrong: str) -> None:
    path, _, cycles = written(tmp_path / "a.h5")
    spoilt: NDArray[Any] = {
        "above the most": cycles + 1,
        "negative": cycles - 1,
        "another shape": cycles[:, :, :7],
        "a float": cycles * 1.0,
    }[wrong]
    with h5py.File(path, "r+") as file:
        del file[FIELD]
        file[FIELD] = spoilt
    with pytest.raises(InputError, match=r"from 0 to 20|expected integers of shape"), open_capture(path) as capture:
        capture.read(0, 4)


@pytest.mark.parametrize("places", [3, 0])
def test_places_that_cannot_be(tmp_path: Path, places: int) -> None:
    path, _, _ = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["/entry/instrument/detector/places_per_pixel"] = places
    with pytest.raises(InputError, match="places along each side of a pixel in images of 8 x 8; expected 4"):
        open_capture(path)
    with pytest.raises(ValueError, match="places along each side"):
        CaptureWriter(tmp_path / "b.h5", (8, 8), "u1", MOST, places=places)
    with (
        pytest.raises(ValueError, match="from 0 to 20"),
        CaptureWriter(tmp_path / "b.h5", (8, 8), "u1", MOST) as writer,
    ):
        writer.append(np.zeros((1, 8, 8), np.uint8), cycles=np.full((1, 8, 8), 21))


@pytest.mark.parametrize("places", [1, 4])
def test_a_part_has_its_frames(tmp_path: Path, places: int) -> None:
    """A region is of whole pixels: the lower half, and the left one."""
    path, counts, cycles = written(tmp_path / "a.h5", places)
    half = 8 // places // 2
    with open_capture(path, first=1, last=2, roi=(slice(half, None), slice(0, half))) as capture:
        assert (capture.read(0, 2) == counts[1:3, 4:, :4]).all()
        found = capture.cycles(0, 2)
        assert found is not None
        assert (found == cycles[1:3, 4:, :4]).all()
        assert capture.pixels == capture.sensor.shape == (half, half)
