"""The noise model against public recordings of real arrays, and the presets against what these recordings say."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from laws_by_hand import SIGMAS
from real_fano import BANDS, MOST, binomial, counting, dead_time_ratio, fano, fit, medians, still
from real_recordings import Counts, averages, fan, plasma_ball, spc3_dark, spc3_integrated
from real_spread import TWO_SIDED, apart, chi_square, dead_time, dispersion, hot_exposure, impossible, nested
from scipy import stats

SPC3_INTEGRATED = 1000 * 10.40e-6  # s: what the hot pixels say, to the next thousand frames


@pytest.fixture(scope="module")
def still_pixels(shared: Path) -> Counts:
    return still(fan(shared))


# The fan: dead time


@pytest.mark.parametrize("ratio", [14.0, 17.5, 24.0])
def test_the_fit_finds_the_dead_time_that_made_the_frames(ratio: float) -> None:
    """160 still pixels and 10 swept ones, of means 7 to 10."""
    rng, law = np.random.default_rng(int(ratio)), counting(ratio)
    mean = law @ np.arange(law.shape[1])
    rows = law[np.searchsorted(mean, rng.uniform(7, 10, 160))]
    counts = np.stack([rng.choice(law.shape[1], size=10, p=row / row.sum()) for row in rows], axis=1)
    found = dead_time_ratio(np.concatenate([counts, rng.integers(0, 19, (10, 10))], axis=1))
    assert found.low <= ratio <= found.high
    assert found.high - found.low < ratio / 5


def test_dead_time_makes_the_spread_of_the_fan(still_pixels: Counts) -> None:
    """Median Fano factors of 0.35, 0.34 and 0.26 at means of 7.2, 7.6 and 8.2, chi-square on 3 degrees of freedom."""
    law, rng, squares = counting(dead_time_ratio(still_pixels).value), np.random.default_rng(0), 0.0
    for (low, high), measured in zip(pairwise(BANDS), (0.35, 0.34, 0.26), strict=True):
        counts = still(still_pixels, low, high)
        assert np.median(fano(counts)) == pytest.approx(measured, abs=0.005)
        expected = medians(law, counts.mean(), counts.shape[1], rng)
        squares += ((np.median(fano(counts)) - expected.mean()) / expected.std()) ** 2
    assert stats.chi2.sf(squares, 3) > 0.1


def test_binary_frames_do_not(still_pixels: Counts) -> None:
    """As few as there can be, since 18 counts occur: their medians would be 0.60 to 0.55."""
    rng = np.random.default_rng(0)
    for low, high in pairwise(BANDS):
        counts = still(still_pixels, low, high)
        expected = medians(binomial(MOST), counts.mean(), counts.shape[1], rng)
        assert 0.54 < expected.mean() < 0.62
        assert np.median(fano(counts)) < np.quantile(expected, 0.005)
    dead, binary = (fit(still_pixels, law).log_likelihood for law in (counting(17.0), binomial(MOST)))
    assert dead - binary > 30


def test_the_dead_time_of_the_public_camera(shared: Path, still_pixels: Counts) -> None:
    """A seventeenth of the exposure, within a sixth; 17.5, which frames are read with, is among what is likely. Other
    pixels than the one that reaches 18 stop at 17, where 59 measurements end up."""
    ratio = dead_time_ratio(still_pixels)
    assert ratio.value == pytest.approx(17.0, abs=0.25)
    assert (ratio.low, ratio.high) == pytest.approx((15.75, 18.5), abs=0.5)
    assert ratio.low < 17.5 < ratio.high
    ball = plasma_ball(shared)
    assert ball.max() == MOST
    assert set(map(tuple, np.argwhere(ball == MOST)[:, 1:].tolist())) == {(40, 1)}
    assert (ball == MOST - 1).sum() == 59


# SPC3: afterpulsing, exposure, dead time


def test_dark_frames_of_an_spc3_are_poisson_but_for_afterpulses(shared: Path) -> None:
    """Fano factor 1.014, 95 % interval 1.003 to 1.026 for ordinary pixels; 0.98 +- 0.06 for hot ones."""
    frames = spc3_dark(shared)
    hot = frames.sum(axis=0) > 25
    ordinary, others = dispersion(frames * ~hot), dispersion(frames * hot)
    assert 1 < ordinary.low < ordinary.value < ordinary.high < 1.03
    assert others.low < 1 < others.high
    total = frames.sum(axis=(1, 2))
    assert total.var(ddof=1) / total.mean() == pytest.approx(1, abs=SIGMAS * np.sqrt(2 / 49))  # no drift


def test_the_integrated_images_are_a_thousand_frames(shared: Path) -> None:
    """Their hot pixels are those of the dark frames, 10.2 ms (9.4 to 10.5) bright."""
    images = np.stack([spc3_integrated(shared, name) for name in ("h1", "h2", "nh0")])
    live = hot_exposure(spc3_dark(shared), images)
    assert live.low < SPC3_INTEGRATED < live.high
    assert live.high - live.low < 0.15 * live.value


def test_bright_pixels_of_an_spc3_spread_less_by_their_dead_time(shared: Path) -> None:
    """67 ns, 95 % interval 18 to 112 ns: the vendor's 50 ns fit, none does not."""
    images = [spc3_integrated(shared, name) for name in ("h1", "h2", "nh0")]
    tau, more_likely = dead_time(images[0], images[1], SPC3_INTEGRATED)
    assert 0 < tau.low < 50e-9 < tau.high < 150e-9
    assert more_likely > stats.chi2.ppf(0.95, 1) / 2
    brighter = images[0].sum() / images[2].sum()  # nh0 was lit otherwise: not noise alone
    assert np.mean((images[0] - brighter * images[2]) ** 2 / (images[0] + brighter**2 * images[2])) > 2


# SwissSPAD2: sums of binary frames


CHAIN = [(1, 4), (4, 16), (16, 256)]
OTHERS = [(1, 16), (1, 256), (4, 256)]


@pytest.mark.parametrize(("n", "of"), CHAIN + OTHERS)
def test_averages_of_binary_frames_are_binomial_and_share_their_frames(shared: Path, n: int, of: int) -> None:
    """Variance p (1 - p) (1/n - 1/of) within two standard errors of 1 % and less; no pixel contradicts it."""
    counts = averages(shared)
    ratio = nested(counts[n], counts[of], n, of)
    assert abs(ratio.z) < 2
    assert ratio.error < 0.012
    assert not impossible(counts[n], counts[of], n, of).any()


def test_averages_of_binary_frames_are_binomial_at_any_brightness(shared: Path) -> None:
    """Bands of p, three pairs whose residuals do not depend on each other."""
    counts = averages(shared)
    each = [chi_square(counts[n], counts[of], n, of) for n, of in CHAIN]
    squares, degrees = (sum(column) for column in zip(*each, strict=True))
    assert degrees == 11
    assert 0.01 < stats.chi2.sf(squares, degrees) < 0.999


def test_successive_binary_frames_are_not_correlated(shared: Path) -> None:
    """If the averages are of frames in a row, a correlation of rho between neighbours in time makes the first 16 of 256
    spread 1 + 2 rho times as much: less than 0.4 %, which bounds afterpulsing."""
    counts = averages(shared)
    ratio = nested(counts[16], counts[256], 16, 256)
    assert (ratio.value + TWO_SIDED * ratio.error - 1) / 2 < 0.004


@pytest.mark.parametrize(("n", "of"), [*CHAIN, (16, 64), (64, 256)])
def test_they_are_not_of_separate_frames(shared: Path, n: int, of: int) -> None:
    """p (1 - p) / n + p (1 - p) / of is 12 to 40 % too much."""
    counts = averages(shared)
    ratio = apart(counts[n], counts[of], n, of)
    assert ratio.z < -10
    assert ratio.value < 0.9


def test_the_average_of_64_frames_was_altered(shared: Path) -> None:
    """41 pixels contradict the average of 16 or 256 frames, and the others spread 1.7 % more than they should."""
    counts = averages(shared)
    wrong = impossible(counts[16], counts[64], 16, 64) | impossible(counts[64], counts[256], 64, 256)
    assert wrong.sum() == 41
    assert [round(nested(counts[n], counts[of], n, of).value, 3) for n, of in ((16, 64), (64, 256))] == [1.017, 1.017]
