"""The shipped sensors against what public recordings of such arrays say of dark counts, crosstalk and afterpulsing."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from real_dark import of_camera, of_planes, of_spad512, of_spc3, tail
from real_recordings import camera_dark, dark_planes, spad512_background, spad512_hot, spc3_dark, spc3_integrated
from real_spread import DIAGONAL, NEAREST, crosstalk, dead_time, dispersion
from scipy.ndimage import correlate

from noise_model.calibration.dark import DarkMap
from noise_model.config_files import shipped_configs
from noise_model.estimates import Estimate
from noise_model.sensor import Sensor

TAIL = ("dark_hot_fraction", "dark_hot_median", "dark_hot_sigma")


@pytest.fixture(scope="module")
def spc3_map(shared: Path) -> DarkMap:
    return of_spc3(shared)


@pytest.fixture(scope="module")
def spad512_map(shared: Path) -> DarkMap:
    return of_spad512(shared)


@pytest.fixture(scope="module")
def planes(shared: Path) -> list[DarkMap]:
    return [of_planes(shared, name) for name in ("bframee", "bframeee")]


def preset(name: str) -> dict[str, float]:
    numbers = yaml.safe_load((shipped_configs() / "sensors" / f"{name}.yaml").read_text())
    return dict(numbers["statistics"])


def same(number: float, fitted: Estimate) -> bool:
    """The number is the fitted one, rounded."""
    assert fitted.low < number < fitted.high
    return number == pytest.approx(fitted.value, rel=0.02)


# The presets


def test_dark_rates_of_the_spc3_preset_are_those_of_dark_frames(spc3_map: DarkMap) -> None:
    numbers, fitted = preset("spc3"), spc3_map.estimates
    assert all(each.measured for each in fitted.values())
    assert same(numbers["dark_bulk"], fitted["dark_bulk"])
    assert all(same(numbers[name.removeprefix("dark_")], fitted[name]) for name in TAIL)


def test_no_pixel_is_hotter_than_the_ceiling_of_the_preset(shared: Path) -> None:
    hottest = camera_dark(shared).max() / 1.2e-3, spc3_dark(shared).sum(axis=0).max() / 156e-3
    assert hottest == pytest.approx((93e3, 57e3), rel=0.01)
    assert max(hottest) < preset("spc3")["hot_ceiling"] < 1.1 * max(hottest)


def test_afterpulsing_of_the_spc3_preset_is_that_of_dark_frames(shared: Path) -> None:
    """Each count is followed by another at a chance of a beyond the dead time: Fano factor (1 + a) / (1 - a)."""
    frames = spc3_dark(shared)
    fano = dispersion(frames * (frames.sum(axis=0) <= 25))
    value, low, high = ((each - 1) / (each + 1) for each in (fano.value, fano.low, fano.high))
    assert same(Sensor.load("spc3").afterpulse_in_frame, Estimate(value, low, high))


def test_dead_time_of_the_spc3_preset_fits_the_spread_of_bright_pixels(shared: Path) -> None:
    tau, _ = dead_time(spc3_integrated(shared, "h1"), spc3_integrated(shared, "h2"), 10.4e-3)
    assert tau.low < Sensor.load("spc3").dead_time < tau.high


def test_crosstalk_of_the_spc3_preset_is_about_the_most_that_dark_frames_allow(shared: Path) -> None:
    """1.2e-4 (nearest) and 2.8e-4 (diagonal), an eighth of what arrays of another make show."""
    total, kernel = spc3_dark(shared).sum(axis=0), Sensor.load("spc3").crosstalk
    nearest, diagonal = crosstalk(total, NEAREST), crosstalk(total, DIAGONAL)
    assert nearest.low == diagonal.low == 0
    assert (nearest.high, diagonal.high) == pytest.approx((1.24e-4, 2.8e-4), rel=0.05)
    assert 0.7 * nearest.high < float(kernel[2, 3]) < nearest.high
    assert float(kernel[1, 1]) < diagonal.high


def test_crosstalk_of_the_spad512_preset_is_that_of_the_background(shared: Path) -> None:
    total, kernel = spad512_background(shared), Sensor.load("spad512").crosstalk
    assert same(float(kernel[1, 2]), crosstalk(total, NEAREST))
    assert crosstalk(total, DIAGONAL).low == 0


def test_hot_pixels_of_the_spad512_preset_are_those_of_a_mask_and_of_the_background(
    shared: Path, spad512_map: DarkMap
) -> None:
    """Two arrays have about as many."""
    numbers, fitted, mask = preset("spad512"), spad512_map.estimates, spad512_hot(shared)
    assert numbers["hot_fraction"] == pytest.approx(mask.mean(), abs=0.0005)
    assert fitted["dark_hot_fraction"].low < numbers["hot_fraction"] < fitted["dark_hot_fraction"].high
    assert all(same(numbers[name.removeprefix("dark_")], fitted[name]) for name in TAIL[1:])
    assert 4 * numbers["dark_bulk"] < fitted["dark_bulk"].value < 123  # stray light


# What they rest on


@pytest.mark.parametrize("chance", [3e-4, 1e-3])
def test_crosstalk_is_found_around_hot_pixels(shared: Path, chance: float) -> None:
    """Put into Poisson counts of the rates of the SPC3's dark frames, fifteen times over."""
    rng, rates = np.random.default_rng(0), spc3_dark(shared).sum(axis=0).astype(float)
    rates[rates <= 25] = 8.5
    indirect = chance * correlate(rates, NEAREST, mode="constant")
    found = [crosstalk(rng.poisson(rates + indirect), NEAREST) for _ in range(15)]
    assert np.mean([each.value for each in found]) == pytest.approx(chance, abs=1.5e-4)
    assert sum(each.low <= chance <= each.high for each in found) >= 12


def test_two_cameras_of_a_kind_have_the_same_hot_tail(shared: Path, spc3_map: DarkMap) -> None:
    """Their ordinary pixels differ by a factor of two."""
    ours, other = spc3_map.estimates, of_camera(shared).estimates
    for name in TAIL:
        assert max(ours[name].low, other[name].low) < min(ours[name].high, other[name].high)
        assert other[name].low < ours[name].value < other[name].high
    assert other["dark_bulk"].high < ours["dark_bulk"].low


def test_the_tail_of_a_320x240_array(planes: list[DarkMap]) -> None:
    """12 % of the pixels lie above ten times the median; the spread of ln(rate) of the hot ones is 1.9 and 1.8."""
    assert [tail(each.rate) for each in planes] == pytest.approx([0.118, 0.123], abs=0.004)
    assert [each.estimates["dark_hot_sigma"].value for each in planes] == pytest.approx([1.90, 1.83], abs=0.02)
    assert [each.estimates["dark_hot_fraction"].value for each in planes] == pytest.approx([0.235, 0.266], abs=0.005)


def test_two_dark_maps_of_one_array_have_the_same_hot_pixels(shared: Path, planes: list[DarkMap]) -> None:
    """97 % of the hottest twentieth are the same, though one counted 4.3 times as much; 5 % would be by chance."""
    first, second = (each.rate for each in planes)
    hot = [rate > np.quantile(rate, 0.95) for rate in (first, second)]
    assert (hot[0] & hot[1]).sum() / hot[0].sum() > 0.95
    assert (hot[0] & hot[1][::-1]).sum() / hot[0].sum() < 0.06
    assert np.corrcoef(np.log(first).ravel(), np.log(second).ravel())[0, 1] > 0.9
    bulk = [each.estimates["dark_bulk"].value for each in planes]
    assert bulk[1] / bulk[0] == pytest.approx(4.3, abs=0.1)
    assert all((dark_planes(shared, name) == 4096).mean() < 0.005 for name in ("bframee", "bframeee"))
