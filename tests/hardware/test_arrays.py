"""Arrays in every order of their axes, in NumPy's files and in HDF5 files with a layout of their own."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from hardware.parsing.arrays import RawArray
from noise_model.errors import InputError

COUNTS = np.random.default_rng(0).binomial(16, 0.3, (21, 9, 8)).astype(np.uint16)


def read(path: Path, size: int = 4, **options: Any) -> NDArray[Any]:
    with open_capture(path, **options) as capture:
        return np.concatenate(list(capture.blocks(size)))


def refused(path: Path, words: str, **options: Any) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


@given(last=st.booleans(), fortran=st.booleans(), size=st.integers(1, 25), window=st.integers(1, 1 << 14))
def test_images_first_or_last_in_either_order(save: Any, last: bool, fortran: bool, size: int, window: int) -> None:
    array = np.ascontiguousarray(np.moveaxis(COUNTS, 0, -1)) if last else COUNTS
    path = save("a.npy", np.asfortranarray(array) if fortran else array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RawArray, "WINDOW", window)
        np.testing.assert_array_equal(read(path, size, layout="images-last" if last else None), COUNTS)


def test_one_image_in_either_order(save: Any) -> None:
    for image in (COUNTS[0], np.asfortranarray(COUNTS[0])):
        np.testing.assert_array_equal(read(save("a.npy", image)), COUNTS[:1])


@pytest.mark.parametrize("dtype", [">u2", "<i4", np.float32, np.float64, np.float16, np.uint64])
def test_counts_of_any_type(save: Any, dtype: Any) -> None:
    np.testing.assert_array_equal(read(save("a.npy", COUNTS.astype(dtype))), COUNTS)


@pytest.mark.parametrize("axis", [1, 3])
def test_a_channel(save: Any, axis: int) -> None:
    np.testing.assert_array_equal(read(save("a.npy", np.expand_dims(COUNTS, axis))), COUNTS)
    colour = np.stack([COUNTS, COUNTS + 1, COUNTS + 2], axis)
    for path in (save("a.npy", colour), save("b.npy", np.asfortranarray(colour))):
        np.testing.assert_array_equal(read(path, array="3"), COUNTS + 2)
        refused(path, "images of 3 channels; choose 1 or 2 or 3")
    refused(save("a.npy", COUNTS), "images without channels; choose none", array="1")


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for write in (np.savez, np.savez_compressed):
        write(path, counts=np.asfortranarray(COUNTS), exposure=1e-5)
        np.testing.assert_array_equal(read(path), COUNTS)
    np.savez(path, dark=COUNTS, flat=np.moveaxis(COUNTS, 0, -1))
    refused(path, "2 arrays; choose one of dark, flat")
    refused(path, "no array hot; choose one of dark, flat", array="hot")
    np.testing.assert_array_equal(read(path, array="flat", layout="images-last"), COUNTS)
    np.savez(path, objects=np.array([{}]), allow_pickle=True)
    refused(path, "no numeric array")
    path.write_bytes(path.read_bytes()[:40])
    refused(path, "damaged")


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", counts=np.zeros((300, 1024, 1024), np.uint8))
    refused(tmp_path / "a.npz", "save arrays this large as .npy")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """An HDF5 file of two recordings, of gates that lie out of order, of a curve, and of a link to elsewhere."""
    path = tmp_path / "many.h5"
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data"] = COUNTS
    with h5py.File(path, "w") as file:
        file.create_dataset("run/dark", data=COUNTS, chunks=(2, 9, 8), compression="gzip")
        file["run/flat"] = np.moveaxis(COUNTS, 0, -1).astype(np.float32)
        for number in (10, 9, 1):
            file[f"gates/Gate {number}"] = COUNTS[number]
        file["curve"], file["name"] = np.arange(1000), "words"
        file["outside"], file["round"] = h5py.ExternalLink("other.h5", "data"), h5py.SoftLink("/run")
    return path


def test_the_datasets_of_a_file_are_listed(many: Path) -> None:
    listed = r"run/dark \(21 x 9 x 8, uint16\); run/flat \(9 x 8 x 21, float32\); gates \(3 x 9 x 8, uint16\)$"
    refused(many, f"HDF5 without counts at /entry/instrument/detector/data; choose one of: {listed}")
    for place in ("curve", "name", "nothing", "run"):
        refused(many, "no images at|expected .images, rows", array=place)
    refused(many, "a link out of the file", array="outside")


def test_a_dataset_is_chosen_by_its_path(many: Path) -> None:
    for place in ("run/dark", "/run/dark", "round/dark"):
        np.testing.assert_array_equal(read(many, array=place), COUNTS)
    np.testing.assert_array_equal(read(many, array="run/flat", layout="images-last"), COUNTS)
    np.testing.assert_array_equal(read(many, array="gates"), COUNTS[[1, 9, 10]])
    np.testing.assert_array_equal(read(many, array="gates/Gate 9"), COUNTS[9:10])
    with open_capture(many, array="run/dark", cycles=16, counter_bits=1, count_time=1e-6) as capture:
        assert capture.assumptions == ("counts read from run/dark (21 x 9 x 8, uint16)",)


@pytest.mark.parametrize("place", ["SPAD", "data", "exchange/data", "t0/channel0"])
def test_the_only_dataset_needs_no_name(tmp_path: Path, place: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[place] = COUNTS
        file["time"] = np.arange(21.0)
    np.testing.assert_array_equal(read(tmp_path / "a.h5"), COUNTS)


def test_channels_and_packed_bits_in_hdf5(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (5, 64, 96)).astype(np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"], file["colour"] = np.packbits(frames, axis=2), np.stack([COUNTS, COUNTS + 1], -1)
    np.testing.assert_array_equal(read(tmp_path / "a.h5", array="cube"), frames)
    np.testing.assert_array_equal(read(tmp_path / "a.h5", array="colour/2"), COUNTS + 1)


def test_settings_beside_the_counts_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("spad")
        group["images"], group["number_of_cycles"], group["bit_depth_readout"] = COUNTS, 16, 1
        group["count_time"] = np.full(21, 2.5)
        group["count_time"].attrs["units"] = "microseconds"
        group["pixel_mask"] = np.eye(9, 8, dtype=np.uint8)
    with open_capture(tmp_path / "a.h5") as capture:
        assert (capture.exposure.cycles, capture.exposure.count_time) == (16, pytest.approx(2.5e-6))
        assert capture.pixel_mask is not None
        assert capture.pixel_mask.sum() == 8


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        *(("s", 1), ("seconds", 1), ("Second", 1), (b"s", 1), ("ms", 1e-3), ("\N{GREEK SMALL LETTER MU}s", 1e-6)),
        *(("usec", 1e-6), ("microsecond", 1e-6), ("nanoseconds", 1e-9), ("minutes", 60)),
    ],
)
def test_words_for_seconds(save: Any, unit: Any, size: float) -> None:
    path = save("a.h5", COUNTS)
    with h5py.File(path, "r+") as file:
        time = file["entry/instrument/detector/count_time"]
        time[()], time.attrs["units"] = 4.0, unit
    with open_capture(path) as capture:
        assert capture.exposure.count_time == pytest.approx(4 * size)


def test_a_number_for_every_image_has_to_be_the_same(save: Any) -> None:
    path, place = save("a.h5", COUNTS), "entry/instrument/detector/count_time"
    for times, words in (
        (np.full(21, 1e-5), None),
        (np.linspace(1e-5, 2e-5, 21), r"differs between images \(1e-05 to"),
    ):
        with h5py.File(path, "r+") as file:
            del file[place]
            file[place] = times
        if words:
            refused(path, words)
        else:
            np.testing.assert_array_equal(read(path), COUNTS)
