"""Every file that is not a capture, or lies, is a one-line InputError that names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from hardware.captures.capture import open_capture
from hardware.hdf5.nexus_tree import DETECTOR, NOTES
from noise_model.errors import InputError

DATA = f"{DETECTOR}/data"


def refused(path: Path, words: str, **options: Any) -> None:
    """Opening and reading `path` is an InputError of one line with its name and `words`."""
    with pytest.raises(InputError, match=words) as caught, open_capture(path, **options) as capture:
        for _ in capture.summed(1).blocks():
            pass
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message


@pytest.fixture
def capture(save: Any) -> Path:
    path: Path = save("a.h5", np.random.default_rng(0).integers(0, 9, (20, 6, 5)).astype(np.uint8))
    return path


@pytest.fixture
def edited(capture: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    """edited(change) is the capture after `change(file)`."""

    def edit(change: Callable[[h5py.File], None]) -> Path:
        with h5py.File(capture, "r+") as file:
            change(file)
        return capture

    return edit


def replaced(name: str, value: Any, **attributes: Any) -> Callable[[h5py.File], None]:
    """A change that writes `value` in the place of the dataset `name`."""

    def change(file: h5py.File) -> None:
        file.pop(name, None)
        file[name] = value
        file[name].attrs.update(attributes)

    return change


@pytest.mark.parametrize(
    ("place", "name"),
    [(DATA, "units"), (f"{DETECTOR}/count_time", "units"), (NOTES, "laser")],
)
def test_attributes_of_other_types_are_refused(edited: Callable[..., Path], place: str, name: str) -> None:
    """HDF5 itself crashes over some of them where they are damaged."""

    def change(file: h5py.File) -> None:
        lists = np.empty(1, object)
        lists[0] = np.ones(3, np.uint8)
        file.require_group(place) if place == NOTES else file[place]
        file[place].attrs.create(name, lists, dtype=h5py.vlen_dtype(np.uint8))

    refused(edited(change), f"attribute {name} of /.* is damaged")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", "no such file")
    refused(tmp_path, "a directory")


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "a.npy", "a.spc3", "a.mat", "a.bin", "a.png", "a.out", "a.doc"])
def test_empty_or_foreign_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    refused(path, "empty")
    path.write_bytes(b"photons, photons, photons")
    refused(path, "expected one of" if name == "a.doc" else "in spite of its name|expected whole images")


@pytest.mark.parametrize("name", ["a.h5", "a.tif", "zlib.tif", "a.npy"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_truncated_files(save: Any, name: str, part: float) -> None:
    how = {"compression": "zlib"} if name.startswith("zlib") else {}
    path = save(name, np.random.default_rng(0).integers(0, 9, (50, 16, 16)).astype(np.uint8), **how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    refused(path, "truncated|damaged|stack|cut off")


def test_hdf5_without_counts(edited: Any) -> None:
    refused(edited(lambda file: file.pop("/entry")), "without counts")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((3, 4, 4), 0.5), "image 0 holds 0.5, which is not whole"),
        (np.full((3, 4, 4), np.nan, np.float32), "holds no numbers, all pixels are NaN"),
        (np.full((3, 4, 4), 1j), "complex128; expected integer"),
        (np.zeros(4, np.uint8), r"shape \(4,\); expected"),
        (np.zeros((1, 5, 3, 6), np.uint8), "expected .images, rows, columns"),
        (np.zeros((0, 4, 4), np.uint8), "0 images"),
        (np.zeros((4, 0, 4), np.uint8), "images of 0 x 4"),
    ],
)
@pytest.mark.parametrize("name", ["a.h5", "a.npy"])
def test_arrays_that_are_not_counts(save: Any, edited: Any, name: str, values: Any, words: str) -> None:
    refused(save(name, values) if name == "a.npy" else edited(replaced(DATA, values)), words)


@pytest.mark.parametrize("name", ["a.h5", "a.npy", "a.tif"])
def test_the_image_with_an_impossible_count_is_named(save: Any, edited: Any, name: str) -> None:
    counts = np.zeros((20, 6, 5), np.int16)
    counts[17, 3, 2] = -4
    path = edited(replaced(DATA, counts)) if name == "a.h5" else save(name, counts)
    refused(path, "image 17 holds the count -4")
    counts[17, 3, 2] = 3000
    path = edited(replaced(DATA, counts)) if name == "a.h5" else save(name, counts)
    refused(path, "image 17 holds the count 3000, above the largest possible, 2044", cycles=4, counter_bits=9)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("count_time", np.nan, "count_time is nan"),
        ("count_time", -1e-6, "count_time is -1e-06"),
        ("count_time", 0, "expected 1e-12 to"),
        ("count_time", "soon", "expected one number"),
        ("count_time", [1e-6, 2e-6], "expected one number"),
        ("number_of_cycles", 0, "cycles is 0"),
        ("number_of_cycles", 1.5, "cycles is 1.5"),
        ("dead_time", np.inf, "dead_time is inf"),
        ("bit_depth_readout", 99, "counter_bits is 99"),
        ("saturation_value", 10**6, r"more than 4 cycles of a 9-bit counter can hold \(2044\)"),
        ("pixel_mask", np.zeros((5, 6), np.uint32), "pixel_mask"),
        ("pixel_mask", np.zeros((6, 5)), "expected integers"),
        ("image_key", np.zeros(19, np.uint8), "image_key"),
    ],
)
def test_headers_that_lie(edited: Any, name: str, value: Any, words: str) -> None:
    refused(edited(replaced(f"{DETECTOR}/{name}", value)), words)


def test_times_are_converted_from_their_unit_or_refused(edited: Any) -> None:
    with open_capture(edited(replaced(f"{DETECTOR}/count_time", 10.4, units="us"))) as capture:
        assert capture.exposure.count_time == pytest.approx(10.4e-6)
    refused(edited(replaced(f"{DETECTOR}/count_time", 10.4, units="fortnight")), "fortnight")


def test_results_are_not_captures(edited: Any) -> None:
    refused(edited(replaced(DATA, np.ones((2, 4, 4), np.float32), units="counts/s")), "a restored result")


def test_counts_are_never_read_from_other_files(edited: Any, save: Any) -> None:
    other = save("other.h5", np.ones((20, 6, 5), np.uint8))
    layout = h5py.VirtualLayout((20, 6, 5), np.uint8)
    layout[:] = h5py.VirtualSource(other, DATA, (20, 6, 5))

    def external_link(file: h5py.File) -> None:
        file.pop(DATA)
        file[DATA] = h5py.ExternalLink(other, DATA)

    def external_group(file: h5py.File) -> None:
        file.pop("/entry/instrument")
        file["/entry/instrument"] = h5py.ExternalLink(other, "/entry/instrument")

    def virtual(file: h5py.File) -> None:
        del file[DATA]
        file.create_virtual_dataset(DATA, layout)

    def raw(file: h5py.File) -> None:
        del file[DATA]
        file.create_dataset(DATA, (20, 6, 5), np.uint8, external=[(other, 0, 600)])

    refused(edited(external_link), "link out of the file")
    refused(edited(virtual), "lie in other files")
    refused(edited(raw), "lie in other files")
    refused(edited(external_group), "link out of the file")


def test_links_that_go_round_in_a_circle(edited: Any) -> None:
    def circle(file: h5py.File) -> None:
        file.pop(DATA)
        file[DATA] = h5py.SoftLink("/entry/data/data")

    refused(edited(circle), "circle")


@pytest.mark.parametrize("chunks", [None, (100, 6, 5)])
def test_images_that_were_never_written(edited: Any, chunks: Any) -> None:
    def change(file: h5py.File) -> None:
        file.pop(DATA)
        file.create_dataset(DATA, (10**9, 6, 5), np.uint8, chunks=chunks)

    refused(edited(change), "never written")


def test_images_too_large_to_be_real(edited: Any) -> None:
    def change(file: h5py.File) -> None:
        file.pop(DATA)
        file.create_dataset(DATA, (1, 10**6, 10**6), np.uint8, chunks=(1, 100, 100))

    refused(edited(change), "images of 1000000 x 1000000")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    refused(tmp_path / "a.npy", "expected integer counts")


def test_tiffs_that_are_not_one_grey_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(192, dtype=np.uint8).reshape(8, 8, 3), photometric="rgb")
    refused(path, "in colour")
    tifffile.imwrite(path, np.full((8, 8), 0.5, np.float32))
    refused(path, "not whole")
    tifffile.imwrite(path, np.full((8, 8), np.nan, np.float32))
    refused(path, "all pixels are NaN")
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((8, 8), np.uint8))
        writer.write(np.zeros((4, 4), np.uint8))
    refused(path, "2 kinds of page")


def test_tiffs_whose_compression_changes_counts_or_has_no_bound(save: Any) -> None:
    path = save("a.tif", np.ones((1, 8, 8), np.uint8), compression="zlib")
    for code, name in ((7, "JPEG"), (34712, "JPEG2000"), (50001, "WEBP")):
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tiff.pages[0].tags["Compression"].overwrite(code)
        refused(path, f"{name}.*save it uncompressed")


@pytest.mark.parametrize(
    "options", [{"count_time": -1}, {"cycles": 0}, {"dead_time": float("nan")}, {"counter_bits": 40}]
)
def test_options_out_of_range(save: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        open_capture(save("a.npy", np.zeros((1, 2, 2), np.uint8)), **options)
