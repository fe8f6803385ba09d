"""`spadsr evaluate` on pairs of a photon cube and a picture, in the measures of the Single Photon Challenge."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Said

from noise_model.errors import InputError
from spadsr.evaluation.challenge import RESPONSE, Score, pairs, scores, srgb, table
from spadsr.evaluation.methods import methods_named

ROWS, COLUMNS, FRAMES = 32, 44, 512


def pair(folder: Path, seed: int, colours: int = 3) -> np.ndarray:
    """A cube and its picture; the linear light of the scene (H, W, C)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS] / 12
    light = np.stack([0.5 + 0.4 * np.sin(x + y * colour + seed) for colour in range(colours)], axis=-1)
    bits = rng.random((FRAMES, *light.shape)) < 1 - np.exp(-RESPONSE * light)
    packed = np.packbits(bits, axis=2)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{seed:06d}.npy", packed if colours > 1 else packed[..., 0])
    levels = np.rint(255 * srgb(light)).astype(np.uint8)
    cv2.imwrite(str(folder / f"{seed:06d}.png"), levels[..., ::-1])
    return light


def test_srgb_is_as_the_standard_has_it() -> None:
    np.testing.assert_allclose(255 * srgb(np.array([-1.0, 0, 0.001, 0.2140, 1, 7])), [0, 0, 3, 127, 255, 255], atol=0.5)


@pytest.mark.parametrize("colours", [1, 3])
def test_more_frames_come_nearer_to_the_picture_and_as_near_as_counts_can(tmp_path: Path, colours: int) -> None:
    light = pair(tmp_path / "attic", 0, colours)
    few, many = scores(tmp_path, [FRAMES, 16], methods_named(["bicubic"], {}))
    assert (few.picture, few.frames, many.frames) == ("attic/000000", 16, FRAMES)
    assert few.ssim < many.ssim <= 1
    seen = 1 - np.exp(-RESPONSE * light)
    error = np.sqrt(seen / (1 - seen) / FRAMES) / RESPONSE  # of the light
    slope = 1.055 / 2.4 * light ** (1 / 2.4 - 1)  # of sRGB
    assert many.psnr == pytest.approx(-10 * np.log10(np.mean((error * slope) ** 2)), abs=0.5)
    assert many.psnr - few.psnr > 8  # 32 times the light: 15 dB, less where 16 frames were clipped


def test_only_the_last_frames_are_summed(tmp_path: Path) -> None:
    pair(tmp_path, 0)
    cube = np.load(tmp_path / "000000.npy")
    before = scores(tmp_path, [16], methods_named(["bicubic"], {}))
    cube[:-16] = 0
    np.save(tmp_path / "000000.npy", cube)
    assert scores(tmp_path, [16], methods_named(["bicubic"], {})) == before


def test_means_and_quantiles_by_hand() -> None:
    found = [Score(str(each), 16, "good", float(each), each / 200) for each in range(101)]
    assert table(found) == [["16", "good", "50.00", "5.00", "1.00", "0.2500", "0.0250", "0.0050"]]


def test_a_folder_of_pairs_on_the_command_line(
    tmp_path: Path, small_weights: Path, spadsr: Callable[..., Said]
) -> None:
    for seed in (0, 1):
        pair(tmp_path / "set" / "attic", seed)
    (tmp_path / "set" / "attic" / "alone.npy").write_bytes(b"")
    assert len(pairs(tmp_path / "set")) == 2
    arguments = ("--frames", "4,16", "--methods", "bicubic,spadsr", "--weights", small_weights)
    said = spadsr("evaluate", tmp_path / "set", *arguments, "-o", tmp_path / "out", "--json", tmp_path / "a.json")
    assert said.code == 0, said.err
    assert "5 % low" in said.out
    lines = [line for line in (tmp_path / "out" / "challenge.csv").read_text().splitlines() if line[0] != "#"]
    rows = list(csv.DictReader(lines))
    assert [(row["picture"], row["frames"], row["method"]) for row in rows[:3]] == [
        ("attic/000000", "4", "bicubic"),
        ("attic/000000", "4", "spadsr"),
        ("attic/000000", "16", "bicubic"),
    ]
    assert len(rows) == 8
    assert "| 16 | spadsr |" in (tmp_path / "out" / "challenge.md").read_text()


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    pair(tmp_path, 0)
    named = methods_named(["bicubic"], {})
    with pytest.raises(InputError, match="512 frames, but 1024 are to be summed"):
        scores(tmp_path, [1024], named)
    cv2.imwrite(str(tmp_path / "000000.png"), np.zeros((ROWS, COLUMNS), np.uint8))
    with pytest.raises(InputError, match=r"32 x 44 pixels of 1 colours; expected frames packed along rows"):
        scores(tmp_path, [16], named)
    (tmp_path / "000000.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="expected a picture of 8 bits"):
        scores(tmp_path, [16], named)
