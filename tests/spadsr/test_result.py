"""Results: rates and their uncertainty with everything that made them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hardware.captures.capture import open_capture
from hardware.captures.result import CHECKS, PHYSICS_CHECK, Provenance, ResultWriter, read_result
from noise_model.errors import InputError

MADE = Provenance(
    model="default",
    model_sha256="ab" * 32,
    sensor={"name": "spc3", "dead_time": 5e-8},
    command="spadsr infer a.h5",
    config={"scale": 4, "sum": 2},
    versions={"torch": "2.11"},
)


def checks(images: int) -> dict[str, np.ndarray[Any, Any]]:
    """Made-up figures of a check: of every image its number, of every pixel too."""
    number = np.arange(images, dtype=np.float64)
    figures = dict.fromkeys(CHECKS, number)
    return figures | {"residual": np.broadcast_to(number[:, None, None], (images, 3, 5)).astype(np.float32)}


def written(save: Any, folder: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    rates = np.random.default_rng(0).random((6, 12, 20)).astype(np.float32)
    with (
        open_capture(save("a.npy", np.ones((13, 3, 5), np.uint8))) as capture,
        ResultWriter(folder / "a.sr.h5", capture.summed(2), 4, MADE) as writer,
    ):
        for start in (0, 4):
            part = rates[start : start + 4]
            writer.append(part, part / 10, np.full(len(part), 2.25), checks(len(part)))
        writer.warnings.append("guesswork")
    return folder / "a.sr.h5", rates


def test_results_are_read_back(save: Any, tmp_path: Path) -> None:
    path, rates = written(save, tmp_path)
    with read_result(path) as result:
        assert (result.shape, result.scale, result.source, result.provenance) == ((6, 12, 20), 4, "a.npy", MADE)
        assert (result.settings.cycles, result.settings.count_time) == (2, 10.4e-6)
        assert result.warnings[-2:] == ("1 of 13 images fill no group of 2 scene images and are left out", "guesswork")
        assert any("assumed" in warning for warning in result.warnings)
        pictures, deviations = zip(*result.blocks(5), strict=True)
        np.testing.assert_array_equal(np.concatenate(pictures), rates)
        np.testing.assert_array_equal(np.concatenate(deviations), rates / 10)
        assert result.coverage_factor().tolist() == [2.25] * 6


def test_the_check_of_every_image_is_kept_and_says_what_it_is(save: Any, tmp_path: Path) -> None:
    path, _ = written(save, tmp_path)
    with read_result(path) as result:
        for name in CHECKS:
            shape = (6, 3, 5) if name == "residual" else (6,)
            assert result.check(name).shape == shape
            assert result.check(name).reshape(6, -1)[:, 0].tolist() == [0, 1, 2, 3, 0, 1]
    with h5py.File(path) as file:
        assert "about 1" in file[f"{PHYSICS_CHECK}/chi_squared"].attrs["long_name"].decode()


def test_a_generic_viewer_finds_rates_and_error_bars(save: Any, tmp_path: Path) -> None:
    path, rates = written(save, tmp_path)
    with h5py.File(path) as file:
        plot = file["/entry/data"]
        assert plot["data"].attrs["units"] == b"counts/s"
        assert plot["data"].shape == plot["data_errors"].shape == rates.shape


def test_failed_results_leave_nothing(save: Any, tmp_path: Path) -> None:
    with (
        open_capture(save("a.npy", np.ones((2, 3, 5), np.uint8))) as capture,
        pytest.raises(ValueError, match="expected"),
        ResultWriter(tmp_path / "a.sr.h5", capture, 2, MADE) as writer,
    ):
        writer.append(np.ones((1, 3, 5)), np.ones((1, 3, 5)), np.ones(1), checks(1))
    assert list(tmp_path.iterdir()) == []


def test_captures_are_not_results(save: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a result"):
        read_result(save("a.h5", np.ones((2, 3, 5), np.uint8)))
    with pytest.raises(InputError, match="no such file"):
        read_result(tmp_path / "none.sr.h5")
