"""`spadsr convert`: every format written holds the same counts, whole or not at all, in little memory."""

import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import Exposure
from spadsr.cli.app import main
from spadsr.files.convert import convert_capture

NAMES = ["b.h5", "b.npy", "b.tif", "b.ome.tif"]


def quietly(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Seven images in two blocks, with everything that a capture file can say."""
    path, counts = tmp_path / "a.h5", np.random.default_rng(0).integers(0, 5000, (7, 6, 5)).astype(np.uint16)
    settings = Settings(1e-5, 20, 9, 5e-8, frame_time=1e-4)
    with CaptureWriter(path, (6, 5), "u2", settings, pixel_mask=np.eye(6, 5), notes={"laser": "off"}) as to:
        to.append(counts[:4], image_key=2, sequence_number=np.arange(4))
        to.append(counts[4:], image_key=0, sequence_number=np.arange(6, 9))
    return path


def whole(path: Path, **options: Any) -> np.ndarray[Any, Any]:
    with open_capture(path, **options) as capture:
        return np.concatenate(list(capture.blocks()))


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_the_same(capture: Path, name: str) -> None:
    done = convert_capture(capture, capture.with_name(name), {}, quietly)
    assert done.shape == (7, 6, 5)
    np.testing.assert_array_equal(whole(done.path), whole(capture))
    assert done.path.parent.joinpath(name).stat().st_size
    assert sorted(path.name for path in capture.parent.iterdir()) == sorted(["a.h5", name])


def test_capture_files_keep_everything(capture: Path) -> None:
    copy = convert_capture(capture, capture.with_name("b.h5"), {}, quietly).path
    with open_capture(capture) as before, open_capture(copy) as after:
        for name in ("exposure", "settings", "lost", "dtype"):
            assert getattr(after, name) == getattr(before, name)
        np.testing.assert_array_equal(after.pixel_mask, before.pixel_mask)
        np.testing.assert_array_equal(after.image_key, before.image_key)
        np.testing.assert_array_equal(after.sequence_number(0, 7), [0, 1, 2, 3, 6, 7, 8])
        assert after.notes == before.notes | {"converted_from": "a.h5"}


def test_imagej_finds_a_stack_of_times(capture: Path) -> None:
    path = convert_capture(capture, capture.with_name("b.tif"), {}, quietly).path
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TYX", (7, 6, 5))
        assert tiff.imagej_metadata["frames"] == 7
        assert tiff.imagej_metadata["finterval"] == 1e-4
        assert json.loads(tiff.imagej_metadata["Info"])["number_of_cycles"] == 20


def test_ome_readers_find_a_stack_of_times(capture: Path) -> None:
    path = convert_capture(capture, capture.with_name("b.ome.tif"), {}, quietly).path
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert (tiff.series[0].axes, tiff.series[0].shape) == ("TYX", (7, 6, 5))
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert (pixels["SizeT"], pixels["Type"], pixels["TimeIncrement"]) == (7, "uint16", 1e-4)


def test_counts_too_large_for_imagej(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 3, 4), 70_000, np.uint32))
    with pytest.raises(InputError, match=r"convert to \.ome\.tif"):
        convert_capture(tmp_path / "a.npy", tmp_path / "b.tif", {}, quietly)
    assert whole(convert_capture(tmp_path / "a.npy", tmp_path / "b.ome.tif", {}, quietly).path).max() == 70_000


def test_a_capture_file_asks_for_what_the_source_does_not_say(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))
    target = tmp_path / "b.h5"
    with pytest.raises(InputError, match=r"give counter_bits, cycles, count_time$"):
        convert_capture(tmp_path / "a.npy", target, {}, quietly)
    assert not target.exists()
    convert_capture(tmp_path / "a.npy", target, {"count_time": 1e-6, "cycles": 1, "counter_bits": 1}, quietly)
    with open_capture(target) as capture:
        assert (capture.exposure, capture.assumptions) == (Exposure(1e-6, 1), ())


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_recording_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    counts = np.ones((3, 4, 4), np.int16)
    counts[2] = -1
    np.save(tmp_path / "a.npy", counts)
    (tmp_path / name).write_text("precious")
    options = {"count_time": 1e-6, "cycles": 1, "counter_bits": 1}
    with pytest.raises(InputError, match="holds the count -1"):
        convert_capture(tmp_path / "a.npy", tmp_path / name, options, quietly)
    assert (tmp_path / name).read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_targets_that_are_not_possible(capture: Path) -> None:
    with pytest.raises(InputError, match=r"expected a name ending in \.h5"):
        convert_capture(capture, capture.with_name("b.gif"), {}, quietly)
    with pytest.raises(InputError, match="is the recording itself"):
        convert_capture(capture, capture, {}, quietly)


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_depend_on_the_number_of_images(tmp_path: Path, name: str) -> None:
    """2,000 images of 256 x 256, 131 MB."""
    counts = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (2000, 256, 256))
    counts[::7] = 1
    counts.flush()
    del counts
    tracemalloc.start()
    options = {"count_time": 1e-6, "cycles": 1, "counter_bits": 1}
    convert_capture(tmp_path / "a.npy", tmp_path / name, options, quietly)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_the_command(capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    target = capture.with_name("b.npy")
    monkeypatch.setattr(sys, "argv", ["spadsr", "convert", str(capture), str(target)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert not end.value.code
    assert said.out == f"{target}  7 x 6 x 5\n"
    assert "2 images were lost" in said.err
    assert "give --count-time 1e-05 --cycles 20 --dead-time 5e-08 --bits 9" in said.err
