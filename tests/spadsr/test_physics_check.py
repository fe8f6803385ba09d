"""The check of an answer against its counts: moments are those of closed forms, truths pass, wrong answers do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noise_model.arrays import Floats
from noise_model.forward_model import ForwardModel
from noise_model.moments import moments
from noise_model.sensor import HOT, Exposure, Sensor
from simulate.procedural import procedural_scene
from spadsr.restoration.hot_pixels import stands_out
from spadsr.restoration.physics_check import MODEL_ERROR, CheckSummary, PhysicsCheck, physics_check, summary

SECONDS = 10e-6
SIZE = (48, 40)


def flat(bits: int = 1, dead_time: float = 0.0, shape: tuple[int, int] = SIZE) -> Sensor:
    return Sensor("flat", torch.ones(shape), torch.zeros(shape), dead_time, bits)


def preset(name: str) -> Sensor:
    """The middle of a preset's array, with its maps."""
    sensor = Sensor.load(name)
    rows, columns = (slice(0, 48), slice(0, 30))
    return replace(sensor, pde=sensor.pde[rows, columns], dark_count_rate=sensor.dark_count_rate[rows, columns])


def scenes(shape: tuple[int, int], number: int, scale: int = 2) -> Tensor:
    """(number, s H, s W) relative flux of drawn scenes, none of them black."""
    rng = np.random.default_rng(3)
    drawn = [procedural_scene((shape[0] * scale, shape[1] * scale), rng) for _ in range(number)]
    return torch.from_numpy(np.stack(drawn)).float().clamp(max=1) + 0.02


def answered(model: ForwardModel, white: float) -> tuple[Tensor, Tensor]:
    """Counts (n, H, W) of scenes whose white is `white` detections a frame, and the true rates at x2."""
    rate = scenes(model.sensor.shape, 32) * white / model.exposure.count_time
    native = F.avg_pool2d(rate[:, None], 2)[:, 0]
    return model.sample(native, torch.Generator().manual_seed(1)).long(), rate


def share_of_counts(rate: Tensor, model: ForwardModel) -> Floats:
    """(n,) share of the weighted variance that the counts have if the rates at x2 are true."""
    native = F.avg_pool2d(rate[:, None], 2)
    around = F.avg_pool2d(native, 5, stride=1, padding=2, count_include_pad=False)[:, 0]
    mean, shot, _ = model.moments(native[:, 0])
    error = model.moments(native[:, 0] + MODEL_ERROR * around)[0] - mean
    weight = 1 / (shot + error**2 + 1)
    return np.asarray((shot * weight).sum(axis=(1, 2)) / ((shot + error**2) * weight).sum(axis=(1, 2)))


@settings(max_examples=25)
@given(st.integers(1, 300), st.floats(1e-3, 3))
def test_moments_of_a_binary_array_are_binomial(n: int, x: float) -> None:
    law, p = moments(ForwardModel(flat(), Exposure(SECONDS, n)).process, x), -np.expm1(-x)
    variance = n * p * (1 - p)
    assert np.interp(x, law.x, law.mean) == pytest.approx(n * p, rel=1e-4)
    assert np.interp(x, law.x, law.variance) == pytest.approx(variance, rel=2e-4)
    fourth = variance * (1 + 3 * (n - 2) * p * (1 - p))
    assert np.interp(x, law.x, law.fourth) == pytest.approx(fourth, rel=2e-3)


@settings(max_examples=25)
@given(st.integers(1, 20), st.floats(1e-3, 40))
def test_moments_without_dead_time_are_those_of_poisson(n: int, x: float) -> None:
    law, mean = moments(ForwardModel(flat(bits=12), Exposure(SECONDS, n)).process, x), n * x
    assert np.interp(x, law.x, law.mean) == pytest.approx(mean, rel=1e-4)
    assert np.interp(x, law.x, law.variance) == pytest.approx(mean, rel=2e-4)
    assert np.interp(x, law.x, law.fourth) == pytest.approx(mean + 3 * mean**2, rel=2e-3)


def test_chi_squared_is_that_of_the_definition() -> None:
    """Binomial counts of a uniform rate: weights are equal, and nothing but the definition is left. The variance is
    that of the counts, and of rates that are 5 % off."""
    n, p = 64, 0.3
    shot = n * p * (1 - p)
    variance = shot + (n * ((1 - p) - (1 - p) ** (1 + MODEL_ERROR))) ** 2
    k = torch.from_numpy(np.random.default_rng(0).binomial(n, p, (3, *SIZE)))
    rate = torch.full((3, 4 * SIZE[0], 4 * SIZE[1]), -np.log(1 - p) / SECONDS)
    check = physics_check(k, rate, ForwardModel(flat(), Exposure(SECONDS, n)))
    pearson = ((k - n * p).square() / variance).mean(dim=(1, 2))
    np.testing.assert_allclose(check.chi_squared, pearson, rtol=1e-3)
    np.testing.assert_allclose(check.balance, k.double().mean(dim=(1, 2)) / (n * p), rtol=1e-4)
    kurtosis = (1 - 6 * p * (1 - p)) / (n * p * (1 - p))
    np.testing.assert_allclose(check.spread, np.sqrt((2 + kurtosis) / k[0].numel()) * shot / variance, rtol=1e-3)
    expected_residual = (k - n * p) / np.sqrt(variance + 1)
    np.testing.assert_allclose(check.residual, expected_residual, atol=1e-2)


@pytest.mark.parametrize(
    ("sensor", "cycles", "white"),
    [
        (flat(), 1, 0.5),
        (flat(), 16, 0.2),
        (flat(), 1000, 0.5),
        (flat(bits=9, dead_time=SECONDS / 17.5), 4, 5.0),
        (flat(bits=9, dead_time=SECONDS / 17.5), 1, 200.0),
        (flat(bits=4), 1, 20.0),
        (preset("spc3"), 16, 3.0),
        (preset("spad512"), 64, 0.2),
    ],
)
def test_the_truth_explains_its_counts(sensor: Sensor, cycles: int, white: float) -> None:
    """Mean over 32 images of chi-squared and of balance: within 4 of their own standard errors (chance: 6e-5 each) of
    1, or for chi-squared of the share of the variance that is not of the rates' error, saturated pixels and all. They
    scatter as they say: of 32 normal numbers the standard deviation is known to 0.125, four times which is allowed. No
    image is called a contradiction."""
    model = ForwardModel(sensor, Exposure(SECONDS, cycles))
    counts, rate = answered(model, white)
    check, share = physics_check(counts, rate, model), share_of_counts(rate, model)
    for value, spread, one in ((check.chi_squared, check.spread, share), (check.balance, check.balance_spread, 1)):
        assert abs((value - one).mean()) < 4 * np.sqrt((spread**2).sum()) / len(value)
        assert 0.5 < np.std((value - one) / spread) < 1.5
    assert not check.contradicts.any()


@pytest.mark.parametrize(("sensor", "white"), [(preset("spc3"), 1.0), (preset("spad512"), 0.3)])
def test_wrong_answers_are_contradicted(sensor: Sensor, white: float) -> None:
    """Of N = 64 and mosaics of random shades: the rates of every image half as high again, or two thirds; reversed;
    those of another image; no detail at all."""
    model = ForwardModel(sensor, Exposure(SECONDS, 64))
    shades = torch.rand(8, 1, 8, 5, generator=torch.Generator().manual_seed(2)) + 0.05
    rate = F.interpolate(shades, scale_factor=12)[:, 0] * white / SECONDS
    counts = model.sample(rate[:, ::2, ::2], torch.Generator().manual_seed(1)).long()
    assert not physics_check(counts, rate, model).contradicts.any()
    assert physics_check(counts, 1.5 * rate, model).contradicts.all()
    assert physics_check(counts, rate / 1.5, model).contradicts.all()
    assert physics_check(counts, rate.flip(-1), model).contradicts.all()
    assert physics_check(counts, rate.roll(1, 0), model).contradicts.all()
    even = rate.mean(dim=(1, 2), keepdim=True).expand_as(rate)
    assert physics_check(counts, even, model).contradicts.all()


def test_masked_and_hot_pixels_are_left_out() -> None:
    model = ForwardModel(flat(), Exposure(SECONDS, 64))
    counts, rate = answered(model, 0.2)
    mask = torch.zeros(SIZE, dtype=torch.int32)
    mask[5, 5:8] = HOT
    known = replace(model, sensor=replace(model.sensor, pixel_mask=mask))
    clean = physics_check(counts, rate, model)
    counts[:, 5, 5:8] = 64
    masked = physics_check(counts, rate, known)
    assert (masked.residual[:, 5, 5:8] == 0).all()
    assert (masked.hot == 0).all()
    np.testing.assert_allclose(masked.chi_squared, clean.chi_squared, atol=0.02)
    counts[:, 30:32, 20] = 64  # two, side by side
    found = physics_check(counts, rate, known)
    assert (found.hot == 2).all()
    assert (found.residual[:, 30:32, 20] == 0).all()
    np.testing.assert_allclose(found.chi_squared, clean.chi_squared, atol=0.02)


def test_a_line_that_the_answer_lacks_is_no_row_of_hot_pixels() -> None:
    model = ForwardModel(flat(), Exposure(SECONDS, 64))
    counts = torch.full((1, *SIZE), 6)
    counts[:, 10:40, 20] = 60
    rate = torch.full((1, *SIZE), -np.log(1 - 6 / 64) / SECONDS)
    check = physics_check(counts, rate, model)
    assert check.hot[0] == 2  # its ends
    assert check.contradicts[0]
    assert check.residual[0, 20, 20] > 10


def test_points_stand_out_and_a_fixed_pattern_does_not() -> None:
    counts = np.full((1, 9, 9), 1e6)
    counts[0, 4, 4] *= 1.1
    good = np.ones((9, 9), bool)
    assert stands_out(counts, good).sum() == 1
    assert stands_out(counts, good, times=1.5).sum() == 0
    counts[0, 0, 0] *= 2
    assert stands_out(counts, good, times=1.5)[0, 0, 0]


@pytest.mark.parametrize("error", [0.0, 0.03, 0.3])
def test_a_bright_image_is_contradicted_by_rates_that_are_far_off(error: float) -> None:
    """80,000 counts a pixel, each off by as much as efficiencies differ, are no contradiction; by ten times as much,
    they are."""
    model = ForwardModel(flat(bits=16), Exposure(SECONDS, 6400))
    rate = torch.full((4, *SIZE), 12.5 / SECONDS)
    off = 1 + error * torch.randn(rate.shape, generator=torch.Generator().manual_seed(3))
    counts = model.sample(rate * off.clamp(min=0), torch.Generator().manual_seed(4)).long()
    assert (physics_check(counts, rate, model).contradicts == (error > 0.1)).all()


@pytest.mark.parametrize("rate", [0.0, 1e12])
@pytest.mark.parametrize("bits", [1, 8])
def test_rates_at_the_ends_give_finite_figures(rate: float, bits: int) -> None:
    model = ForwardModel(flat(bits, 0.0 if bits == 1 else 5e-8, (3, 5)), Exposure(SECONDS, 2))
    for level in (0, 1, 2):
        check = physics_check(torch.full((2, 3, 5), level), torch.full((2, 6, 10), rate), model)
        assert all(np.isfinite(value).all() for value in vars(check).values())


def made(chi_squared: list[float], balance: list[float]) -> PhysicsCheck:
    many, zero = len(chi_squared), np.zeros(len(chi_squared))
    values, ratios = np.array(chi_squared), np.array(balance)
    return PhysicsCheck(
        np.zeros((many, 2, 2), np.float32), values, zero + 0.03, ratios, zero + 0.01, zero.astype(np.int64)
    )


def test_the_summary_names_the_images() -> None:
    checks = CheckSummary()
    checks.add(made([0.9, 1.0, 1.2], [1.0, 1.0, 1.0]))
    assert checks.sentence == "chi-squared per pixel 1.00, at most 1.20 (image 2)"
    assert checks.warnings() == []
    checks.add(made([7.5, 0.8], [1.0, 0.6]))
    [line] = checks.warnings()
    assert "2 of 5 images (3, 4): chi-squared per pixel up to 7.5, 0.60 times the counts" in line
    assert checks.sentence.endswith("at most 7.50 (image 3)")
    assert summary(np.array([1.234])) == "chi-squared per pixel 1.23"


@pytest.mark.parametrize("bits", [1, 8])
def test_frames_of_each_pixel_are_known_to_the_check(bits: int) -> None:
    sensor = flat(bits)
    cycles = torch.randint(0, 200, SIZE, generator=torch.Generator().manual_seed(2))
    model = ForwardModel(sensor, Exposure(SECONDS, cycles))
    rate = 0.2 / SECONDS * F.avg_pool2d(scenes(SIZE, 4), 2)
    counts = model.sample(rate, torch.Generator().manual_seed(1))
    check = physics_check(counts, rate, model)
    assert (abs(check.chi_squared - 1) < 4 * check.spread).all()
    assert (abs(check.balance - 1) < 4 * check.balance_spread).all()
    assert (check.residual[:, cycles.numpy() == 0] == 0).all()
    assert not check.contradicts.any()
    mean_frames = replace(model, exposure=Exposure(SECONDS, 100))
    assert physics_check(counts, rate, mean_frames).contradicts.all()
