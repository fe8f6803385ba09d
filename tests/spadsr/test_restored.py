"""Restored images: what they hold, how they are saved and read back, and how they show themselves."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import tifffile
from command import Said
from made_results import MADE, TAKEN, made
from PIL import Image, ImageSequence

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from spadsr.pictures.grey import write_film
from spadsr.pictures.sheets import enlarged, rate_scale
from spadsr.restoration.recordings import Restoration
from spadsr.restoration.restored import Restored, write_images, write_result
from spadsr.restoration.result_file import read_result
from spadsr.restoration.result_writer import CHECKS, PHYSICS_CHECK, ResultWriter
from spadsr.restoration.storage import Storage
from spadsr.restoration.weights import load_restorer


def test_a_stack_is_a_sequence_of_images() -> None:
    stack = made()
    assert (len(stack), stack.scale, stack[0].scale) == (6, 4, 4)
    for index, image in enumerate(stack):
        assert image.rate.shape == image.uncertainty.shape == (12, 20)
        assert (image.residual.shape, float(image.check.balance), float(image.coverage_factor)) == ((3, 5), index, 2.25)
        assert image.warnings == stack.warnings
    assert stack[2:5].rate.shape == (3, 12, 20)
    np.testing.assert_array_equal(stack[-1].rate, stack.rate[5])
    joined = Restored.stacked([stack[:4], stack[4:]])
    np.testing.assert_array_equal(joined.rate, stack.rate)
    np.testing.assert_array_equal(joined.check.residual, stack.residual)
    with pytest.raises(IndexError):
        stack[6]
    with pytest.raises(TypeError, match="a single restored image"):
        stack[0][0]


def test_intervals_are_those_that_were_measured() -> None:
    for images in (made(), made()[3]):
        low, high = images.interval(0.95)
        assert low.dtype == high.dtype == np.float32
        np.testing.assert_allclose(high - images.rate, 2.25 * images.uncertainty, rtol=1e-3)
        np.testing.assert_array_equal(images.interval()[1], high)
        inner = images.interval(0.68)
        np.testing.assert_allclose(images.rate - inner[0], images.uncertainty, rtol=1e-3)
        for level in (0.5, 0.9, 0.6827, 95, 1.0):
            with pytest.raises(InputError, match=r"for 0\.68 or 0\.95 of the pixels only"):
                images.interval(level)


def test_no_interval_reaches_below_zero() -> None:
    """Where two and a half uncertainties are more than the rate."""
    image = made()[0]
    wide = replace(image, uncertainty=image.rate)
    low, high = wide.interval(0.95)
    assert (low == 0).all()
    np.testing.assert_allclose(high, 3.25 * image.rate, rtol=1e-6)


def test_it_says_what_it_is_in_a_line() -> None:
    assert repr(made()[0]).startswith("<Restored a.npy: 12 x 20, x4, mean ")
    assert repr(made()).startswith("<Restored a.npy: 6 x 12 x 20, x4")
    assert len(repr(made())) < 100


def test_results_are_read_back(tmp_path: Path) -> None:
    stack, path = made(), tmp_path / "a.sr.h5"
    stack.save(path)
    with read_result(path) as result:
        assert (result.shape, result.scale, result.source, result.provenance) == ((6, 12, 20), 4, "a.npy", MADE)
        assert (result.settings, result.warnings, len(result)) == (TAKEN, stack.warnings, 6)
        parts = list(result.blocks(5))
        assert [len(part) for part in parts] == [5, 1]
        joined = Restored.stacked(parts)
        np.testing.assert_array_equal(joined.rate, stack.rate)
        np.testing.assert_array_equal(joined.uncertainty, stack.uncertainty)
        np.testing.assert_array_equal(joined.coverage_factor, stack.coverage_factor)
        for image, original in zip(result, stack, strict=True):
            np.testing.assert_array_equal(image.rate, original.rate)
            assert (image.counts, image.warnings, image.settings) == (None, stack.warnings, TAKEN)
        np.testing.assert_array_equal(result[-1].rate, stack.rate[5])
        with pytest.raises(IndexError):
            result[6]
    assert list(tmp_path.iterdir()) == [path]


def test_the_check_of_every_image_is_kept_and_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.sr.h5"
    made().save(path)
    with read_result(path) as result:
        for name in CHECKS:
            shape = (6, 3, 5) if name == "residual" else (6,)
            assert result.check(name).shape == shape
            assert result.check(name).reshape(6, -1)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
            np.testing.assert_array_equal(getattr(result[4].check, name), getattr(made()[4].check, name))
    with h5py.File(path) as file:
        assert "about 1" in file[f"{PHYSICS_CHECK}/chi_squared"].attrs["long_name"].decode()


def test_a_generic_viewer_finds_rates_and_error_bars(tmp_path: Path) -> None:
    path, stack = tmp_path / "a.sr.h5", made()
    stack.save(path)
    with h5py.File(path) as file:
        plot = file["/entry/data"]
        assert plot["data"].attrs["units"] == b"counts/s"
        assert plot["data"].shape == plot["data_errors"].shape == stack.rate.shape
        assert file["/entry/notes"].attrs["laser"] == b"off"
        assert file["/entry/instrument/detector/description"][()] == b"a simulated array"


def test_a_single_image_is_a_result_of_one(tmp_path: Path) -> None:
    image = made()[3]
    image.save(tmp_path / "a.sr.h5")
    with read_result(tmp_path / "a.sr.h5") as result:
        assert result.shape == (1, 12, 20)
        np.testing.assert_array_equal(result[0].rate, image.rate)
        assert float(result[0].check.balance) == 3


def test_failed_results_leave_nothing(tmp_path: Path) -> None:
    stack = made(1)
    writer = ResultWriter(tmp_path / "a.h5", settings=TAKEN, notes={}, source="a", scale=2, provenance=MADE)
    with pytest.raises(ValueError, match="expected"), writer:
        writer.append(stack.rate, stack.uncertainty, stack.coverage_factor, vars(stack.check))
    assert list(tmp_path.iterdir()) == []


def test_captures_are_not_results(recorded: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a result"):
        read_result(recorded(2, 3, 5))
    with pytest.raises(InputError, match="no such file"):
        read_result(tmp_path / "none.sr.h5")


@pytest.mark.parametrize("name", ["cell", "cell.npy", "cell.OME"])
def test_kinds_of_file_that_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"a name ending in \.h5, \.ome\.tif"):
        made().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def items(path: Path) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Everything in an HDF5 file: names, values, attributes."""
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        for name in sorted(names):
            item = file[name]
            value = item[()] if isinstance(item, h5py.Dataset) else None
            yield name, value, {key: np.asarray(each).tolist() for key, each in item.attrs.items()}


def test_a_saved_image_is_the_file_that_the_command_writes(
    spadsr: Callable[..., Said], tmp_path: Path, small_weights: Path
) -> None:
    """Every value and every attribute, notes of the capture and warnings included, but who made it."""
    path, mask = tmp_path / "capture.h5", np.eye(6, 7, dtype=np.uint32)
    notes = {"laser": "off", "exposure_count": 3, "serial_number": "7"}
    settings = Settings(10e-6, 4, frame_time=1e-3, largest_count=3)
    with CaptureWriter(path, (6, 7), np.uint8, settings, pixel_mask=mask, notes=notes) as writer:
        writer.append(np.random.default_rng(0).integers(0, 3, (1, 6, 7)).astype(np.uint8))
    assert spadsr("infer", path, "--weights", small_weights, "-o", tmp_path / "one.h5").code == 0
    with open_capture(path) as capture:
        restoration = Restoration(capture, load_restorer(small_weights), 4, None)
        [block], findings = list(restoration.blocks()), restoration.findings()
        findings.add(block)
        saved = replace(block, warnings=findings.warnings())
        saved[0].save(tmp_path / "two.h5")
    differ = []
    for one, other in zip(items(tmp_path / "one.h5"), items(tmp_path / "two.h5"), strict=True):
        assert (one[0], one[2]) == (other[0], other[2])
        assert np.asarray(one[1]).dtype == np.asarray(other[1]).dtype or one[0].endswith("command")
        if not np.array_equal(one[1], other[1]):
            differ.append(one[0])
    assert differ == ["entry/process/command"]


def test_ome_readers_find_two_channels_with_their_units(tmp_path: Path) -> None:
    stack = made()
    stack.save(tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        [series] = file.series
        assert (series.axes, series.shape, series.dtype) == ("TCYX", (6, 2, 12, 20), np.float32)
        np.testing.assert_array_equal(series.asarray(), np.stack([stack.rate, stack.uncertainty], axis=1))
        [pixels] = [tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]]
        description = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Description"]
    assert [each["Name"] for each in pixels["Channel"]] == [
        "rate, counts/s per native pixel area",
        "standard uncertainty, counts/s per native pixel area",
    ]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeYUnit"]) == (0.25, "pixel")
    assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (0.001, "s")
    assert len(pixels["Plane"]) == 12
    assert (pixels["Plane"][0]["ExposureTime"], pixels["Plane"][0]["ExposureTimeUnit"]) == (2.08e-05, "s")
    facts = json.loads(description) if isinstance(description, str) else description
    assert facts["coverage_factor_95"] == [2.25] * 6
    assert (facts["model_sha256"], facts["warnings"]) == ("ab" * 32, ["guesswork", "2 < 3"])


def test_every_coverage_factor_is_in_an_ome_tiff_of_several_blocks(tmp_path: Path) -> None:
    factors = np.linspace(1.9, 12, 6, dtype=np.float32)
    stack = replace(made(), coverage_factor=factors)
    write_images((stack[first : first + 2] for first in (0, 2, 4)), 6, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), np.stack([stack.rate, stack.uncertainty], axis=1))
        description = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Description"]
    facts = json.loads(description) if isinstance(description, str) else description
    assert (np.float32(facts["coverage_factor_95"]) == factors).all()


def test_imagej_opens_the_rates(tmp_path: Path) -> None:
    made().save(tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), made().rate)
        facts = json.loads(file.imagej_metadata["Info"])  # type: ignore[index]
    assert (facts["unit"], facts["scale"]) == ("counts/s per native pixel area", 4)
    assert facts["warnings"] == ["guesswork", "2 < 3"]


def test_the_picture_alone(tmp_path: Path) -> None:
    """A grey level for every restored pixel of the first image; the metadata say what white is."""
    stack = made()
    stack.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert (opened.mode, opened.size) == ("L", (20, 12))
        levels = np.asarray(opened).astype(float)
        assert opened.text["White"].endswith("counts/s")  # type: ignore[attr-defined]
    np.testing.assert_allclose(levels, 255 * rate_scale(stack.rate[0])(stack.rate[0]), atol=0.51)


def test_a_sheet_shows_what_was_kept(tmp_path: Path) -> None:
    """A result file may have left out uncertainties and residuals: its sheet has fewer pictures, and no error."""
    result = made()
    write_result(iter([result]), tmp_path / "little.sr.h5", Storage.keeping(["rate"]))
    with read_result(tmp_path / "little.sr.h5") as little:
        little[0].save(tmp_path / "little.sr.png")
    result.save(tmp_path / "all.sr.png")
    with Image.open(tmp_path / "little.sr.png") as less, Image.open(tmp_path / "all.sr.png") as all_of_it:
        assert less.width < all_of_it.width


def test_a_film_shows_every_image(tmp_path: Path) -> None:
    """Odd sides are made even, as films need; small pictures are enlarged."""
    stack = made()
    stack.save(tmp_path / "a.mp4")
    film = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    frames = []
    while (read := film.read())[0]:
        frames.append(read[1][..., 0].astype(float))
    assert np.shape(frames) == (6, 12 * 25, 20 * 25)
    expected = enlarged(255 * np.asarray(rate_scale(stack.rate[0])(stack.rate)), 25)
    assert np.abs(np.array(frames) - expected).mean() < 10  # it is compressed
    odd = np.ones((701, 513), np.float32)
    write_film(tmp_path / "odd.mp4", iter([odd]), rate_scale(odd))
    assert cv2.VideoCapture(str(tmp_path / "odd.mp4")).get(cv2.CAP_PROP_FRAME_HEIGHT) == 702


def test_an_animated_gif_shows_every_image_and_begins_again(tmp_path: Path) -> None:
    stack = made()
    stack.save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as film:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
        assert (film.info["duration"], film.info["loop"]) == (40, 0)
    expected = enlarged(255 * np.asarray(rate_scale(stack.rate[0])(stack.rate)), 25)
    np.testing.assert_allclose(frames, expected, atol=0.51)


def test_a_single_image_as_ome_tiff(tmp_path: Path) -> None:
    made()[2].save(tmp_path / "a.ome.tiff")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tiff")[0].squeeze(), made().rate[2])


def picture(data: bytes | Path) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as opened:
        return np.asarray(opened.convert("L")).astype(float)


def test_it_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    """As saved; warnings below, as text; without what was recorded where only the result is known."""
    image = made()[1]
    shown = image._repr_png_()
    image.save(tmp_path / "a.sr.png")
    np.testing.assert_array_equal(picture(shown), picture(tmp_path / "a.sr.png"))
    html = image._repr_html_()
    assert html.startswith('<img src="data:image/png;base64,')
    assert "<li>2 &lt; 3</li>" in html
    image.save(tmp_path / "a.sr.h5")
    with read_result(tmp_path / "a.sr.h5") as result:
        read = picture(result[0]._repr_png_())
    assert 0 < picture(shown).shape[1] - read.shape[1] < picture(shown).shape[1] / 2
    with Image.open(tmp_path / "a.sr.png") as opened:
        assert opened.text["Weights"] == f"default {'ab' * 32}"  # type: ignore[attr-defined]


def test_a_stack_shows_its_first_image() -> None:
    assert made()._repr_png_() == made()[0]._repr_png_()
