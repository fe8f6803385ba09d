"""Figures of merit against numbers worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadsr.evaluation.metrics import Radiometry, coverage, psnr, ssim


def flat(value: float, shape: tuple[int, int] = (16, 16)) -> np.ndarray:
    return np.full(shape, value, dtype=np.float32)


def test_psnr_by_hand() -> None:
    assert psnr(flat(0.6), flat(0.5)) == pytest.approx(20.0, abs=1e-4)
    assert psnr(flat(1.5), flat(0.5)) == pytest.approx(0.0, abs=1e-6)  # too bright is not clamped
    assert psnr(flat(-3.0), flat(0.1)) == pytest.approx(20.0, abs=1e-4)  # below zero counts as zero
    assert psnr(flat(0.5), flat(0.5)) == math.inf


def test_ssim_of_flat_pictures_is_its_luminance_term() -> None:
    """Without variance what remains is (2 a b + c) / (a^2 + b^2 + c), c = 0.01^2."""
    a, b, c = 0.4, 0.5, 1e-4
    assert ssim(flat(a), flat(b)) == pytest.approx((2 * a * b + c) / (a * a + b * b + c), abs=1e-5)
    noise = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    assert ssim(noise, noise) == pytest.approx(1.0)


def test_ssim_is_that_of_scikit_image() -> None:
    """With the published window, and without clipping what is brighter than white."""
    from skimage.metrics import structural_similarity

    random = np.random.default_rng(1)
    truth = random.random((24, 40), dtype=np.float32)
    rate = truth + random.normal(0, 0.2, truth.shape).astype(np.float32)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(np.maximum(rate, 0), truth, data_range=1.0, **window)
    assert ssim(rate, truth) == pytest.approx(float(expected), abs=1e-5)
    assert 0.3 < ssim(rate, truth) < 0.95


def test_coverage_of_normal_errors() -> None:
    """Shares of 200,000 normal errors, within 5 standard errors."""
    error = np.random.default_rng(0).normal(size=200_000)
    for level, factor in ((0.6827, 1.0), (0.95, 1.96)):
        share = coverage(error, np.ones_like(error), np.zeros_like(error), factor)
        assert abs(share - level) < 5 * math.sqrt(level * (1 - level) / error.size)


def test_tenths_of_a_known_bias() -> None:
    """An answer that is a tenth too bright is so in proportion to its value."""
    truth = np.linspace(0, 1, 100_000, dtype=np.float32)
    sums = Radiometry()
    sums.add(1.1 * truth, truth)
    assert sums.total_ratio == pytest.approx(1.1, rel=1e-5)
    assert sums.tenths() == pytest.approx([-0.1 * (0.05 + 0.1 * i) for i in range(10)], abs=2e-5)


def test_tenths_pool_pictures_and_share_ties() -> None:
    sums = Radiometry()
    sums.add(flat(0.5), flat(0.4))
    sums.add(flat(0.5), flat(0.8))
    assert sums.tenths() == pytest.approx([0.1] * 10)
    assert sums.total_ratio == pytest.approx(1 / 1.2)


@given(st.integers(0, 10_000), st.floats(0.1, 5))
def test_tenths_average_to_the_total(seed: int, spread: float) -> None:
    """However far the answers lie outside of the bins."""
    random = np.random.default_rng(seed)
    truth, answer = random.random((20, 20)), spread * random.normal(size=(20, 20))
    sums = Radiometry()
    sums.add(answer, truth)
    assert sums.tenths().mean() == pytest.approx((truth - answer).mean(), abs=1e-9)
