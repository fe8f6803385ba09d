"""How the arrays of results are stored: rounded to what their uncertainty warrants, small, and read right."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import made

from hardware.hdf5.nexus_tree import DETECTOR
from noise_model.errors import InputError
from spadsr.files.convert import convert_capture
from spadsr.restoration.restored import Restored, write_result
from spadsr.restoration.result_file import read_result
from spadsr.restoration.storage import (
    Compression,
    Storage,
    rounded_rate,
    rounded_residual,
    rounded_uncertainty,
)


@given(st.floats(-30, 30), st.floats(-6, 6), st.integers(0, 1000))
def test_rounding_is_half_a_percent_of_the_uncertainty_at_most(size: float, ratio: float, seed: int) -> None:
    """Of rates far below their uncertainty to far above; and rounding again changes nothing."""
    random = np.random.default_rng(seed)
    uncertainty = (10**size * random.lognormal(0, 1, 200)).astype(np.float32)
    rate = (uncertainty * 10**ratio * random.random(200)).astype(np.float32)
    found = rounded_uncertainty(uncertainty)
    assert np.abs(found / uncertainty - 1).max() <= 2**-8
    stored = rounded_rate(rate, found)
    assert (np.abs(stored.astype(np.float64) - rate) <= 0.005001 * found.astype(np.float64)).all()
    np.testing.assert_array_equal(rounded_uncertainty(found), found)
    np.testing.assert_array_equal(rounded_rate(stored, found), stored)


def test_what_says_nothing_stays() -> None:
    odd = np.array([0, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(rounded_uncertainty(odd), odd)
    np.testing.assert_array_equal(rounded_rate(np.full(3, 1.2345678, np.float32), odd), np.float32(1.2345678))


def test_residuals_are_off_by_little() -> None:
    residual = np.random.default_rng(0).normal(0, 3, 1000).astype(np.float32)
    assert np.abs(rounded_residual(residual) - residual).max() <= 1 / 256


def scene(images: int = 24) -> Restored:
    """Smooth pictures with a noise of a tenth of their uncertainty."""
    random, along = np.random.default_rng(0), np.linspace(0, 6, 128)
    rate = 1e5 * (1.5 + np.sin(along) * np.cos(along[:, None])) * np.ones((images, 1, 1))
    uncertainty = rate * 0.08 * (1 + 0.05 * random.random(rate.shape))
    rate += 0.1 * uncertainty * random.normal(size=rate.shape)
    first = made(images)
    residual = random.normal(size=(images, 32, 32)).astype(np.float32)
    return replace(
        first,
        rate=rate.astype(np.float32),
        uncertainty=uncertainty.astype(np.float32),
        check=replace(first.check, residual=residual),
        counts=random.integers(0, 9, (images, 32, 32)),
    )


def stored(folder: Path, storage: Storage) -> Path:
    path = folder / "a.sr.h5"
    write_result(iter([scene()]), path, storage)
    return path


@pytest.mark.parametrize("compression", ["gzip", "lz4"])
def test_results_are_a_third_as_large_and_plain_readers_read_them_right(
    tmp_path: Path, compression: Compression
) -> None:
    """float32 in its unit, without a scale factor; the file says how far it is rounded."""
    exact, original = stored(tmp_path, Storage("none", exact=True)).stat().st_size, scene()
    path = stored(tmp_path, Storage(compression))
    assert exact > 3 * path.stat().st_size
    assert path.stat().st_size < Storage(compression).result_bytes((24, 32, 32), 4)
    with h5py.File(path) as file:
        rate, sd = file[f"{DETECTOR}/data"], file[f"{DETECTOR}/uncertainty"]
        assert rate.dtype == sd.dtype == np.float32
        assert rate.attrs["units"] == b"counts/s"
        assert b"0.5 % of the uncertainty" in rate.attrs["rounding"]
        assert "scale_factor" not in rate.attrs
        assert (np.abs(rate[()] - original.rate) <= 0.00505 * original.uncertainty).all()
        np.testing.assert_allclose(sd[()], original.uncertainty, rtol=0.004)


def test_every_bit_where_that_is_asked_for(tmp_path: Path) -> None:
    with read_result(stored(tmp_path, Storage(exact=True))) as result:
        np.testing.assert_array_equal(result.read(0, 24).rate, scene().rate)
        np.testing.assert_array_equal(result.read(0, 24).residual, scene().residual)
        assert "rounding" not in result.file[f"{DETECTOR}/data"].attrs


def test_a_copy_keeps_what_there_is(tmp_path: Path) -> None:
    """Every bit of it, and no more."""
    path, copy = stored(tmp_path, Storage.keeping(["residual"], exact=True)), tmp_path / "b.sr.h5"
    convert_capture(path, copy, {}, lambda done, total: None)
    with read_result(copy) as result:
        np.testing.assert_array_equal(result.read(0, 24).rate, scene().rate)
        assert result.storage == Storage.keeping(["residual"], exact=True)


def test_what_is_left_out_reads_as_not_a_number(tmp_path: Path) -> None:
    with read_result(stored(tmp_path, Storage.keeping(["rate"]))) as result:
        block = result.read(2, 4)
        assert np.isnan(block.uncertainty).all()
        assert np.isnan(block.residual).all()
        assert (block.uncertainty.shape, block.scale) == ((2, 128, 128), 4)
        assert result.check("balance").tolist() == list(range(24))
        assert "data_errors" not in result.file["/entry/data"]
    with read_result(stored(tmp_path, Storage.keeping(["uncertainty"]))) as result:
        assert np.isfinite(result[0].uncertainty).all()


@pytest.mark.parametrize("how", [{"compression": "zip"}, {"keep": frozenset({"rates"})}])
def test_storage_that_there_is_not(how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected gzip|choose from rate, uncertainty, residual"):
        Storage(**how)


def test_the_command_takes_them(spadsr: Callable[..., Any], recorded: Callable[..., Path], small_weights: Path) -> None:
    path = recorded(3, 8, 8)
    how = ("--weights", small_weights, "--float32", "--keep", "rate,residual", "--compression", "none")
    assert spadsr("infer", path, *how).code == 0
    with read_result(path.with_name("capture.sr.h5")) as result:
        assert result.provenance.config["float32"] is True
        assert result.provenance.config["left_out"] == ["uncertainty"]
        assert result.file[f"{DETECTOR}/data"].compression is None
    said = spadsr("infer", path, "--weights", small_weights, "--keep", "rate,sd")
    assert (said.code, "keep sd: no array of a result" in said.err, "(--keep)" in said.err) == (2, True, True)
