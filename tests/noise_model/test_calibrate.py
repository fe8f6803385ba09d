"""Calibration as a whole: what is measured, what is assumed and said to be, and that rounds settle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from avalanches import Array
from gathered import guess, recorded, simulated
from numpy.typing import NDArray

from noise_model.calibration.calibrate import Calibration, calibrate
from noise_model.calibration.streams import StreamStatistics, gather
from noise_model.errors import InputError
from noise_model.sensor import DEAD, HOT, Exposure, Sensor

SHAPE = (24, 20)
KERNEL = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 2.0], [0.0, 2.0, 0.0]]) * 1e-3
PDE = 1 + 0.03 * np.random.default_rng(1).standard_normal(SHAPE)
DARK = 100 * np.exp(0.4 * np.random.default_rng(2).standard_normal(SHAPE))
DARK[5, 6], PDE[8, 9] = 2e4, 0.0  # a hot and a dead pixel
MEASURED = {"dead_time", "afterpulse_probability", "crosstalk_nearest", "dark_bulk", "dark_hot_fraction", "pde_spread"}


def binary(flux: float, images: int, frames: int, name: str) -> StreamStatistics:
    rate = flux * PDE + DARK
    array = Array(rate, 1e-5, afterpulse_probability=0.01, crosstalk=KERNEL)
    return replace(simulated(array, images, frames, seed=round(flux)), name=name)


def counting(flux: float, images: int, count_time: float, name: str, said: float | None = None) -> StreamStatistics:
    traps = {"dead_time": 60e-9, "afterpulse_probability": 0.02, "trap_lifetime": 1e-7, "crosstalk": KERNEL}
    array = Array(flux * PDE + DARK, count_time, counter_bits=9, **traps)
    return replace(simulated(array, images, 1, seed=round(flux)), name=name, dead_time=said)


@pytest.fixture(scope="module")
def of_binary() -> Calibration:
    flats = [binary(1e4, 20_000, 1, "flat.h5"), binary(4e4, 500, 100, "bright.h5")]
    return calibrate([binary(0, 500, 1000, "dark.h5")], flats, Sensor.load("spad512"))


@pytest.fixture(scope="module")
def of_counting() -> Calibration:
    flats = [counting(flux, 4000, 1e-6, f"{flux:g}.h5") for flux in (2e6, 1e7)]
    return calibrate([counting(0, 500, 1e-2, "dark.h5")], flats, Sensor.load("spc3"))


@pytest.fixture(params=["of_binary", "of_counting"])
def found(request: pytest.FixtureRequest) -> Calibration:
    calibration: Calibration = request.getfixturevalue(request.param)
    return calibration


def test_everything_is_measured_but_what_no_recording_tells(found: Calibration) -> None:
    assumed = {name for name, one in found.estimates.items() if not one.measured}
    assert {"pde_mean"} <= assumed <= {"pde_mean", "trap_lifetime", "dark_hot_median", "dark_hot_sigma"}
    assert assumed | MEASURED <= set(found.estimates)
    assert ("trap_lifetime" in found.estimates) == (not found.sensor.binary)
    for name, one in found.estimates.items():
        assert np.isfinite([one.low, one.value, one.high]).all(), name
        assert one.low <= one.value <= one.high, name
        assert one.measured or one.remark, name


def test_the_sensor_is_made_of_the_estimates(found: Calibration) -> None:
    sensor, estimates = found.sensor, found.estimates
    assert sensor.measured
    assert sensor.shape == SHAPE
    assert sensor.estimates == estimates
    assert sensor.dead_time == estimates["dead_time"].value
    assert sensor.afterpulse_probability == estimates["afterpulse_probability"].value
    nearest = sensor.crosstalk[[1, 2, 2, 3], [2, 1, 3, 2]].mean().item()
    assert nearest == pytest.approx(estimates["crosstalk_nearest"].value)
    assert sensor.mean_pde.item() == pytest.approx(estimates["pde_mean"].value, rel=1e-3)
    assert "dark.h5" in sensor.source
    assert ((found.dark_low < found.dark_high) & (found.pde_low < found.pde_high)).all()


def test_the_truth_is_found(found: Calibration) -> None:
    true = {"crosstalk_nearest": 2e-3, "afterpulse_probability": 0.01 if found.sensor.binary else 0.02}
    true |= {} if found.sensor.binary else {"dead_time": 60e-9}
    for name, value in true.items():
        one = found.estimates[name]
        assert one.value == pytest.approx(value, abs=3 * (one.high - one.low) / 2), name
    inside = (found.dark_low <= DARK) & (found.dark_high >= DARK)
    assert inside.mean() > 0.92
    relative = (found.sensor.pde / found.sensor.mean_pde).double().numpy()
    good = found.sensor.good.numpy()
    assert np.corrcoef(relative[good], PDE[good])[0, 1] > 0.9


def test_hot_and_dead_pixels_are_in_the_mask(found: Calibration) -> None:
    mask = found.sensor.pixel_mask
    assert mask is not None
    marked = {(row, column): int(mask[row, column]) for row, column in mask.nonzero().tolist()}
    assert marked == {(5, 6): HOT, (8, 9): DEAD}
    assert 0 < found.sensor.pde[8, 9] < 0.01


def test_another_round_changes_next_to_nothing(found: Calibration) -> None:
    """Started from its own result, a calibration gives it again: within a twentieth of the intervals."""
    again = calibrate(found.darks, found.flats, found.sensor)
    for name, one in found.estimates.items():
        assert again.estimates[name].value == pytest.approx(one.value, rel=1e-6, abs=(one.high - one.low) / 20), name
    assert (np.abs(again.dark_high - found.dark_high) <= 0.1 * (found.dark_high - found.dark_low)).all()


def test_a_saved_calibration_is_loaded(found: Calibration, tmp_path: Path) -> None:
    found.sensor.save(tmp_path / "mine.yaml", {"dark_count_rate_low": found.dark_low})
    loaded = Sensor.load(tmp_path / "mine.yaml")
    assert loaded.measured
    assert loaded.estimates == found.estimates
    assert torch.equal(loaded.dark_count_rate, found.sensor.dark_count_rate)


def test_afterpulses_show_in_the_autocorrelation_of_binary_frames(of_binary: Calibration) -> None:
    """rho = a (1 - p) at a lag of one frame, nothing later."""
    lags, value, error = of_binary.autocorrelation
    assert lags[0] == 1
    assert value[0] == pytest.approx(0.01 * 0.9, abs=4.5 * error[0] + 1e-3)
    assert (np.abs(value[3:]) < 4.5 * error[3:]).all()


def test_the_flux_of_each_flat(found: Calibration) -> None:
    wanted = [1e4, 4e4] if found.sensor.binary else [2e6, 1e7]
    assert [one.value / PDE.mean() for one in found.flux] == pytest.approx(wanted, rel=0.01)


# ---- few recordings ----


def dark_counts(rate: NDArray[np.floating] = DARK, **changes: object) -> StreamStatistics:
    """Counts of 10 s in the dark."""
    counts = np.random.default_rng(3).poisson(rate * 0.1, (100, *rate.shape)).astype(np.uint16)
    return gather(recorded(counts, **({"bits": 16, "exposure": Exposure(0.1), "name": "dark.h5"} | changes)))


def test_without_flats_only_dark_rates_are_measured() -> None:
    preset = Sensor.load("spc3")
    found = calibrate([dark_counts()], [], preset)
    measured = {name for name, one in found.estimates.items() if one.measured}
    assert measured == {name for name in measured if name.startswith("dark")}
    assert {"dark_bulk", "dark_bulk_sigma"} <= measured
    assert found.estimates["crosstalk_nearest"].value == preset.crosstalk[preset.crosstalk.shape[0] // 2 + 1].max()
    assert found.sensor.dead_time == preset.dead_time
    assert found.sensor.pde.unique().numel() == 1
    assert (found.pde_low < 1).all()
    assert (found.pde_high > 1).all()
    assert found.flux == []
    assert all(len(one) == 0 for one in found.autocorrelation)
    assert any("No flats" in said for said in found.remarks)


def test_the_header_tells_the_dead_time() -> None:
    found = calibrate([dark_counts(dead_time=80e-9)], [], Sensor.load("spc3"))
    assert found.sensor.dead_time == 80e-9
    assert found.estimates["dead_time"].measured
    assert found.estimates["dead_time"].remark == "from the header"


@pytest.mark.parametrize("size", [(1, 9), (9, 2)])
def test_small_arrays(size: tuple[int, int]) -> None:
    """Even where no pixel has a neighbour below or beside it."""
    counts = [np.random.default_rng(seed).poisson(mean, (300, *size)) for seed, mean in enumerate((0.1, 3))]
    how = {"bits": 9, "exposure": Exposure(1e-6)}
    dark, flat = (gather(recorded(one.astype(np.uint16), name=f"{one.mean():.0f}.h5", **how)) for one in counts)
    found = calibrate([dark], [flat], guess((3, 3), 9, dead_time=5e-8, trap_lifetime=1e-7))
    assert found.sensor.shape == size
    for name, one in found.estimates.items():
        assert np.isfinite([one.low, one.value, one.high]).all(), name


# ---- refusals ----


def test_no_dark_is_refused() -> None:
    with pytest.raises(InputError, match="no dark"):
        calibrate([], [dark_counts()], Sensor.load("spc3"))


def test_recordings_of_two_arrays_are_refused() -> None:
    other = dark_counts(DARK[:-1], name="other.h5")
    with pytest.raises(InputError, match=r"other\.h5"):
        calibrate([dark_counts(), other], [], Sensor.load("spc3"))


def test_a_preset_of_the_other_kind_is_refused() -> None:
    with pytest.raises(InputError, match="spad512"):
        calibrate([dark_counts()], [], Sensor.load("spad512"))


def test_a_saturated_flat_is_refused() -> None:
    counts = np.full((200, *SHAPE), 511, dtype=np.uint16)
    full = gather(recorded(counts, bits=9, name="full.h5"))
    dark = replace(dark_counts(), counter_bits=9)
    with pytest.raises(InputError, match=r"full\.h5: saturated"):
        calibrate([dark], [full], Sensor.load("spc3"))


def test_a_dark_given_as_flat_is_refused() -> None:
    with pytest.raises(InputError, match="swapped"):
        calibrate([dark_counts()], [dark_counts(name="flat.h5")], Sensor.load("spc3"))
