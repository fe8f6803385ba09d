"""Photographs: the grey levels are all those that a file has, whatever its depth, and its name."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from noise_model.errors import InputError
from noise_model.image_files import grey_levels, photograph

Y, X = np.mgrid[:64, :48]
SCENE = 0.5 + 0.45 * np.sin(X / 9) * np.cos(Y / 13)


def encoded(image: NDArray[Any], suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return bytes(data)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("colour", [False, True])
def test_eight_bits_are_as_they_were(suffix: str, colour: bool) -> None:
    image = (SCENE[..., None] * (255, 180, 90) if colour else SCENE * 255).astype(np.uint8)
    data = encoded(image, suffix)
    levels = grey_levels(data)
    assert levels is not None
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_sixteen_bits_keep_all_levels_and_their_brightness(suffix: str, bits: int) -> None:
    image = np.rint(SCENE * ((1 << bits) - 1)).astype(np.uint16)
    levels = grey_levels(encoded(image, suffix))
    assert levels is not None
    assert len(np.unique(levels)) == len(np.unique(image))
    np.testing.assert_allclose(levels, 255 * SCENE, atol=255 / (1 << bits))


@pytest.mark.parametrize(("brightest", "white"), [(0.9, 1.0), (1.0, 1.0), (4000.0, 4000.0)])
def test_floating_point_numbers(brightest: float, white: float) -> None:
    image = (SCENE / SCENE.max() * brightest).astype(np.float32)
    levels = grey_levels(encoded(image, ".tif"))
    assert levels is not None
    np.testing.assert_allclose(levels, image * (255 / white), rtol=1e-5)


def test_what_is_no_photograph() -> None:
    holes, dark = SCENE.astype(np.float32), SCENE.astype(np.float32) - 1
    holes[3, 3] = np.nan
    whole = encoded((SCENE * 255).astype(np.uint8), ".png")
    for data in (b"", b"text", whole[:30], encoded(holes, ".tif"), encoded(dark, ".tif")):
        assert grey_levels(data) is None


@pytest.mark.parametrize("name", [b"\xe9t\xe9.png", "gut_\u00e4\u00f6\u00fc\u65e5.png".encode()])
def test_names_of_any_bytes(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(encoded((SCENE * 255).astype(np.uint8), ".png"))
    except OSError:
        pytest.skip("this disk takes no such names")
    assert photograph(path).shape == SCENE.shape
    path.write_bytes(b"")
    with pytest.raises(InputError, match="no longer a readable image"):
        photograph(path)
