"""Photon cubes in folders, as visionsim and the WISION laboratory store them: layout, size and mask as they say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.captures.capture import open_capture
from noise_model.errors import InputError

BITS = np.random.default_rng(0).integers(0, 2, (6, 40, 52)).astype(np.uint8)


def cube(folder: Path, array: np.ndarray, said: Any, wision: bool = False) -> Path:
    """A folder with a cube and its JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / ("binary.npy" if wision else "frames.npy"), array)
    (folder / ("arguments.json" if wision else "transforms.json")).write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(("axis", "channels"), [(2, ()), (1, ()), (2, (1,)), (1, (1,))])
@pytest.mark.parametrize("named", ["", "frames.npy"])
def test_visionsim_says_how_bits_are_packed_and_how_many_fill_up(
    tmp_path: Path, axis: int, channels: tuple[int, ...], named: str
) -> None:
    packed = np.packbits(BITS, axis=axis).reshape(6, *np.packbits(BITS, axis=axis).shape[1:], *channels)
    cube(tmp_path / "a", packed, {"bitpack": True, "bitpack_dim": axis, "h": 40, "w": 52, "c": 1, "fl_x": 50.0})
    with open_capture(tmp_path / "a" / named, count_time=1e-5) as capture:
        assert (capture.format, capture.shape) == ("photon cube", BITS.shape)
        assert (capture.settings.counter_bits, capture.settings.cycles, capture.assumed) == (1, 1, ())
        np.testing.assert_array_equal(capture.read(0, 6), BITS)
        assert json.loads(capture.notes["transforms"])["fl_x"] == 50


def test_one_colour_of_three_is_chosen(tmp_path: Path) -> None:
    colours = np.stack([np.packbits(np.roll(BITS, shift, 1), axis=2) for shift in range(3)], axis=-1)
    folder = cube(tmp_path / "a", colours, {"bitpack": True, "bitpack_dim": 2, "h": 40, "w": 52, "c": 3})
    with pytest.raises(InputError, match="3 channels; choose 1 or 2 or 3"):
        open_capture(folder)
    with open_capture(folder, array="3") as capture:
        np.testing.assert_array_equal(capture.read(0, 6), np.roll(BITS, 2, 1))


def test_frames_that_are_not_packed_are_counts(tmp_path: Path) -> None:
    folder = cube(tmp_path / "a", BITS * np.uint8(3), {"bitpack": False, "h": 40, "w": 52})
    with open_capture(folder, cycles=4) as capture:
        np.testing.assert_array_equal(capture.read(0, 6), 3 * BITS)


def test_dim_frames_of_the_laboratory_are_packed_whatever_their_bytes_look_like(tmp_path: Path) -> None:
    dim = np.zeros((4, 64, 64), np.uint8)
    dim[:, 5, 7] = 1  # a hot pixel alone: bytes of 0 and 1
    with open_capture(cube(tmp_path / "a", np.packbits(dim, axis=2), {"colour": False}, wision=True)) as capture:
        assert capture.settings.counter_bits == 1
        np.testing.assert_array_equal(capture.read(0, 4), dim)


@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_a_mask_of_hot_pixels_is_found_by_its_name(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "sequences" / "anycam" / "scene"
    said = {"hot_pixel_mask": "masks/graySPAD.npy", "output": "other.npy"}
    cube(folder, np.packbits(np.zeros((4, 64, 64), np.uint8), axis=2), said, wision=True)
    with pytest.raises(InputError, match=r"no hot_pixel_mask/graySPAD\.npy"):
        open_capture(folder)
    hot = np.zeros((64, 64), bool)
    hot[3, 4] = True
    (folder / place / "hot_pixel_mask").mkdir()
    np.save(folder / place / "hot_pixel_mask" / "graySPAD.npy", hot)
    with open_capture(folder) as capture:
        assert capture.pixel_mask is not None
        np.testing.assert_array_equal(capture.pixel_mask != 0, hot)
        assert any("hot pixels are those of graySPAD.npy" in each for each in capture.assumptions)


def test_a_mask_that_lies_beside_a_cube_is_used(tmp_path: Path) -> None:
    folder = cube(tmp_path / "a", np.packbits(BITS, axis=2), {"bitpack": True, "h": 40, "w": 52})
    np.save(folder / "hot_pixel_mask.npy", np.eye(40, 52))
    with open_capture(folder) as capture:
        assert capture.pixel_mask is not None
        assert np.count_nonzero(capture.pixel_mask) == 40
    np.save(folder / "hot_pixel_mask.npy", 1 - np.eye(40, 52))
    with pytest.raises(InputError, match=r"98% of them hot; expected .*, most of them 0"):
        open_capture(folder)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"bitpack": True, "bitpack_dim": 0}, "bitpack_dim is 0; expected 1"),
        ({"bitpack": True, "h": 40, "w": 99}, "40 x 99 pixels, but the array has 40 x 56"),
        ({"bitpack": True, "h": "many", "w": 52}, "'many' x 52 pixels"),
        ([1, 2], "expected names with values"),
        ("{", "expected names with values"),
    ],
)
def test_what_the_json_file_says_wrongly_is_told(tmp_path: Path, said: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        open_capture(cube(tmp_path / "a", np.packbits(BITS, axis=2), said))


def test_a_damaged_json_file_is_named(tmp_path: Path) -> None:
    folder = cube(tmp_path / "a", np.packbits(BITS, axis=2), {})
    for damaged in (b"[" * 100_000, b"\xff\xfe", b"", b'{"h": 1'):
        (folder / "transforms.json").write_bytes(damaged)
        with pytest.raises(InputError, match=r"transforms\.json: damaged or not a readable JSON file"):
            open_capture(folder)
