"""Dark count rates: the arithmetic against quadrature, intervals against the truth, the fit against public arrays."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from gathered import guess, recorded
from laws_by_hand import SIGMAS
from numpy.typing import NDArray
from scipy import integrate, stats

from noise_model.calibration import blinking, rates
from noise_model.calibration.blinking import FALSE_DISCOVERIES
from noise_model.calibration.dark import HOT_FACTOR, DarkMap, dark_map
from noise_model.calibration.rates import Evidence, Prior, fit_prior, posterior
from noise_model.calibration.streams import StreamStatistics, gather
from noise_model.sensor import HOT, NOISY, Exposure, Sensor

SHAPE = (64, 32)


def drawn(rng: np.random.Generator, bulk: float, sigma: float, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    """Dark rates of an array: a bulk and a hot tail, whose numbers are drawn too."""
    hot, median = rng.random(shape) < rng.uniform(0.01, 0.1), bulk * 10 ** rng.uniform(1, 2)
    tail = median * np.exp(rng.uniform(0.7, 2) * rng.standard_normal(shape))
    return np.where(hot, tail, bulk * np.exp(sigma * rng.standard_normal(shape)))


def in_the_dark(
    counts: NDArray[np.integer], count_time: float, cycles: int = 1, bits: int = 9, name: str = "dark.h5"
) -> StreamStatistics:
    """Of counts (T, H, W)."""
    exposure = Exposure(count_time, cycles)
    return gather(recorded(counts.astype(np.uint32), bits=bits, exposure=exposure, name=name))


def bits_of(found: DarkMap, bit: int) -> NDArray[np.bool_]:
    return (found.mask & bit) != 0


# ---- the arithmetic ----


@pytest.mark.parametrize(("counts", "live"), [(0, 1e-3), (0, 50.0), (3, 0.1), (40, 1.0), (1e6, 10.0)])
def test_the_posterior_is_that_of_quadrature(counts: float, live: float) -> None:
    """One pixel, known prior: the mean to 1e-6; chances to lie below the interval's ends, and to be hot, to 0.002."""
    theta = np.array([np.log(30), np.log(0.4), -2.0, np.log(1000), np.log(1.5)])
    peak = np.log(max(counts, 0.03) / live)

    def density(u: float) -> float:
        prior = stats.norm.pdf(u, theta[0], 0.4) + np.exp(theta[2]) * stats.norm.pdf(u, theta[3], 1.5)
        return float(prior * np.exp(counts * (u - peak) - live * (np.exp(u) - np.exp(peak))))

    places = np.linspace(-12, 16, 60) if counts < 100 else peak + np.linspace(-12, 12, 60) / np.sqrt(counts)

    def integral(of: Callable[[float], float], end: float) -> float:
        edges = [*places[places < end], end]
        return sum(integrate.quad(of, *piece)[0] for piece in pairwise(edges))

    total = integral(density, places[-1])
    evidence = Evidence.of(np.full((1, 1), counts, float), np.full((1, 1), live))
    found = posterior(evidence, Prior(theta, 1e-12 * np.eye(5)), HOT_FACTOR)
    mean = integral(lambda u: np.exp(u) * density(u), places[-1]) / total
    assert found.mean.item() == pytest.approx(mean, rel=1e-6)
    ends = np.log([found.low.item(), found.high.item(), HOT_FACTOR * 30])
    below = [integral(density, end) / total for end in ends.clip(max=places[-1])]
    assert below == pytest.approx([0.025, 0.975, 1 - found.above.item()], abs=2e-3)


def test_the_slope_of_the_misfit() -> None:
    """Against central differences, for pixels with no, few and many counts."""
    counts = np.random.default_rng(0).poisson(np.geomspace(0.01, 1e5, 200))[None].astype(float)
    evidence = Evidence.of(counts, np.full(counts.shape, 0.3))
    theta = np.array([3.0, -1.0, -2.0, 7.0, 0.5])
    _, slope = rates._misfit(theta, evidence)
    steps = [[rates._misfit(theta + sign * step, evidence)[0] for sign in (1, -1)] for step in 1e-4 * np.eye(5)]
    assert np.allclose(slope, [(up - down) / 2e-4 for up, down in steps], rtol=1e-6, atol=1e-4)


def test_groups_hold_pixels_that_are_alike() -> None:
    """A tenth of their uncertainty apart; nothing is lost."""
    rng = np.random.default_rng(1)
    counts, live = rng.poisson(10 ** rng.uniform(0, 5, (200, 200))).astype(float), rng.uniform(9.9, 10, (200, 200))
    evidence = Evidence.of(counts, live)
    assert evidence.pixels.sum() == counts.size
    assert evidence.counts @ evidence.pixels == pytest.approx(counts.sum())
    error = np.abs(evidence.counts[evidence.group] - counts) / np.sqrt(np.maximum(counts, 1))
    assert error.max() <= 0.11
    assert len(evidence.counts) < counts.size


# ---- the intervals ----


def test_intervals_cover_the_truth() -> None:
    """30 arrays, an ordinary pixel with 0.03 to 10,000 counts: 93 to 97 % of 61,440 rates lie in their interval. Pixels
    with next to no counts share one interval, so that its coverage scatters from array to array: where an ordinary
    pixel has 5 counts and more it is 94 to 96 %."""
    rng = np.random.default_rng(2)
    covered = []
    for counts in np.geomspace(0.03, 1e4, 30):
        bulk = 10 ** rng.uniform(0.7, 2.5)
        true = drawn(rng, bulk, rng.uniform(0.1, 0.8))
        evidence = Evidence.of(rng.poisson(true * counts / bulk).astype(float), np.full(SHAPE, counts / bulk))
        found = posterior(evidence, fit_prior(evidence), HOT_FACTOR)
        assert ((found.low <= found.mean) & (found.mean <= found.high)).all()
        covered.append(((found.low <= true) & (true <= found.high)).mean())
    assert 0.93 <= np.mean(covered) <= 0.97
    assert 0.94 <= np.mean(covered[12:]) <= 0.96


def test_the_numbers_of_the_prior_have_honest_errors() -> None:
    """40 arrays: 200 numbers, each within its 95 % interval for 190 of them on average; 180 to 199 in 999 of 1000
    tries if the intervals are right."""
    rng, inside = np.random.default_rng(3), 0
    for _ in range(40):
        theta = np.array([np.log(50), np.log(0.4), rng.uniform(-3.5, -2), rng.uniform(6.5, 8), np.log(1.2)])
        hot = rng.random(SHAPE) < 1 / (1 + np.exp(-theta[2]))
        centre, sigma = np.where(hot, theta[3], theta[0]), np.where(hot, 1.2, 0.4)
        true = np.exp(centre + sigma * rng.standard_normal(SHAPE))
        low, high = fit_prior(Evidence.of(rng.poisson(true * 0.5).astype(float), np.full(SHAPE, 0.5))).interval
        inside += int(((low <= theta) & (theta <= high)).sum())
    assert 180 <= inside <= 199


def test_more_live_time_narrows_the_intervals() -> None:
    rng, widths = np.random.default_rng(4), []
    true = drawn(rng, 50, 0.4)
    for live in (0.1, 1.0, 10.0):
        evidence = Evidence.of(rng.poisson(true * live).astype(float), np.full(SHAPE, live))
        found = posterior(evidence, fit_prior(evidence), HOT_FACTOR)
        widths.append(float(np.median(np.log(found.high / found.low))))
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == pytest.approx(2 * 1.96 / np.sqrt(500), rel=0.1)


# ---- masks ----


def test_hot_pixels_are_found() -> None:
    """20 arrays with 20 counts in an ordinary pixel: of the pixels above 20 times the median 98 % and more are marked,
    of those marked 98 % and more are above; but for those within three standard errors of their counts, where luck
    decides."""
    rng = np.random.default_rng(5)
    right = missed = wrong = 0
    for _ in range(20):
        true = drawn(rng, 30, 0.5)
        live = 20 / 30
        evidence = Evidence.of(rng.poisson(true * live).astype(float), np.full(SHAPE, live))
        hot = posterior(evidence, fit_prior(evidence), HOT_FACTOR).above > 0.5
        clear = np.abs(true * live - 400) > 3 * np.sqrt(400)
        truly = true > HOT_FACTOR * 30
        right += int((hot & truly).sum())
        missed += int((~hot & truly & clear).sum())
        wrong += int((hot & ~truly & clear).sum())
    assert right > 500
    assert missed <= 0.02 * right
    assert wrong <= 0.02 * right


@pytest.mark.parametrize(("count_time", "cycles", "bits"), [(1e-4, 1, 1), (1e-5, 100, 1), (1e-3, 1, 9), (1e-5, 100, 9)])
def test_blinking_pixels_are_noisy(count_time: float, cycles: int, bits: int) -> None:
    """12 pixels that fire half of the time, in stretches of 40 images, among 1,012 steady ones, of which some are as
    bright and hotter."""
    rng = np.random.default_rng(6)
    true = drawn(rng, 100, 0.4, (32, 32)).clip(max=2e4)
    unsteady = np.zeros(true.shape, dtype=bool)
    unsteady.flat[rng.choice(true.size, 12, replace=False)] = True
    images = 4000
    on = np.cumsum(rng.random((images, 12)) < 1 / 40, axis=0) % 2 * 2.0
    x = np.repeat(true[None], images, axis=0)
    x[:, unsteady] = 4000 * on
    x *= count_time
    counts = rng.binomial(cycles, -np.expm1(-x)) if bits == 1 else rng.poisson(x * cycles)
    found = bits_of(dark_map([in_the_dark(counts, count_time, cycles, bits)], guess(true.shape, bits)), NOISY)
    assert found[unsteady].all()
    assert found[~unsteady].sum() <= 1 + 2 * FALSE_DISCOVERIES * unsteady.sum()


@pytest.mark.parametrize("mean", [0.01, 0.6, 20.0])
@pytest.mark.parametrize("statistic", ["same image", "later"])
def test_the_chance_to_look_noisy_is_not_understated(
    mean: float, statistic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """65,536 steady pixels: no more than one in 1000 has a chance below 1/1000, and so on, give or take 4.5 sigma."""
    monkeypatch.setattr(blinking, "_LEAST_SWING", 0.0)
    dark = in_the_dark(np.random.default_rng(17).poisson(mean, (300, 256, 256)), 1e-2)
    if statistic == "same image":
        parts = blinking._pairs_in_one_image(dark, guess((256, 256), 9))
    else:
        parts = blinking._pairs_in_later_images(dark)
    chances = blinking._p_values([parts])
    for limit in (1e-1, 1e-2, 1e-3, 1e-4):
        expected = limit * chances.size
        assert (chances < limit).sum() <= expected + SIGMAS * np.sqrt(expected)


def test_what_flickers_faster_than_the_images_is_noisy_too() -> None:
    """Counts of independent images that spread as widely as those of a rate that varies by half of its mean."""
    rng, steady = np.random.default_rng(7), np.full((1000, 20, 20), 5.0)
    rate = steady.copy()
    rate[:, 3, 4] *= rng.gamma(4, 1 / 4, 1000)
    noisy = bits_of(dark_map([in_the_dark(rng.poisson(rate), 1e-3)], guess((20, 20), 9)), NOISY)
    assert np.argwhere(noisy).tolist() == [[3, 4]]


def test_afterpulses_and_a_slow_drift_are_no_noise() -> None:
    """Each count is followed by another in 2 % of cases where 1 % is known; the temperature changes all by 5 %."""
    rng = np.random.default_rng(8)
    rate = np.full((4000, 32, 32), 1.0) * np.linspace(0.975, 1.025, 4000)[:, None, None]
    counts = rng.poisson(rate)
    counts += rng.binomial(counts, 0.02)
    sensor = guess((32, 32), 9, afterpulse_probability=0.01, trap_lifetime=1e-6)
    assert not bits_of(dark_map([in_the_dark(counts, 1e-3)], sensor), NOISY).any()


# ---- what the sensor does to the counts ----


def test_binary_and_counting_arrays_tell_the_same() -> None:
    """The same rates, up to 3 counts in a binary frame: the maps agree within their errors."""
    rng = np.random.default_rng(9)
    true = drawn(rng, 100, 0.4).clip(max=3e5)
    p = -np.expm1(-true * 1e-5)
    binary = dark_map([in_the_dark(rng.binomial(200_000, p)[None], 1e-5, 200_000, 1)], guess(SHAPE))
    counting = dark_map([in_the_dark(rng.poisson(true * 2).clip(max=2**16 - 1)[None], 2.0, 1, 16)], guess(SHAPE, 16))
    for found in (binary, counting):
        faint = true < 3e4  # a counter of 16 bits is full there
        inside = (found.low <= true) & (true <= found.high)
        assert 0.93 <= inside[faint].mean() <= 0.97
    assert np.corrcoef(np.log(binary.rate[faint]), np.log(counting.rate[faint]))[0, 1] > 0.95
    bright = true > 1e5
    assert bright.any()
    assert np.allclose(binary.rate[bright], true[bright], rtol=0.02)


def test_several_darks_add_up() -> None:
    """Of different exposures: as good as one of their total length."""
    rng = np.random.default_rng(10)
    true = drawn(rng, 40, 0.5)
    parts = [in_the_dark(rng.poisson(true * time, (10, *SHAPE)), time, bits=16) for time in (0.05, 0.1)]
    whole = dark_map(parts, guess(SHAPE, 16))
    assert 0.93 <= ((whole.low <= true) & (true <= whole.high)).mean() <= 0.97
    one = dark_map(parts[:1], guess(SHAPE, 16))
    assert np.mean(np.log(whole.high / whole.low)) < 0.8 * np.mean(np.log(one.high / one.low))


def test_neighbours_of_a_hot_pixel_are_not_hotter() -> None:
    """A pixel of 1e5 cps fires 200 cps in each neighbour, whose own rate of 50 cps is found all the same."""
    rng, kernel = np.random.default_rng(11), torch.tensor([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]) * 2e-3
    true = np.full((24, 24), 50.0) * np.exp(0.3 * rng.standard_normal((24, 24)))
    true[8, 8] = 1e5
    around = np.roll(true, 1, 0) + np.roll(true, -1, 0) + np.roll(true, 1, 1) + np.roll(true, -1, 1)
    dark = in_the_dark(rng.poisson((true + 2e-3 * around) * 0.05, (200, 24, 24)), 0.05, bits=16)
    sensor = guess((24, 24), 16, crosstalk=kernel)
    rough = dark_map([dark], sensor)
    found = dark_map([dark], replace(sensor, dark_count_rate=torch.from_numpy(rough.rate).float()))
    beside = ([7, 9, 8, 8], [8, 8, 7, 9])
    assert np.allclose(found.rate[beside], true[beside], rtol=0.5)
    assert (found.low[beside] <= true[beside]).all()
    assert (true[beside] <= found.high[beside]).all()
    ignorant = dark_map([dark], guess((24, 24), 16))
    assert (ignorant.low[beside] > true[beside]).all()


def test_a_crosstalk_that_is_not_known_widens_the_intervals_of_those_it_reaches() -> None:
    """The neighbours of the hot pixel again, now with a crosstalk that is 20 % off, and known to be."""
    rng, kernel = np.random.default_rng(11), np.array([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]) * 2e-3
    true = np.full((24, 24), 50.0)
    true[8, 8], beside = 1e5, ([7, 9, 8, 8], [8, 8, 7, 9])
    around = np.roll(true, 1, 0) + np.roll(true, -1, 0) + np.roll(true, 1, 1) + np.roll(true, -1, 1)
    dark = in_the_dark(rng.poisson((true + 2e-3 * around) * 0.5, (200, 24, 24)), 0.5, bits=16)
    sensor = guess((24, 24), 16, crosstalk=torch.from_numpy(1.2 * kernel))
    sure, unsure = dark_map([dark], sensor), dark_map([dark], sensor, 0.2 * kernel)
    assert (sure.high[beside] < 50).any()
    assert ((unsure.low[beside] < 50) & (unsure.high[beside] > 50)).all()
    others = np.ones(true.shape, dtype=bool)
    others[6:11, 6:11] = False
    assert np.allclose(sure.rate[others], unsure.rate[others], rtol=0.01)


def test_afterpulses_and_dead_time_come_off() -> None:
    """A tenth more counts by afterpulses, a fifth fewer by dead time: the bulk is found within 3 standard errors."""
    rng, true = np.random.default_rng(12), 2e5
    counts = rng.poisson(true * 1e-3 * (1 - 0.2), (50, *SHAPE))  # blind for a fifth of the time
    dead_time = 0.2 / (0.8 * true)
    found = dark_map([in_the_dark(counts, 1e-3)], guess(SHAPE, 9, dead_time=dead_time))
    assert found.estimates["dark_bulk"].value == pytest.approx(true, rel=3e-3)
    frames = rng.binomial(1000, 0.01 / (1 - 0.1 * 0.99), (50, *SHAPE))
    found = dark_map([in_the_dark(frames, 1e-5, 1000, 1)], guess(SHAPE, afterpulse_probability=0.1))
    assert found.estimates["dark_bulk"].value == pytest.approx(-np.log(0.99) / 1e-5, rel=3e-3)


# ---- what is said ----


def test_too_short_a_dark_says_how_long_it_should_be() -> None:
    """25 cps: 4 s give 10 %."""
    rng = np.random.default_rng(13)
    short = dark_map([in_the_dark(rng.poisson(25 * 0.1, (1, *SHAPE)), 0.1)], guess(SHAPE, 9))
    [said] = short.remarks
    assert "0.1 s in the dark" in said
    assert "10%" in said
    wanted = float(said.split(" s would")[0].rsplit(" ", 1)[1])
    assert wanted == pytest.approx(100 / 25, rel=0.1)
    assert not dark_map([in_the_dark(rng.poisson(25.0, (8, *SHAPE)), 1.0)], guess(SHAPE, 9)).remarks


def test_a_full_counter_is_a_lower_bound() -> None:
    counts = np.random.default_rng(14).poisson(3, (100, 20, 20))
    counts[:, 5, 5] = 511
    found = dark_map([in_the_dark(counts, 0.1)], guess((20, 20), 9))
    assert any("1 pixels filled their counter" in said for said in found.remarks)
    assert bits_of(found, HOT)[5, 5]


@pytest.mark.parametrize("bits", [1, 9])
@pytest.mark.parametrize("counts", ["none", "all full", "a single count", "one pixel"])
def test_odd_darks_have_finite_answers(bits: int, counts: str) -> None:
    images = np.zeros((5, 1, 1) if counts == "one pixel" else (5, 16, 16), dtype=int)
    if counts == "all full":
        images += (1 << bits) - 1
    elif counts == "a single count":
        images[2, 3, 4] = 1
    sensor = guess(images.shape[1:], bits, dead_time=0.0 if bits == 1 else 1e-5)
    found = dark_map([in_the_dark(images, 1e-3, bits=bits)], sensor)  # 511 dead times do not fit in
    for values in (found.rate, found.low, found.high):
        assert np.isfinite(values).all()
        assert (values > 0).all()
    assert not bits_of(found, NOISY).any()
    for estimate in found.estimates.values():
        assert estimate.low <= estimate.value <= estimate.high
        assert np.isfinite([estimate.low, estimate.high]).all()


# ---- public arrays ----


def test_the_public_dark_map(shared: Path) -> None:
    """958 counts of 64x32 pixels in 60,000 gates of 20 ns: a bulk of 27 cps and 5.4 % of hot pixels, log-normal with a
    median of 1.3 kcps and a sigma of 1.9, explain it; they lie in the intervals, which are no wider than they must."""
    counts = scipy.io.loadmat(shared / "data/real/bianlab/count_dark.mat")["count_dark"]
    found = dark_map([in_the_dark(counts[None], 20e-9, 60_000, 1)], guess((64, 32)))
    known = {"bulk": 27, "hot_fraction": 0.054, "hot_median": 1300, "hot_sigma": 1.9}
    for name, value in known.items():
        estimate = found.estimates[f"dark_{name}"]
        assert estimate.measured, name
        assert estimate.low < value < estimate.high, name
        assert estimate.value == pytest.approx(value, rel=0.2), name
    assert not found.estimates["dark_bulk_sigma"].measured
    assert 40 <= bits_of(found, HOT).sum() <= 100
    assert found.rate.mean() == pytest.approx(958 / 2048 / 1.2e-3, rel=0.05)
    [said] = found.remarks
    assert "0.0012 s" in said


@pytest.mark.parametrize("name", ["bframee", "bframeee"])
def test_a_larger_array_has_a_heavy_tail(shared: Path, name: str) -> None:
    """320x240 pixels, counts of 4096 bit planes in the dark: a quarter of the pixels is of a tail with a sigma of 1.8,
    an eighth above 10 times the bulk, far more than a log-normal bulk alone would have."""
    values = scipy.io.loadmat(shared / f"data/real/quanticam_320x240/{name}.mat")
    [counts] = [value for key, value in values.items() if not key.startswith("_")]
    found = dark_map([in_the_dark(counts[None], 1.0, 4096, 1)], guess(counts.shape))
    sigma, share = found.estimates["dark_hot_sigma"], found.estimates["dark_hot_fraction"]
    bulk, spread = found.estimates["dark_bulk"], found.estimates["dark_bulk_sigma"]
    assert 1.7 < sigma.low < sigma.high < 2.0
    assert 0.2 < share.low < share.high < 0.3
    assert np.median(counts) / 4096 == pytest.approx(bulk.value, rel=0.25)
    assert 0.11 < (found.rate > 10 * bulk.value).mean() < 0.14
    assert stats.norm.sf(np.log(10) / spread.high) < 1e-6


def test_what_is_found_of_a_drawn_preset() -> None:
    """The shipped counting array, whose bulk is one rate, 20 s in the dark."""
    sensor = Sensor.load("spc3")
    true = sensor.dark_count_rate.double().numpy()
    dark = in_the_dark(
        np.random.default_rng(15).poisson(true * 0.02, (1000, *true.shape)).clip(max=65535), 0.02, bits=16
    )
    found = dark_map([dark], replace(guess(true.shape, 16), dead_time=0.0))
    bulk = found.estimates["dark_bulk"]
    assert bulk.low <= np.median(true) <= bulk.high
    assert np.median(np.abs(found.rate / true - 1)) < 0.05
