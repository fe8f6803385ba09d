"""The PDE map: what the light and the dark counts put on top comes off, and the intervals say how well."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gathered import guess, recorded
from laws_by_hand import SIGMAS
from numpy.typing import NDArray

from noise_model.calibration.dark import DarkMap
from noise_model.calibration.flats import FlatMap, flat_map
from noise_model.calibration.streams import StreamStatistics, gather
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, HOT, UNDER_RESPONDING, Exposure, Sensor

SHAPE = (48, 40)
Floats = NDArray[np.float64]


def responses(rng: np.random.Generator, spread: float = 0.03) -> Floats:
    """Relative PDE, mean 1."""
    eta = 1 + spread * rng.standard_normal(SHAPE)
    return eta / eta.mean()


def known(true: Floats, error: float = 0.05) -> DarkMap:
    """Dark rates, known within a relative standard error."""
    rate, reach = true * (1 + error * np.random.default_rng(0).standard_normal(true.shape)), 1.96 * error * true
    return DarkMap(rate, rate - reach, rate + reach, np.zeros(rate.shape, dtype=np.int32), {}, ())


def no_dark() -> DarkMap:
    return known(np.full(SHAPE, 1e-3))


def flat(rng: np.random.Generator, rate: Floats, sensor: Sensor, exposure: Exposure) -> StreamStatistics:
    """Sums of so many frames of pixels firing at `rate`, of a Poisson law or, if binary, a binomial one."""
    mean = ForwardModel(sensor, Exposure(exposure.count_time)).expected_counts(torch.from_numpy(rate)).double().numpy()
    images = 20
    size, cycles = (images, *SHAPE), exposure.cycles // images
    counts = rng.binomial(cycles, mean, size) if sensor.binary else rng.poisson(mean * cycles, size)
    one = Exposure(exposure.count_time, cycles)
    return gather(
        recorded(counts.astype(np.uint32), bits=sensor.counter_bits, exposure=one, dead_time=sensor.dead_time)
    )


def shade() -> Floats:
    """A lamp off centre, 15 % from end to end, mean 1."""
    row, column = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    factor = np.exp(-0.06 * (row - 0.2) ** 2 + 0.03 * column - 0.02 * row * column)
    return np.asarray(factor / factor.mean())


def good(found: FlatMap) -> NDArray[np.bool_]:
    return np.asarray(found.mask == 0)


def covered(found: FlatMap, eta: Floats) -> float:
    return float(((found.low <= eta) & (eta <= found.high)).mean())


@pytest.mark.parametrize("bits", [1, 9])
@pytest.mark.parametrize("counts", [300, 10_000, 100_000])
def test_the_map_comes_back_from_shaded_flats(bits: int, counts: int) -> None:
    """Three fluxes, dark counts: the map correlates with the truth as photon noise allows, more than 0.95 for 100,000
    counts a pixel. Intervals cover the truth; 90 to 98 %, as the six numbers of the shading are wrong for all pixels
    together, or more where the spread of the pixels is hardly known."""
    rng, sensor = np.random.default_rng(counts + bits), guess(SHAPE, bits)
    eta, dark = responses(rng), np.where(rng.random(SHAPE) < 0.1, 500.0, 50.0)
    exposure = Exposure(1e-5, 200_000)  # 2 s
    fluxes = [share * counts / 2 for share in (0.1, 0.3, 0.6)]
    flats = [flat(rng, eta * shade() * flux + dark, sensor, exposure) for flux in fluxes]
    found = flat_map(flats, known(dark), sensor)
    assert 0.90 <= covered(found, eta) <= (0.98 if counts > 300 else 1)
    noise = np.sqrt((1 + 3 * 100 / counts) / counts)  # 100 dark counts in each flat
    correlation = np.corrcoef(found.pde.ravel(), eta.ravel())[0, 1]
    expected = 0.03 / np.hypot(0.03, noise)
    assert correlation > expected - SIGMAS * (1 - expected**2) / np.sqrt(eta.size) - 0.01
    assert counts < 100_000 or correlation > 0.95
    assert found.spread.low <= eta.std() <= found.spread.high
    assert (found.shading - shade()).std() < 4 * np.sqrt(6 / eta.size) * np.hypot(0.03, noise)
    for estimate, flux in zip(found.flux, fluxes, strict=True):
        sd = (estimate.high - estimate.low) / (2 * 1.96)
        assert estimate.value == pytest.approx(flux, abs=SIGMAS * sd + 1e-3 * flux)
    assert good(found).all()
    assert found.pde.mean() == pytest.approx(1, abs=1e-12)


def test_intervals_cover_the_truth_of_many_arrays() -> None:
    """24 arrays, shading and all: 93 to 97 % of 46,080 responses lie in their interval."""
    inside = []
    for seed in range(24):
        rng, sensor = np.random.default_rng(100 + seed), guess(SHAPE, 1 if seed % 2 else 9)
        eta, dark = responses(rng), np.full(SHAPE, 50.0)
        flats = [flat(rng, eta * shade() * flux + dark, sensor, Exposure(1e-5, 200_000)) for flux in (5e3, 2e4)]
        inside.append(covered(flat_map(flats, known(dark), sensor), eta))
    assert 0.93 <= np.mean(inside) <= 0.97


def test_noise_is_not_taken_for_a_map() -> None:
    """300 counts a pixel scatter by 6 %, its PDE by 1 %: the map scatters by no more than its PDE does."""
    rng, sensor = np.random.default_rng(1), guess(SHAPE, 9)
    eta = responses(rng, 0.01)
    found = flat_map([flat(rng, eta * 300, sensor, Exposure(1e-5, 100_000))], no_dark(), sensor)
    assert found.pde.std() < 0.02
    assert (found.pde - eta).std() < 0.015
    assert covered(found, eta) > 0.93


def test_dead_and_weak_pixels_are_marked_and_others_are_not() -> None:
    rng, sensor = np.random.default_rng(2), guess(SHAPE, 9)
    eta = responses(rng)
    eta[3, 4], eta[5, 6], eta[7, 8], eta[9, 9] = 0.0, 0.03, 0.4, 0.6
    found = flat_map([flat(rng, eta * 1e4, sensor, Exposure(1e-5, 100_000))], no_dark(), sensor)
    marked = {(row, column): int(found.mask[row, column]) for row, column in np.argwhere(found.mask)}
    assert marked == {(3, 4): DEAD, (5, 6): DEAD, (7, 8): UNDER_RESPONDING}
    assert found.pde[9, 9] == pytest.approx(0.6, abs=0.05)
    assert (found.pde >= 0).all()
    assert found.pde[eta > 0.8].std() == pytest.approx(0.03, rel=0.1)


def test_few_counts_condemn_nobody() -> None:
    """A pixel of 30 counts where others have 100 may be weak, or unlucky: it takes certainty."""
    rng, sensor = np.random.default_rng(3), guess(SHAPE, 9)
    eta = responses(rng)
    eta[3, 4] = 0.45
    for counts, mark in ((30, 0), (30_000, UNDER_RESPONDING)):
        found = flat_map([flat(rng, eta * counts, sensor, Exposure(1e-5, 100_000))], no_dark(), sensor)
        assert found.mask[3, 4] == mark
        assert (np.delete(found.mask.ravel(), 3 * SHAPE[1] + 4) == 0).all()


def test_a_hot_pixel_is_measured_in_spite_of_its_dark_counts() -> None:
    """Ten times the light, known to 5 %: from one flat its PDE is anyone's guess, two fluxes tell it."""
    rng, sensor = np.random.default_rng(4), guess(SHAPE, 9)
    eta, dark = responses(rng), np.full(SHAPE, 10.0)
    hot = rng.random(SHAPE) < 0.05
    dark[hot], wrong = 1e5, np.where(hot, 1.05, 1.0)
    masked = replace(sensor, pixel_mask=torch.from_numpy(np.where(hot, HOT, 0).astype(np.int32)))
    flats = [flat(rng, eta * flux + dark, sensor, Exposure(1e-5, 1_000_000)) for flux in (1e4, 1e5)]
    widths = []
    for used in (flats[:1], flats):
        found = flat_map(used, known(dark * wrong), masked)
        inside = (found.low <= eta) & (eta <= found.high)
        assert inside[hot].mean() > 0.9
        assert inside[~hot].mean() > 0.9
        widths.append(float(np.mean((found.high - found.low)[hot])))
    assert widths[0] > 0.1
    assert widths[1] < 0.03


def test_two_flats_of_different_modes_make_one_map() -> None:
    """Of different exposure and dead time; the fluxes are both in the light's own rate."""
    rng = np.random.default_rng(5)
    eta, sensor = responses(rng), guess(SHAPE, 9)
    slow = replace(sensor, dead_time=1e-6)
    flats = [
        flat(rng, eta * 1e5, sensor, Exposure(1e-5, 20_000)),
        flat(rng, eta * 3e5, slow, Exposure(1e-4, 2000)),
    ]
    found = flat_map(flats, no_dark(), sensor)
    assert [one.value for one in found.flux] == pytest.approx([1e5, 3e5], rel=3e-3)
    assert np.corrcoef(found.pde.ravel(), eta.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (7, 9)])
def test_small_arrays_keep_their_own_slope(size: tuple[int, int]) -> None:
    """Fewer than 64 pixels do not tell a lamp's shading from the pixels' own spread: none is taken out."""
    rng = np.random.default_rng(6)
    counts = rng.poisson(1e4 * np.linspace(0.95, 1.05, size[0] * size[1]).reshape(size), (10, *size)).astype(np.uint32)
    stream = recorded(counts, bits=16, exposure=Exposure(1.0))
    found = flat_map([gather(stream)], known(np.full(size, 1e-3)), guess(size, 16))
    assert (found.shading == 1).all()
    assert found.pde.mean() == pytest.approx(1)
    assert np.isfinite([found.pde, found.low, found.high]).all()
