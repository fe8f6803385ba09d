"""Masks of bad pixels: every shape that people have is read, and wrong ones are refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hardware.captures.capture import Capture, open_capture
from hardware.captures.in_memory import capture_in_memory
from hardware.captures.pixel_masks import masked
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import HOT, USER

BAD = np.zeros((6, 4), bool)
BAD[2, 1] = BAD[5, 3] = True


@pytest.fixture
def capture() -> Capture:
    own = np.zeros(BAD.shape, np.uint32)
    own[0, 0] = HOT
    return capture_in_memory(Path("counts"), np.zeros((3, *BAD.shape), np.uint16), Settings(1e-5, 16, 1, 0.0), own)


def png(path: Path, values: Any) -> Path:
    cv2.imwrite(str(path.with_suffix(".png")), np.asarray(values))
    return path.with_suffix(".png")


def npy(path: Path, values: Any) -> Path:
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


@pytest.mark.parametrize(
    "given",
    [
        lambda path: BAD,
        lambda path: BAD.tolist(),
        lambda path: BAD.astype(float),
        lambda path: npy(path, BAD),
        lambda path: str(npy(path, BAD.astype(np.uint8))),
        lambda path: npy(path, 255 * BAD.astype(np.uint8)),
        lambda path: npy(path, 7 * BAD.astype(np.int64)[None]),
        lambda path: png(path, 255 * BAD.astype(np.uint8)),
        lambda path: png(path, BAD.astype(np.uint8)),
        lambda path: png(path, 65535 * BAD.astype(np.uint16)),
    ],
)
def test_every_shape_of_a_mask_is_read(capture: Capture, tmp_path: Path, given: Callable[[Path], Any]) -> None:
    found = masked(capture, given(tmp_path / "mask")).pixel_mask
    expected = np.where(BAD, USER, 0)
    expected[0, 0] = HOT
    assert found is not None
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda path: ~BAD, "92% of the pixels are bad by it; 0 is a good pixel"),
        (lambda path: BAD[:5], "mask: 5 x 4 values of type bool; expected a mask of 6 x 4 pixels"),
        (lambda path: True, "mask: no values of type bool; expected"),
        (lambda path: np.full(BAD.shape, "x"), "expected a mask of 6 x 4"),
        (lambda path: npy(path, np.stack([BAD, BAD])), r"mask.npy: 2 images; expected a mask, a single image"),
        (lambda path: png(path, 255 * BAD.T.astype(np.uint8)), r"mask.png: 4 x 6 values"),
        (lambda path: path / "nowhere.png", "no such file"),
    ],
)
def test_what_is_no_mask_is_refused(capture: Capture, tmp_path: Path, given: Callable[[Path], Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        masked(capture, given(tmp_path / "mask"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("mask", [BAD, BAD[2:6, 1:4]], ids=["of the array", "of the region"])
def test_masks_of_the_whole_array_fit_a_region_of_it(tmp_path: Path, mask: Any) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, *BAD.shape), np.uint8))
    with open_capture(tmp_path / "a.npy", counter_bits=1, cycles=16, roi=(slice(2, 6), slice(1, None))) as capture:
        np.testing.assert_array_equal(masked(capture, mask).pixel_mask, np.where(BAD[2:6, 1:4], USER, 0))
        with pytest.raises(InputError, match="5 x 4 values of type bool; expected a mask of 4 x 3 pixels"):
            masked(capture, BAD[:5])
