"""Names that are not UTF-8, and output in encodings that lack their letters: every command works."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command import Said

from hardware.captures.capture import open_capture
from spadsr.restoration.result_file import read_result

Spadsr = Callable[..., Said]
ODD = os.fsdecode(b"messung_20\xb0C")
SETTINGS = ("--bits", "1", "--cycles", "16", "--count-time", "1e-5")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8, as old Windows shares, archives and cameras leave them."""
    folder = tmp_path / ODD
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this disk takes no such names")
    return folder


@pytest.fixture
def counts(odd: Path) -> Path:
    """A recording in it, of such a name."""
    path = odd / f"{ODD}.npy"
    np.save(path, np.random.default_rng(0).binomial(16, 0.2, (3, 32, 16)).astype(np.uint8))
    return path


def photographs(folder: Path, number: int = 1) -> Path:
    y, x = np.mgrid[:300, :300]
    for index in range(number):
        picture = (127 + 100 * np.sin(x / (9 + index)) * np.cos(y / 13)).astype(np.uint8)
        done, data = cv2.imencode(".png", picture)
        assert done
        (folder / f"{ODD}{index}.png").write_bytes(bytes(data))
    return folder


def test_recordings(spadsr: Spadsr, odd: Path, counts: Path, small_weights: Path) -> None:
    assert r"messung_20\xb0C.npy" in spadsr("info", counts).out
    said = spadsr("infer", counts, "--weights", small_weights, *SETTINGS)
    assert (said.code, (odd / f"{ODD}.sr.png").exists()) == (0, True), said.err
    with read_result(odd / f"{ODD}.sr.h5") as result:
        assert r"\xb0C.npy" in result.source
        assert r"messung_20\xb0C.npy" in result.provenance.command
    assert spadsr("info", odd / f"{ODD}.sr.h5").code == 0
    for suffix in (".h5", ".npy", ".tif", ".ome.tif"):
        target = odd / f"{ODD}_out{suffix}"
        assert spadsr("convert", counts, target, *SETTINGS).code == 0
        with open_capture(target) as capture:
            np.testing.assert_array_equal(next(capture.blocks()), np.load(counts))


def test_folders_of_images(spadsr: Spadsr, odd: Path) -> None:
    assert "1 image of 300 x 300" in spadsr("info", photographs(odd)).out


def test_calibrating(spadsr: Spadsr, odd: Path) -> None:
    dark = odd / f"{ODD}.npy"
    np.save(dark, np.random.default_rng(0).binomial(255, 0.001, (40, 16, 12)).astype(np.uint8))
    options = ("--bits", "1", "--cycles", "255", "--count-time", "1e-5", "-o", odd / f"{ODD}.yaml")
    said = spadsr("calibrate", dark, *options)
    assert said.code == 0, said.err
    assert r"20\xb0C.npy" in (odd / f"{ODD}.html").read_text(encoding="utf-8")
    assert spadsr("infer", dark, "--sensor", odd / f"{ODD}.yaml", "--weights", "tiny", *options[:6]).code == 0


def test_photographs(spadsr: Spadsr, odd: Path, tmp_path: Path, small_weights: Path) -> None:
    photos = photographs(odd, 3)
    recipe = photos / f"{ODD}.yaml"
    recipe.write_text(
        "{steps: 1, batch: 2, exposures: 1, native: 16, warm_up: 1, record_every: 1, checkpoint_seconds: 0,"
        " interval_batches: 1, bfloat16: false, scenes: {drawn: 2, drawn_size: 256},"
        " network: {widths: [8, 16], encoder: [1, 1], decoder: [1], attention: 1, heads: 2, detail: 4}}"
    )
    said = spadsr("train", recipe, f"scenes.photos={photos}", "-o", photos / "run")
    assert (said.code, (photos / "run" / "weights.safetensors").exists()) == (0, True), said.err
    said = spadsr("simulate", "--scenes", 1, "--images", photos, "-o", photos / "set", "--workers", 1)
    assert said.code == 0, said.err
    said = spadsr(
        "evaluate",
        photos,
        "--weights",
        small_weights,
        "--limit",
        1,
        "--frames",
        16,
        "--methods",
        "bicubic",
        "-o",
        photos / "out",
    )
    assert said.code == 0, said.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    name = "\u65e5\u672c_\u0394t.npy"
    np.save(tmp_path / name, np.ones((2, 8, 8), np.uint8))
    environment: dict[str, Any] = os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    command = [sys.executable, "-m", "spadsr", "info"]
    for file, code in ((name, 0), (f"not_{name}", 2)):
        said = subprocess.run([*command, file], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert said.returncode == code
        assert rb"\u65e5\u672c_\u0394t.npy" in said.stdout + said.stderr
        assert b"Traceback" not in said.stderr
