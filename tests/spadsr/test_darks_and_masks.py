"""Recordings in the dark and masks, as people give them: hot pixels are gone, light stays, repeats tell nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command import Said
from numpy.typing import NDArray

import spadsr as face
from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.sensor import HOT, USER
from spadsr.calibration.calibrate import calibrate_captures
from spadsr.restoration.result_file import read_result

FRAME, N, SHAPE = 10e-6, 1000, (32, 24)
LIGHT, DARK = 20 / (N * FRAME), 0.2 / (N * FRAME)  # counts/s
HOT_PAIR, STAR = ((10, 10), (10, 11)), (20, 5)


def record(path: Path, rate: NDArray[Any], images: int, **notes: Any) -> Path:
    settings = Settings(FRAME, N, 1, 0.0)
    counts = np.random.default_rng(0).binomial(N, -np.expm1(-rate * FRAME), (images, *SHAPE))
    with CaptureWriter(path, SHAPE, np.uint16, settings, notes=notes) as writer:
        writer.append(counts.astype(np.uint16))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scene.h5: even light, a star, and a touching pair of hot pixels, ten times as bright; dark.h5: what is hot."""
    folder = tmp_path_factory.mktemp("recordings")
    dark = np.full(SHAPE, DARK)
    for place in HOT_PAIR:
        dark[place] = 10 * LIGHT
    scene = dark + LIGHT
    scene[STAR] += 30 * LIGHT
    record(folder / "dark.h5", dark, 40)
    record(folder / "scene.h5", scene, 1)
    mask = np.zeros(SHAPE, np.uint8)
    for place in HOT_PAIR:
        mask[place] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    return folder


def native(rate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rates of the native pixels over that of the light, from x4."""
    return np.asarray(rate.reshape(SHAPE[0], 4, SHAPE[1], 4).mean(axis=(1, 3)) / LIGHT)


def test_a_dark_removes_touching_hot_pixels_and_keeps_a_star(folder: Path, spadsr: Callable[..., Said]) -> None:
    output = folder / "dark.sr.h5"
    said = spadsr("infer", folder / "scene.h5", "--dark", folder / "dark.h5", "--float32", "-o", output)
    assert said.code == 0, said.err
    with read_result(output) as result:
        rate = native(result[0].rate)
    assert all(0.7 < rate[place] < 1.3 for place in HOT_PAIR)
    assert rate[STAR] == pytest.approx(31, rel=0.15)
    assert "(row 20, column 5)" in said.err
    assert "left out" not in said.err
    restored = face.restore(face.open(folder / "scene.h5"), dark=str(folder / "dark.h5"))
    np.testing.assert_allclose(native(restored.rate), rate, rtol=1e-5)
    assert restored.provenance.sensor["bad_pixels"] == 2


def test_a_mask_removes_touching_hot_pixels(folder: Path, spadsr: Callable[..., Said]) -> None:
    plain = face.restore(face.open(folder / "scene.h5"))
    assert native(plain.rate)[10, 10] > 8
    assert any("(row 10, columns 10 to 11)" in line for line in plain.warnings)
    output = folder / "mask.sr.h5"
    said = spadsr("infer", folder / "scene.h5", "--mask", folder / "mask.png", "--float32", "-o", output)
    assert said.code == 0, said.err
    assert "touching pixels" not in said.err
    with read_result(output) as result:
        rate = native(result[0].rate)
    assert all(0.7 < rate[place] < 1.3 for place in HOT_PAIR)
    mask = cv2.imread(str(folder / "mask.png"), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    restored = face.restore(face.open(folder / "scene.h5"), mask=mask > 0)
    np.testing.assert_allclose(native(restored.rate), rate, rtol=1e-5)


def test_what_fits_nothing_is_one_line(folder: Path, spadsr: Callable[..., Said]) -> None:
    np.save(folder / "small.npy", np.zeros((4, 4), bool))
    for words in (
        ("--mask", "small.npy"),
        ("--mask", "nowhere.png"),
        ("--dark", "nowhere.h5"),
        ("--dark", "small.npy"),
    ):
        said = spadsr("infer", folder / "scene.h5", words[0], folder / words[1])
        assert said.code == 2
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
    with pytest.raises(InputError, match="expected a mask of 32 x 24 pixels"):
        face.restore(face.open(folder / "scene.h5"), mask=np.zeros((3, 3)))


def test_a_calibrated_sensor_keeps_its_map_under_a_new_dark(folder: Path) -> None:
    sensor = face.calibrate(dark=folder / "dark.h5").sensor
    assert sensor.pixel_mask is not None
    assert {int(each) for each in sensor.pixel_mask.unique()} == {0, HOT}
    restored = face.restore(
        face.open(folder / "scene.h5"), sensor=sensor, dark=folder / "dark.h5", mask=np.eye(*SHAPE) * (USER > 0)
    )
    assert restored.provenance.sensor["bad_pixels"] == 2 + 24 - 1  # one of the pair lies on the diagonal


def test_options_that_a_dark_states_itself_are_those_of_the_scene(folder: Path, spadsr: Callable[..., Said]) -> None:
    with open_capture(folder / "scene.h5") as capture:
        np.save(folder / "scene.npy", capture.read(0, 1).sum(axis=0, dtype=np.uint16)[None] // 2)
    said = spadsr(
        "infer", folder / "scene.npy", "--cycles", 500, "--bits", 1, "--count-time", FRAME, "--dark", folder / "dark.h5"
    )
    assert said.code == 0, said.err


def test_repeated_images_tell_nothing_new(tmp_path: Path) -> None:
    """Three images, repeated seventy times: the interval is that of three."""
    rate = np.full(SHAPE, DARK)
    few = record(tmp_path / "few.h5", rate, 3)
    with open_capture(few) as capture:
        counts = capture.read(0, 3)
    many = tmp_path / "many.h5"
    with CaptureWriter(many, SHAPE, np.uint16, Settings(FRAME, N, 1, 0.0), notes={"distinct_images": "3"}) as writer:
        writer.append(np.concatenate([counts] * 70))
    found = [face.calibrate(dark=path) for path in (few, many)]
    assert found[0].calibration.estimates == found[1].calibration.estimates
    assert any("many.h5: repeats 3 images, as the file says" in line for line in found[1].warnings)
    assert not any("repeats" in line for line in found[0].warnings)


@pytest.mark.parametrize("said", ["", "x", "-3", "0" * 30, "9" * 30, "1.5"])
def test_a_number_of_distinct_images_that_is_none_is_not_believed(tmp_path: Path, said: str) -> None:
    path = record(tmp_path / "dark.h5", np.full(SHAPE, DARK), 5, distinct_images=said or "none")
    with open_capture(path) as capture:
        assert capture.distinct_images == 5


def test_peak_normalised_images_are_refused_by_what_they_are(tmp_path: Path) -> None:
    """Not by the words of a note: a capture says it itself."""
    counts = np.random.default_rng(3).binomial(18, 0.4, (1, 64, 32))
    counts[:, 0, 0] = 18
    stretched = np.round(255 * counts / 18).astype(np.uint8)
    path = tmp_path / "fan.npy"
    np.save(path, stretched)
    with open_capture(path) as capture:
        assert capture.source.peak_normalised
    with pytest.raises(InputError, match="peak-normalised images"):
        calibrate_captures([path], [], None, {}, "test", lambda label: _Quiet())


class _Quiet:
    def __enter__(self) -> Callable[[int, int], None]:
        return lambda done, total: None

    def __exit__(self, *error: object) -> None: ...
