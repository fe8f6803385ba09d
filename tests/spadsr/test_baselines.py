"""Bicubic and the denoisers: placement, unbiased inverses, and that denoising is worth it."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import binom

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from simulate.scenes import ProceduralScenes
from spadsr.evaluation.baselines import (
    BASELINES,
    STRENGTH_KNOTS,
    STRENGTHS,
    Denoiser,
    bicubic,
    bm3d,
    denoised_counts,
    enlarge,
    expectations,
    nlm,
    stabiliser,
    tv,
    unbiased_inverse,
)
from spadsr.evaluation.metrics import block_mean

COUNT_TIME = 875e-9


def sensor(dead_time: float, bits: int, shape: tuple[int, int] = (64, 64)) -> Sensor:
    return Sensor("ideal", torch.ones(shape), torch.zeros(shape), dead_time, bits)


BINARY, COUNTING, POISSON = sensor(0.0, 1), sensor(50e-9, 8), sensor(0.0, 8)


def phantom() -> np.ndarray:
    """(256, 256): smooth, between 0.1 and 1."""
    y, x = np.mgrid[:256, :256] / 256
    return (0.55 + 0.45 * np.sin(5 * x + 3 * y) * np.cos(4 * y)).astype(np.float32)


def taken(array: Sensor, cycles: int, white: float, seed: int = 0) -> np.ndarray:
    native = torch.from_numpy(block_mean(phantom(), 4)) * white
    return ForwardModel(array, Exposure(COUNT_TIME, cycles)).sample(native, torch.Generator().manual_seed(seed)).numpy()


@pytest.mark.parametrize("scale", [1, 2, 4, 16])
def test_enlarging_leaves_a_ramp_in_place(scale: int) -> None:
    """Keys' kernel reproduces a ramp at every point, about pixel centres, edges apart; so block means stay in place."""
    ramp = np.add.outer(2 * np.arange(16.0), np.arange(24.0))
    y, x = ((np.arange(side * scale) + 0.5) / scale - 0.5 for side in ramp.shape)
    wide, edge = enlarge(ramp, scale), 2 * scale
    inner = (slice(edge, -edge), slice(edge, -edge))
    assert np.allclose(wide[inner], np.add.outer(2 * y, x)[inner], atol=1e-4)
    assert np.allclose(block_mean(wide, scale)[2:-2, 2:-2], ramp[2:-2, 2:-2], atol=1e-4)


def test_bicubic_at_native_scale_is_the_inverse_response() -> None:
    counts = np.full((4, 6), 8)
    rate = bicubic(counts, ForwardModel(sensor(0.0, 1, (4, 6)), Exposure(1e-5, 16)), 1)
    assert np.allclose(rate, math.log(2) / 1e-5, rtol=1e-6)


@pytest.mark.parametrize("cycles", [1, 4, 64])
def test_expectations_of_binary_sums_are_the_binomial_ones(cycles: int) -> None:
    model = ForwardModel(BINARY, Exposure(COUNT_TIME, cycles))
    values, sigma = stabiliser(model)
    k = np.arange(cycles + 1)
    assert np.allclose(values, np.arcsin(np.sqrt((k + 3 / 8) / (cycles + 3 / 4))))
    assert sigma == pytest.approx(1 / math.sqrt(4 * cycles + 2))
    p = np.array([0.01, 0.1, 0.4, 0.8])
    exact = binom.pmf(k, cycles, p[:, None]) @ values
    assert np.allclose(np.interp(cycles * p, *expectations(model)[::-1]), exact, atol=0.005 * sigma)


@pytest.mark.parametrize("array", [BINARY, COUNTING, POISSON], ids=["binary", "counting", "poisson"])
@pytest.mark.parametrize("cycles", [1, 4, 64])
@pytest.mark.parametrize("x", [0.02, 0.2, 1.0])
def test_the_inverse_is_unbiased(array: Sensor, cycles: int, x: float) -> None:
    """The inverse of the mean transform of a million counts is their mean within 5 standard errors."""
    model, rate = ForwardModel(array, Exposure(COUNT_TIME, cycles)), torch.full((1000, 1000), x / COUNT_TIME)
    wide = replace(model, sensor=sensor(array.dead_time, array.counter_bits, (1000, 1000)))
    counts = wide.sample(rate, torch.Generator().manual_seed(7)).numpy()
    values, _ = stabiliser(model)
    inverted = float(unbiased_inverse(values[counts].mean(), model))
    truth = float(wide.expected_counts(rate.double())[0, 0])
    slope = np.polyfit(counts.ravel(), values[counts].ravel(), 1)[0]
    error = max(values[counts].std() / slope, counts.std()) / 1000  # of a mean in either domain
    assert abs(inverted - truth) < 5 * error


@pytest.mark.parametrize(("array", "most"), [(COUNTING, 12.0), (POISSON, 12.0)], ids=["counting", "poisson"])
def test_the_transform_evens_out_the_variance(array: Sensor, most: float) -> None:
    """Between four counts and two thirds of the dead-time ceiling the standard deviation is 1 within 10 %."""
    exposure = Exposure(COUNT_TIME)
    values, sigma = stabiliser(ForwardModel(array, exposure))
    for x in np.linspace(4, most, 5):
        wide = sensor(array.dead_time, array.counter_bits, (300, 300))
        rate = torch.full((300, 300), x / COUNT_TIME)
        counts = ForwardModel(wide, exposure).sample(rate, torch.Generator().manual_seed(1)).numpy()
        assert values[counts].std() == pytest.approx(sigma, rel=0.1)


def test_a_full_counter_has_a_finite_transform() -> None:
    for cycles in (1, 16):
        values, _ = stabiliser(ForwardModel(COUNTING, Exposure(COUNT_TIME, cycles)))
        assert np.isfinite(values).all()
        assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("name", ["bm3d", "nlm", "tv"])
@pytest.mark.parametrize(("array", "cycles", "x"), [(BINARY, 16, 0.22), (BINARY, 1, 0.22), (COUNTING, 1, 3.0)])
def test_denoising_beats_bicubic_by_far(name: str, array: Sensor, cycles: int, x: float) -> None:
    """On a smooth picture the gain is about 15 dB; half of it cannot be luck."""
    white, counts = x / COUNT_TIME, taken(array, cycles, x / COUNT_TIME)
    model = ForwardModel(array, Exposure(COUNT_TIME, cycles))
    errors = [
        np.mean((np.maximum(method(counts, model, 4), 0) / white - phantom()) ** 2)
        for method in (bicubic, BASELINES[name])
    ]
    assert 10 * math.log10(errors[0] / errors[1]) > 7.5


@pytest.mark.parametrize("denoiser", [bm3d, nlm, tv])
def test_denoising_keeps_the_total(denoiser: Denoiser) -> None:
    """Mean counts out are mean counts in, within 5 standard errors of the exposure's photon noise."""
    counts = taken(BINARY, 16, 0.22 / COUNT_TIME)
    model = ForwardModel(BINARY, Exposure(COUNT_TIME, 16))
    expected = float(16 * model.mean_per_frame(torch.from_numpy(phantom()) * 0.22 / COUNT_TIME).mean())
    clean = denoised_counts(counts, model, denoiser)
    assert abs(clean.mean() - expected) < 5 * math.sqrt(expected / counts.size)


@pytest.mark.parametrize("name", list(BASELINES))
def test_small_pictures_are_denoised(name: str) -> None:
    counts = np.full((3, 5), 4)
    assert BASELINES[name](counts, ForwardModel(sensor(0.0, 1, (3, 5)), Exposure(1e-5, 16)), 4).shape == (12, 20)


@pytest.mark.parametrize(("name", "denoiser"), [("nlm", nlm), ("tv", tv)])
@pytest.mark.parametrize("knot", [1, 3])
def test_strengths_follow_the_counts(name: str, denoiser: Denoiser, knot: int) -> None:
    """At its knots each is the tabulated one, between them one between, beyond the last one."""
    noisy, strengths = np.random.default_rng(0).normal(0, 1, (24, 24)), STRENGTHS[name]
    at = denoiser(noisy, 1.0, STRENGTH_KNOTS[knot])
    assert np.array_equal(at, denoiser(noisy, 1.0, 1.0, strength=strengths[knot]))  # type: ignore[call-arg]
    beyond = denoiser(noisy, 1.0, 1e9)
    assert np.array_equal(beyond, denoiser(noisy, 1.0, 1.0, strength=strengths[-1]))  # type: ignore[call-arg]


@pytest.mark.parametrize(("name", "denoiser"), [("nlm", nlm), ("tv", tv)])
def test_the_strengths_are_near_the_best(name: str, denoiser: Denoiser) -> None:
    """On drawn scenes, other than those they were chosen on: at N = 16 neither half nor double is better by 0.3 dB."""
    model, errors = ForwardModel(BINARY, Exposure(COUNT_TIME, 16)), []
    for index in range(6):
        truth = ProceduralScenes(3).scene(index, (64, 64)).clip(0, 1)
        rate = torch.from_numpy(truth) * (0.22 / COUNT_TIME)
        counts = model.sample(rate, torch.Generator().manual_seed(index)).numpy()
        expected = model.expected_counts(rate.double()).numpy()
        chosen = float(np.interp(math.log(counts.mean()), np.log(STRENGTH_KNOTS), STRENGTHS[name]))
        for factor in (1.0, 0.5, 2.0):
            clean = denoised_counts(counts, model, partial(denoiser, strength=factor * chosen))  # type: ignore[call-arg]
            errors.append(math.log10(np.mean((clean - expected) ** 2) / np.mean(expected**2)))
    chosen, half, double = -10 * np.mean(np.reshape(errors, (-1, 3)), axis=0)
    assert chosen > max(half, double) - 0.3


def on_map(array: Sensor, cycles: torch.Tensor, white: float) -> tuple[np.ndarray, ForwardModel, np.ndarray]:
    """Counts of the phantom, how they were taken, and its rates in native pixels."""
    model = ForwardModel(array, Exposure(COUNT_TIME, cycles))
    native = torch.from_numpy(block_mean(phantom(), 4)) * white
    return model.sample(native, torch.Generator().manual_seed(0)).numpy(), model, native.numpy()


@pytest.mark.parametrize("array", [BINARY, COUNTING, POISSON], ids=["binary", "counting", "poisson"])
@pytest.mark.parametrize("name", ["bicubic", "tv", "nlm"])
def test_a_map_of_one_number_of_frames_is_that_number(array: Sensor, name: str) -> None:
    cycles = torch.full((64, 64), 16)
    counts, mapped, _ = on_map(array, cycles, 0.2 / COUNT_TIME)
    plain = replace(mapped, exposure=replace(mapped.exposure, cycles=16))
    expected = BASELINES[name](counts, plain, 4)
    np.testing.assert_allclose(BASELINES[name](counts, mapped, 4), expected, rtol=1e-4, atol=1e-4 * expected.max())


@pytest.mark.parametrize("array", [BINARY, COUNTING, POISSON], ids=["binary", "counting", "poisson"])
def test_a_denoiser_follows_the_frames_of_each_pixel(array: Sensor) -> None:
    """Error of each half, away from the border, at most a tenth above that of a capture with its N alone."""
    alone = {n: on_map(array, torch.full((64, 64), n), 0.2 / COUNT_TIME) for n in (16, 512)}
    counts = np.concatenate([alone[16][0][:32], alone[512][0][32:]])
    cycles = torch.cat([torch.full((32, 64), 16), torch.full((32, 64), 512)])
    both = BASELINES["nlm"](counts, ForwardModel(array, Exposure(COUNT_TIME, cycles)), 1)
    for half, (others, model, truth) in zip((slice(0, 26), slice(38, 64)), alone.values(), strict=True):
        single = BASELINES["nlm"](others, model, 1)
        errors = [float(np.square(answer - truth)[half].mean()) for answer in (both, single)]
        assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("name", ["bicubic", "tv"])
def test_pixels_that_never_looked_are_as_their_neighbours(name: str) -> None:
    cycles = torch.full((64, 64), 256)
    cycles[20:23, 30:32] = 0
    counts, mapped, truth = on_map(BINARY, cycles, 0.2 / COUNT_TIME)
    rate = BASELINES[name](counts, mapped, 1)
    assert rate[20:23, 30:32].mean() == pytest.approx(truth[20:23, 30:32].mean(), rel=0.3)
    assert not BASELINES[name](np.zeros_like(counts), replace(mapped, exposure=Exposure(1.0, 0 * cycles)), 1).any()
