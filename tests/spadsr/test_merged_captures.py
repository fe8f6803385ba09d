"""Merged captures, whose pixels or places within pixels have hardware frames of their own, through the product."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command import Said
from numpy.typing import NDArray

import spadsr as face
from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.progress import silent
from noise_model.sensor import PLACES
from spadsr.files.convert import convert_capture
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.weights import save_weights

ROWS, COLUMNS, MOST = 12, 10, 64


def merged(path: Path, places: int, images: int = 3) -> tuple[NDArray[Any], NDArray[Any]]:
    """Writes a capture of random frames in every pixel or place; their counts and frames in pixels."""
    rng, most = np.random.default_rng(0), MOST // places**2
    shape = (ROWS * places, COLUMNS * places)
    cycles = rng.integers(0, most + 1, (images, *shape))
    counts = rng.binomial(cycles, 0.2).astype(np.uint8)
    with CaptureWriter(path, shape, "u1", Settings(1e-5, MOST), places=places) as writer:
        writer.append(counts, cycles=cycles)
    native = (images, ROWS, places, COLUMNS, places)
    return tuple(each.reshape(native).sum(axis=(2, 4), dtype=np.int64) for each in (counts, cycles))  # type: ignore[return-value]


@pytest.mark.parametrize("places", [1, PLACES])
def test_a_merged_capture_is_restored_as_its_pixels(tmp_path: Path, places: int) -> None:
    """By a network that makes nothing of places: as counts and frames of pixels, given to the face."""
    weights, size = tmp_path / "plain.safetensors", WindowAttentionConfig(width=12, groups=1, layers=2, heads=2)
    save_weights(weights, WindowAttentionNetwork(size), Intervals(), {})
    counts, cycles = merged(tmp_path / "a.h5", places)
    with face.open(tmp_path / "a.h5") as capture:
        restored = list(face.restore_all(capture, weights=weights, scale=2))
        third = face.restore(capture, weights=weights, scale=2, image=2)
        summed = face.restore(capture, weights=weights, scale=2, sum=3)
    exposure = face.Exposure(1e-5, cycles)  # type: ignore[arg-type]
    expected = face.restore(counts, exposure=exposure, weights=weights, scale=2)
    for image, one in enumerate((*restored, third)):
        other = expected[min(image, 2)]
        assert one.rate.shape == (2 * ROWS, 2 * COLUMNS)
        np.testing.assert_allclose(one.rate, other.rate, rtol=0.02, atol=0.01 * other.rate.mean())  # bfloat16
        assert one.counts is not None
        assert one.cycles is not None
        assert other.counts is not None
        assert other.cycles is not None
        assert (one.counts == other.counts).all()
        assert (one.cycles == other.cycles).all()
        assert one.settings.cycles == MOST
    assert summed.cycles is not None
    assert (summed.cycles == cycles.sum(axis=0)).all()


@pytest.mark.parametrize("places", [1, PLACES])
def test_merged_captures_on_the_command_line(
    tmp_path: Path, small_weights: Path, spadsr: Callable[..., Said], places: int
) -> None:
    path = tmp_path / "a.h5"
    counts, cycles = merged(path, places)
    said = spadsr("info", path)
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "x 10 us for each pixel" in words
    assert ("counts of 4 x 4 places within each pixel kept apart" in words) == (places > 1)
    said = spadsr("infer", path, "--weights", small_weights)
    assert said.code == 0, said.err
    with face.read_result(tmp_path / "a.sr.h5") as result:
        assert result.shape == (3, 4 * ROWS, 4 * COLUMNS)
        assert (result.read(0, 3).cycles == cycles).all()
    said = spadsr("convert", path, tmp_path / "a.npy")
    assert said.code == 2
    assert "only .h5 and .ome.tif keep the hardware frames of each pixel" in " ".join(said.err.split())
    assert spadsr("convert", path, tmp_path / "b.h5").code == 0
    with open_capture(tmp_path / "b.h5") as copy:
        assert (copy.mapped, copy.places) == (True, places)
        read = copy.read(0, 3)
    assert spadsr("convert", path, tmp_path / "b.ome.tif").code == 0
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as file:
        assert file.ome_metadata is not None
        assert 'Name="hardware frames"' in file.ome_metadata
        both = file.asarray().swapaxes(0, 1)
    np.testing.assert_array_equal(both[0], read)
    np.testing.assert_array_equal(both[1].reshape(3, ROWS, places, COLUMNS, places).sum(axis=(2, 4)), cycles)
    assert counts.shape == (3, ROWS, COLUMNS)


def test_merged_captures_are_not_calibrated_from(tmp_path: Path, spadsr: Callable[..., Said]) -> None:
    merged(tmp_path / "a.h5", 1, images=40)
    with pytest.raises(InputError, match="pixels have different numbers of hardware frames"):
        face.calibrate(dark=tmp_path / "a.h5")
    said = spadsr("calibrate", "--check", "spc3", tmp_path / "a.h5")
    assert said.code == 2


@pytest.mark.parametrize("places", [1, PLACES])
def test_counts_and_frames_are_two_channels_of_an_ome_tiff(tmp_path: Path, places: int) -> None:
    merged(tmp_path / "a.h5", places)
    done = convert_capture(tmp_path / "a.h5", tmp_path / "a.ome.tif", {}, silent, pixel_size=2e-6)
    with open_capture(tmp_path / "a.h5") as capture, tifffile.TiffFile(done.path) as file:
        written = file.series[0]
        assert written.axes == "TCYX"
        np.testing.assert_array_equal(written.asarray()[:, 0], capture.read(0, 3))
        np.testing.assert_array_equal(written.asarray()[:, 1], capture.cycles(0, 3))
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (pytest.approx(2 / places), "\u00b5m")
    assert [each["Name"] for each in pixels["Channel"]] == ["counts", "hardware frames"]


def test_the_size_of_pixels_goes_from_the_recording_to_the_result(tmp_path: Path, small_weights: Path) -> None:
    with CaptureWriter(tmp_path / "a.h5", (8, 8), "u1", Settings(1e-5, 4)) as writer:
        writer.append(np.ones((1, 8, 8), np.uint8))
    convert_capture(tmp_path / "a.h5", tmp_path / "b.h5", {}, silent, pixel_size=1.6e-7)
    face.restore(face.open(tmp_path / "b.h5"), weights=small_weights, scale=2).save(tmp_path / "b.ome.tif")
    convert_capture(tmp_path / "b.h5", tmp_path / "c.ome.tif", {}, silent)
    for name, size in (("b.ome.tif", 0.08), ("c.ome.tif", 0.16)):
        with tifffile.TiffFile(tmp_path / name) as file:
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == (pytest.approx(size), "\u00b5m")


def test_a_size_that_no_pixel_has_is_refused(tmp_path: Path) -> None:
    merged(tmp_path / "a.h5", 1)
    with pytest.raises(InputError, match="pixel_size 16: expected"):
        convert_capture(tmp_path / "a.h5", tmp_path / "a.ome.tif", {}, silent, pixel_size=16)
