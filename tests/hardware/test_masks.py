"""Pixels that a file marks are masked, whatever way it marks them, and never say how many frames there were."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from made_files import save_mat5, save_mat73
from numpy.typing import NDArray

from hardware.captures.capture import open_capture
from noise_model.errors import InputError

COUNTS = np.random.default_rng(0).binomial(16, 0.3, (21, 9, 8))
MARKED = np.zeros((9, 8), bool)
MARKED[[0, 4, 4], [0, 3, 4]] = True


def marked(mark: float, dtype: Any) -> NDArray[Any]:
    return np.where(MARKED, mark, COUNTS).astype(dtype)


def check(path: Path, **options: Any) -> None:
    with open_capture(path, **options) as capture:
        read = np.concatenate(list(capture.blocks(5)))
        assert capture.pixel_mask is not None
        np.testing.assert_array_equal(capture.pixel_mask != 0, MARKED)
        np.testing.assert_array_equal(read[:, ~MARKED], COUNTS[:, ~MARKED])
        assert (read[:, MARKED] <= 16).all()
        assert capture.exposure.cycles == 16
        assert capture.sensor.pixel_mask is not None


@pytest.mark.parametrize(
    ("mark", "dtype"),
    [
        *((255, np.uint8), (65535, np.uint16), (2**32 - 1, np.uint32), (32767, np.int16), (2**31 - 1, np.int32)),
        *((-1, np.int16), (-2, np.int32), (np.nan, np.float32), (np.nan, np.float64)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"cycles": 16}, {"cycles": 16, "counter_bits": 1}])
@pytest.mark.parametrize("name", ["a.npy", "a.h5"])
def test_marks_in_place_of_counts(
    save: Any, tmp_path: Path, name: str, mark: float, dtype: Any, options: dict[str, int]
) -> None:
    with np.errstate(invalid="ignore"):
        images = marked(mark, dtype)
    if name == "a.npy":
        check(save(name, images), **options)
        return
    with h5py.File(tmp_path / name, "w") as file:
        file["entry/instrument/detector/data"] = images
    check(tmp_path / name, **options)


def test_a_dark_recording_of_nothing_but_marks(save: Any) -> None:
    with open_capture(save("a.npy", np.where(MARKED, 65535, 0 * COUNTS).astype(np.uint16))) as capture:
        assert capture.exposure.cycles == 1
        assert np.concatenate(list(capture.blocks())).max() == 0


def test_full_counters_are_not_masked(save: Any) -> None:
    """What is possible is a count, if the counter is known; and where light comes near the largest number."""
    path = save("a.npy", marked(255, np.uint8))
    with open_capture(path, counter_bits=8) as capture:
        assert capture.pixel_mask is None
        assert np.concatenate(list(capture.blocks()))[:, MARKED].min() == 255
    bright = marked(65535, np.uint16)
    bright[:, 4, 2] = 40000
    with open_capture(save("a.npy", bright)) as capture:
        assert capture.pixel_mask is None


def test_one_image_of_eight_bits_may_show_a_lamp(save: Any) -> None:
    with open_capture(save("a.npy", marked(255, np.uint8)[:1])) as capture:
        assert capture.pixel_mask is None


@pytest.mark.parametrize("options", [{}, {"cycles": 16}])
def test_marks_that_come_and_go_are_no_counts(save: Any, options: dict[str, int]) -> None:
    images = marked(65535, np.uint16)
    images[7, 7, 7] = 65535
    words = r"65535.*(far above all others|above the largest possible)"
    with pytest.raises(InputError, match=words) as caught, open_capture(save("a.npy", images), **options) as capture:
        list(capture.blocks())
    assert caught.value.arguments == ("cycles", "counter_bits")


def test_a_pixel_without_a_number_in_some_images(save: Any) -> None:
    images = COUNTS.astype(np.float32)
    images[7, 7, 7] = np.nan
    with pytest.raises(InputError, match="image 7 holds nan"), open_capture(save("a.npy", images)) as capture:
        list(capture.blocks())


def test_differences_are_not_masked(save: Any) -> None:
    images = COUNTS.astype(np.int16) - 1
    with pytest.raises(InputError, match="holds the count -1"), open_capture(save("a.npy", images)) as capture:
        list(capture.blocks())


@pytest.mark.parametrize("place", ["pixel_mask", "detectorSpecific/pixel_mask"])
@pytest.mark.parametrize("held", [0, 7, 65535])
def test_masks_of_nexus(tmp_path: Path, place: str, held: int) -> None:
    """What masked pixels hold says nothing, possible or not."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = np.where(MARKED, np.where(np.arange(21) == 3, held, 2)[:, None, None], COUNTS)
        detector[place] = MARKED.astype(np.int8) * 2
    check(tmp_path / "a.h5")
    check(tmp_path / "a.h5", cycles=16, counter_bits=1)


@pytest.mark.parametrize("kind", ["5", "7.3", "npz"])
def test_masks_beside_the_counts(tmp_path: Path, kind: str) -> None:
    images, path = marked(1000, np.uint16), tmp_path / ("a.npz" if kind == "npz" else "a.mat")
    images[:20, MARKED] = 3
    if kind == "npz":
        np.savez(path, counts=images, pixel_mask=MARKED)
    else:
        write = save_mat5 if kind == "5" else save_mat73
        write(path, counts=np.moveaxis(images, 0, -1), pixel_mask=MARKED.astype(np.uint8))
    check(path)
    if kind == "npz":
        np.savez(path, counts=images, pixel_mask=MARKED[1:])
        with pytest.raises(InputError, match="pixel_mask of shape"):
            open_capture(path)


def test_averages_of_frames_in_floating_point(save: Any) -> None:
    for images in (COUNTS / 16, (COUNTS / 16).astype(np.float32), COUNTS * 255 / 16):
        for options in ({}, {"cycles": 16}):
            with open_capture(save("a.npy", images), **options) as capture:
                np.testing.assert_array_equal(np.concatenate(list(capture.blocks(5))), COUNTS)
                assert capture.exposure.cycles == 16
                assert "averages of 16 frames" in capture.assumptions[0]
