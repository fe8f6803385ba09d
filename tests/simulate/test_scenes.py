"""Scene sources: number i depends on the seed and i alone; folders of photographs with good and bad files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noise_model.errors import InputError
from simulate.scenes import ProceduralScenes, cropped, photographs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photographs of different sizes and formats, one of them in a folder of its own, beside a text file."""
    rng = np.random.default_rng(0)
    sizes = {"a.png": (40, 60), "b.jpg": (300, 200), "c.bmp": (64, 64), "d.tif": (100, 30), "sub/e.png": (50, 50)}
    (tmp_path / "sub").mkdir()
    for name, size in sizes.items():
        image = cv2.GaussianBlur(rng.integers(0, 256, size, dtype=np.uint8), (0, 0), 2)
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "notes.txt").write_text("not a photograph")
    return tmp_path


def test_drawn_scenes_depend_on_seed_and_number_alone() -> None:
    source = ProceduralScenes(4)
    forwards = [source.scene(i, (32, 48)) for i in range(5)]
    backwards = [ProceduralScenes(4).scene(i, (32, 48)) for i in reversed(range(5))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not np.array_equal(forwards[0], ProceduralScenes(5).scene(0, (32, 48)))


@given(seed=st.integers(0, 2**32), height=st.integers(1, 90), width=st.integers(1, 90))
def test_crops_are_of_the_shape(seed: int, height: int, width: int) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    part = cropped(picture, (48, 32), np.random.default_rng(seed))
    assert part.shape == (48, 32)
    assert np.isfinite(part).all()


def test_crops_of_an_even_picture_are_even() -> None:
    for seed in range(20):
        part = cropped(np.full((100, 80), 7, np.float32), (48, 32), np.random.default_rng(seed))
        assert part == pytest.approx(7, abs=1e-4)


def test_photographs_are_relative_flux(folder: Path) -> None:
    source, corrupt = photographs(folder, seed=1)
    assert corrupt == []
    assert len(source.paths) == 5
    scenes = [source.scene(i, (128, 64)) for i in range(20)]
    assert all(scene.shape == (128, 64) and scene.dtype == np.float32 for scene in scenes)
    assert all(scene.min() >= 0 and scene.max() < 1.5 for scene in scenes)


def test_photographs_depend_on_seed_and_number_alone(folder: Path) -> None:
    first, second, other = (photographs(folder, seed)[0] for seed in (1, 1, 2))
    assert first.identity == second.identity == other.identity
    assert all(np.array_equal(first.scene(i, (32, 32)), second.scene(i, (32, 32))) for i in (7, 0, 3))
    assert any(not np.array_equal(first.scene(i, (32, 32)), other.scene(i, (32, 32))) for i in range(3))


def test_every_photograph_is_used_before_any_is_used_again(tmp_path: Path) -> None:
    for level in range(10, 60, 10):
        cv2.imwrite(str(tmp_path / f"{level}.png"), np.full((40, 40), level, np.uint8))
    source, _ = photographs(tmp_path, seed=3, squared_share=0)
    levels = [round(float(source.scene(i, (32, 32)).mean()) * 255) for i in range(10)]
    assert sorted(levels[:5]) == sorted(levels[5:]) == [10, 20, 30, 40, 50]


def test_the_squared_share_is_squared(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "half.png"), np.full((40, 40), 128, np.uint8))
    means = [photographs(tmp_path, 0, share)[0].scene(0, (32, 32)).mean() for share in (0.0, 1.0)]
    assert means == pytest.approx([128 / 255, (128 / 255) ** 2], rel=1e-5)


def test_changed_photographs_are_another_source(folder: Path) -> None:
    before, _ = photographs(folder, 0)
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 60), np.uint8))
    assert photographs(folder, 0)[0].identity != before.identity


def test_corrupt_photographs_are_named_and_left_out(folder: Path) -> None:
    whole = (folder / "b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no picture")
    source, corrupt = photographs(folder, seed=1)
    assert [path.name for path in corrupt] == ["cut.jpg", "empty.png", "text.png"]
    assert len(source.paths) == 5


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        photographs(tmp_path / "nowhere", 0)
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(InputError, match="no image"):
        photographs(tmp_path, 0)
    (tmp_path / "text.png").write_text("this is no picture")
    with pytest.raises(InputError, match="1 images that cannot be read"):
        photographs(tmp_path, 0)


def test_a_photograph_that_vanishes_is_named(folder: Path) -> None:
    source, _ = photographs(folder, seed=1)
    for path in source.paths:
        path.unlink()
    with pytest.raises(InputError, match="no longer a readable image"):
        source.scene(0, (32, 32))


def test_photographs_of_more_bits_are_as_bright_as_of_eight(tmp_path: Path) -> None:
    y, x = np.mgrid[:80, :80]
    scene = 0.5 + 0.45 * np.sin(x / 9) * np.cos(y / 13)
    found = []
    for name, image in (("8", (scene * 255).astype(np.uint8)), ("12", (scene * 4095).astype(np.uint16))):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), image)
        found.append(photographs(tmp_path / name, seed=1)[0].scene(0, (80, 80)))
    assert np.abs(found[0] - found[1]).max() < 2 / 255
    assert len(np.unique(found[1])) > 4 * len(np.unique(found[0]))


def test_what_a_mac_leaves_is_no_photograph(folder: Path) -> None:
    (folder / "__MACOSX").mkdir()
    for name in ("._a.png", "sub/._e.png", "__MACOSX/e.png"):
        (folder / name).write_bytes(b"\0\5\x16\7" + bytes(60))
    source, corrupt = photographs(folder, seed=1)
    assert (len(source.paths), corrupt) == (5, [])
