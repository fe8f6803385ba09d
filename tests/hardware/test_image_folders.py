"""Folders of images: the order is that of the numbers in their names; and what is no image is left out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from hardware.captures.capture import open_capture
from noise_model.errors import InputError

Make = Callable[[Sequence[str]], Path]


@pytest.fixture(params=[".png", ".tif"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """folder(stems) makes a folder of images of 4 x 5; every pixel of each is its place among the names."""

    def make(stems: Sequence[str]) -> Path:
        where = tmp_path / "run"
        where.mkdir(exist_ok=True)
        for place, stem in enumerate(stems):
            save(where / f"{stem}{request.param}", np.full((4, 5), place, np.uint8))
        return where

    return make


def save(path: Path, image: NDArray[Any]) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, image)
    else:
        cv2.imwrite(str(path), image)


def order(folder: Path, **options: Any) -> list[int]:
    """The places among the names of the images as they are read."""
    with open_capture(folder, **options) as capture:
        return [int(image[0, 0]) for block in capture.blocks(2) for image in block]


def said(folder: Path) -> str:
    with open_capture(folder) as capture:
        return "; ".join(capture.assumptions)


def refused(folder: Path, words: str, **options: Any) -> str:
    with pytest.raises(InputError, match=words) as caught:
        order(folder, **options)
    assert "\n" not in str(caught.value)
    return caught.value.arguments[0] if caught.value.arguments else ""


@pytest.mark.parametrize(
    "stems",
    [
        ["f_0001", "f_0002", "f_0010"],
        ["f1", "f2", "f10", "f100"],
        ["f_001", "f_2", "f_0010"],
        ["1", "2", "10"],
        ["b1_5_gain10", "b1_6_gain10", "b1_7_gain10"],
        ["F_1", "f_2", "F_3"],
        ["run2.9", "run2.10", "run2.11"],
        ["1.5s", "1.6s", "2.5s"],
        ["IMG0045-0000", "IMG0045-0001", "IMG0045-0002"],
        ["2024-01-24_15-59-58", "2024-01-24_16-00-03", "2024-02-01_00-00-00"],
        ["1706108365123", "1706108366001", "1706108366002"],
        ["run1_9", "run1_10", "run2_1"],
        ["24-01-2024_1", "24-01-2024_2", "25-01-2024_1"],
    ],
)
def test_names_whose_numbers_decide(folder: Make, stems: list[str]) -> None:
    assert order(folder(stems)) == list(range(len(stems)))


@pytest.mark.parametrize(
    ("stems", "words"),
    [
        (["f_1", "f_2", "mean"], "mean.* has no number"),
        (["a", "b", "c"], "has no number"),
        (["f_1", "f_01", "f_2"], "have the same number"),
        (["dark_1", "dark_2", "flat_1", "flat_2"], "named differently"),
        (["f_0.5", "f_1.25", "f_1.125"], "may be decimal"),
        (["f_0.5", "f_0.25", "f_0.125"], "may be decimal"),
        (["31-01-2024_1", "01-02-2024_1"], "dates with the day first"),
        (["31.12.2023", "01.01.2024"], "dates with the day first"),
    ],
)
def test_names_that_do_not_decide(folder: Make, stems: list[str], words: str) -> None:
    refused(folder(stems), words)


def test_what_is_said_of_the_order(folder: Make) -> None:
    assert "not of the alphabet" in said(folder(["f_1", "f_2", "f_10"]))
    where = folder(["f_1", "f_2", "f_10"])
    for path in where.iterdir():
        path.unlink()
    assert "order of the first of them" in said(folder(["run1_1", "run1_2", "run2_1"]))


def test_channels_positions_and_slices_in_names_are_chosen(folder: Make) -> None:
    stems = [f"img_channel{c:03}_position{p:03}_time{t:09}_z000" for t in range(3) for p in range(2) for c in range(2)]
    where = folder(stems)
    assert refused(where, r"2 positions; choose 1 \(position000\) or 2 \(position001\)") == "position"
    assert refused(where, r"2 channels; choose 1 \(channel000\)", position=1) == "channel"
    assert order(where, position=2, channel="channel001") == [3, 7, 11]
    next(iter(where.glob("img_channel001_position001_time000000001_*"))).unlink()
    refused(where, "planes are missing", position=2, channel=2)
    assert order(where, position=2, channel=1) == [2, 6, 10]


def test_two_channels_are_no_stack(folder: Make) -> None:
    where = folder(["cell_ch1", "cell_ch2"])
    assert refused(where, "2 channels") == "channel"
    assert order(where, channel=2) == [1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_single_tiffs_are_a_stack(tmp_path: Path, dtype: Any) -> None:
    counts = np.random.default_rng(0).integers(0, 200, (12, 6, 5)).astype(dtype)
    for number, image in enumerate(counts):
        tifffile.imwrite(tmp_path / f"image_{number}.tiff", image, compression="lzw" if number % 2 else None)
    with open_capture(tmp_path) as capture:
        assert (capture.shape, capture.dtype) == ((12, 6, 5), dtype)
        np.testing.assert_array_equal(np.concatenate(list(capture.blocks(5))), counts)
    tifffile.imwrite(tmp_path / "image_12.tiff", counts[0, 1:])
    refused(tmp_path, "image_12.tiff: differs in size")
    tifffile.imwrite(tmp_path / "image_0.tiff", counts)
    refused(tmp_path, "image_0.tiff holds 12 images")


def test_a_folder_of_two_kinds_of_image(tmp_path: Path) -> None:
    save(tmp_path / "1.png", np.zeros((4, 5), np.uint8))
    save(tmp_path / "1.tif", np.zeros((4, 5), np.uint8))
    refused(tmp_path, "images of two kinds, .png and .tif")


def test_what_systems_leave_in_a_folder_is_no_image(folder: Make) -> None:
    where = folder(["f_1", "f_2"])
    for path in list(where.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60))
    (where / ".DS_Store").write_bytes(bytes(8))
    (where / "Thumbs.db").write_bytes(bytes(8))
    (where / "__MACOSX").mkdir()
    (where / "__MACOSX" / "._f_1.png").write_bytes(bytes(8))
    assert order(where) == [0, 1]
    companion = next(iter(where.glob("._*")))
    refused(companion, "what a Mac keeps beside")


def test_links_within_the_folder_and_its_repository_are_followed(folder: Make, tmp_path: Path) -> None:
    where = folder(["f_1", "f_2"])
    (tmp_path / "objects").mkdir()
    for path in list(where.iterdir()):
        key = tmp_path / "objects" / f"key-{path.name}"
        path.rename(key)
        path.symlink_to(Path("../objects") / key.name)
    refused(where, r"f_1.*: a link to .*objects.*outside the folder; copy the images themselves \(cp -L")
    (tmp_path / ".git").mkdir()
    assert order(where) == [0, 1]
    (tmp_path / ".git").rmdir()
    (tmp_path / "objects").rename(where / "objects")
    for path in [path for path in where.iterdir() if path.is_symlink()]:
        path.unlink()
        path.symlink_to(Path("objects") / f"key-{path.name}")
    assert order(where) == [0, 1]
    next(iter((where / "objects").iterdir())).unlink()
    refused(where, "is not there; fetch it first")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pngs_stored_in_colour(tmp_path: Path, alpha: bool, dtype: Any) -> None:
    grey = np.random.default_rng(0).integers(0, 200, (6, 5)).astype(dtype)
    samples = [grey, grey, grey.copy()] + ([np.full_like(grey, np.iinfo(dtype).max)] if alpha else [])
    path = tmp_path / "a.png"
    save(path, np.stack(samples, -1))
    with open_capture(path) as capture:
        np.testing.assert_array_equal(capture.read(0, 1)[0], grey)
    samples[-1][0, 0] ^= 1
    save(path, np.stack(samples, -1))
    with pytest.raises(InputError, match="transparent" if alpha else "in colour"), open_capture(path) as capture:
        capture.read(0, 1)


def test_pictures_of_results_are_left_out(folder: Make) -> None:
    """`x.sr.png` beside the images that were restored one by one, if its metadata say that it was made here."""
    where = folder(["frame_1", "frame_2"])
    picture = where / "frame_1.sr.png"
    with PIL.Image.new("L", (8, 8)) as sheet:
        notes = PngInfo()
        notes.add_text("Software", "spadsr 0.1.0")
        sheet.save(picture, pnginfo=notes)
        assert order(where) == [0, 1]
        sheet.save(picture)
    refused(where, "two kinds|named differently")
