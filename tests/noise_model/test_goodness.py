"""Goodness of fit: chances are chances under the right sensor, and wrong sensors and moving scenes are told apart."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from avalanches import Array, images
from laws_by_hand import CROSS, binary, chain_pmf, counting, dead_time_pmf, seeded
from numpy.typing import NDArray
from scipy import stats

from noise_model.calibration.examining import Examiner
from noise_model.calibration.fitted_law import FittedLaw
from noise_model.calibration.goodness import Goodness, goodness, reasons
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, Exposure, Sensor

ONE_FRAME, SIXTEEN = Exposure(10e-6), Exposure(10e-6, 16)
SHAPE = (16, 12)
CHANCE = 1e-4  # of a right programme to fail, for any other seed: a dozen tests of shares together
AFTERPULSING = {"afterpulse_probability": 0.03}
BINARY = binary(SHAPE, crosstalk=0.005 * CROSS, **AFTERPULSING)
COUNTING = counting(SHAPE, crosstalk=0.005 * CROSS, trap_lifetime=80e-9, **AFTERPULSING)


def ramp(sensor: Sensor, lowest: float, highest: float) -> NDArray[np.float64]:
    """(H, W) rates of r T from lowest to highest, over the columns."""
    return np.broadcast_to(np.geomspace(lowest, highest, sensor.shape[1]) / ONE_FRAME.count_time, sensor.shape)


def recorded(sensor: Sensor, rate: NDArray[np.float64], count: int, seed: int) -> NDArray[np.unsignedinteger]:
    """A stream, avalanche by avalanche: single frames of a counting array, sums of sixteen of a binary one."""
    array = Array(
        rate=rate,
        count_time=ONE_FRAME.count_time,
        counter_bits=sensor.counter_bits,
        dead_time=sensor.dead_time,
        afterpulse_probability=sensor.afterpulse_probability,
        trap_lifetime=sensor.trap_lifetime,
        crosstalk=sensor.crosstalk.double().numpy(),
    )
    return images(array, count, 16 if sensor.binary else 1, seed=seed)


def checked(counts: NDArray[Any], sensor: Sensor, replicates: int = 59, **how: Any) -> Goodness:
    model = ForwardModel(sensor, SIXTEEN if sensor.binary else ONE_FRAME)
    return goodness(counts, model, seeded(), replicates=replicates, **how)


def failing(found: Goodness) -> set[str]:
    return {check.kind for check in found.checks if not check.fits}


@pytest.mark.parametrize(("sensor", "lowest", "highest"), [(BINARY, 0.02, 0.6), (COUNTING, 0.2, 60)])
def test_chances_are_uniform_under_the_sensor(sensor: Sensor, lowest: float, highest: float) -> None:
    rate, captures, drawn = ramp(sensor, lowest, highest), 40, 39
    found = [checked(recorded(sensor, rate, 100, seed), sensor, drawn) for seed in range(captures)]
    chances = {
        kind: np.array([next(check.p for check in each.checks if check.kind == kind) for each in found])
        for kind in ("histogram", "spread", "nearest", "diagonal", "far", "lag")
    }
    chances["any"] = np.array([each.p for each in found])
    for name, p in chances.items():
        for level in (0.05, 0.25, 0.5, 0.75):
            below = stats.binomtest(int((p <= level + 1e-9).sum()), captures, level)
            assert below.pvalue > CHANCE, (name, level, (p <= level).mean())


def test_wrong_numbers_are_told_apart() -> None:
    flat = recorded(COUNTING, ramp(COUNTING, 10, 10), 2000, 1)
    assert checked(flat, COUNTING).fits
    dead = checked(flat, replace(COUNTING, dead_time=0.0))
    assert {"histogram", "spread"} <= failing(dead)
    assert any("dead time is too short" in reason for reason in reasons(dead))
    quiet = checked(flat, replace(COUNTING, crosstalk=torch.zeros(1, 1)))
    assert failing(quiet) == {"nearest"}
    assert reasons(quiet) == ["Neighbours fire together more often: crosstalk is stronger than the sensor says."]
    trapless = checked(flat, replace(COUNTING, afterpulse_probability=0.0))
    assert "spread" in failing(trapless)
    assert any("afterpulsing too weak" in reason for reason in reasons(trapless))


def test_afterpulsing_between_frames_is_told_from_none() -> None:
    stream = recorded(BINARY, ramp(BINARY, 0.1, 0.1), 2000, 2)
    assert checked(stream, BINARY).fits
    trapless = checked(stream, replace(BINARY, afterpulse_probability=0.0))
    assert "spread" in failing(trapless)
    assert "afterpulsing too weak" in reasons(trapless)[0]
    held = checked(stream, replace(BINARY, afterpulse_probability=0.09))
    assert "spread" in failing(held)
    assert "afterpulsing too strong" in reasons(held)[0]


@pytest.mark.parametrize("change", ["flicker", "drift", "motion"])
def test_a_scene_that_changes_is_blamed_first(change: str) -> None:
    sensor, generator = counting(SHAPE), seeded(3)
    time = torch.arange(300)[:, None, None]
    edge = (torch.arange(SHAPE[1])[None, None, :] < 6 + 3 * torch.sin(time / 20)).float()
    light = {
        "flicker": 1 + 0.2 * torch.randn(300, 1, 1, generator=generator),
        "drift": 1 + 0.3 * time / 300,
        "motion": 0.5 + edge,
    }[change]
    counts = ForwardModel(sensor, ONE_FRAME).sample((light * 1e6).expand(300, *SHAPE).contiguous(), generator).numpy()
    found = checked(counts, sensor, 39)
    assert not found.fits
    assert "spread" in failing(found)
    assert reasons(found)[0].startswith("The scene or its light changed: motion, flicker and drift")


def test_every_number_of_a_check_comes_from_its_own_draws() -> None:
    found = checked(recorded(COUNTING, ramp(COUNTING, 1, 10), 100, 4), COUNTING, 59)
    for check in found.checks:
        assert check.low <= check.expected <= check.high
        assert 1 / 60 <= check.p <= 1
        assert check.p / 2 <= check.adjusted + 1e-9
    spread = [check for check in found.checks if check.kind == "spread"]
    for band, check in zip(found.bands, spread, strict=True):
        assert band.fano == pytest.approx(found.variance[band.pixels].sum() / found.mean[band.pixels].sum())
        curve = np.interp(band.mean, found.curve[0], found.curve[1])
        assert band.fano / check.measured == pytest.approx(curve, rel=0.02)  # of the mean, not the mean of each pixel
        assert band.low / check.low == pytest.approx(curve, rel=0.02)
        assert band.high / check.high == pytest.approx(curve, rel=0.02)
        assert band.seen.sum() == pytest.approx(1)
        assert band.model.sum() == pytest.approx(1)
        assert band.mean == pytest.approx(found.mean[band.pixels].mean())
    distance = [np.abs(band.seen - band.model).sum() / 2 for band in found.bands]
    assert distance == pytest.approx([check.measured for check in found.checks if check.kind == "histogram"])


def test_bad_pixels_are_left_out() -> None:
    mask = torch.zeros(SHAPE, dtype=torch.int32)
    mask[3, 5] = DEAD
    sensor = counting(SHAPE, pixel_mask=mask)
    counts = recorded(sensor, ramp(sensor, 1, 10), 50, 5)
    spoilt = counts.copy()
    spoilt[::2, 3, 5] = 200
    kept, other = (checked(each, sensor, 9) for each in (counts, spoilt))
    assert [check.measured for check in kept.checks] == [check.measured for check in other.checks]
    assert np.argwhere(np.isnan(other.mean)).tolist() == [[3, 5]]
    assert not any(band.pixels[3, 5] for band in other.bands)


@pytest.mark.parametrize(
    ("law", "x"),
    [(lambda x: dead_time_pmf(x, 5e-3, 4), 30.0), (lambda x: chain_pmf(-np.expm1(-x), 0.03, 4), 0.3)],
    ids=["counting", "binary"],
)
def test_the_fitted_law_is_the_law_of_that_mean(law: Callable[[float], NDArray[np.float64]], x: float) -> None:
    sensor = counting(SHAPE) if x > 1 else binary(SHAPE, **AFTERPULSING)
    exact = law(x)
    k = np.arange(exact.size)
    fitted = FittedLaw(ForwardModel(sensor, Exposure(10e-6, 4)), (exact * k).sum())
    row = fitted.row(np.full(10, (exact * k).sum()))
    pmf = fitted.histogram(row) / 10
    assert np.abs(pmf[: exact.size] - exact).sum() / 2 < 1e-3  # two rows of the grid are mixed
    variance = np.interp((exact * k).sum(), fitted.mean, fitted.variance)
    assert variance == pytest.approx((exact * (k - (exact * k).sum()) ** 2).sum(), rel=1e-4)


def test_sums_of_many_frames_with_few_counts_are_resolved() -> None:
    law = FittedLaw(ForwardModel(counting(SHAPE), Exposure(10e-6, 300)), 2.0)
    for mean in (0.03, 0.1, 1.0):
        pmf = law.histogram(law.row(np.array([mean])))
        assert np.abs(pmf[:9] - stats.poisson.pmf(np.arange(9), mean)).sum() / 2 < 2e-3  # so few are Poisson numbers
        assert law.spread(np.array([mean])) == pytest.approx(mean, rel=1e-2)


def test_a_large_table_has_fewer_rows() -> None:
    law = FittedLaw(ForwardModel(counting(SHAPE), Exposure(10e-6, 2000)), 1e5)
    assert law.mean[-1] > 1e5
    assert law._pmf.size < 1 << 23
    pmf = law.histogram(law.row(np.array([5e4])))
    k = np.arange(pmf.size)
    assert pmf @ k == pytest.approx(5e4, rel=1e-5)
    spread = law.spread(np.array([5e4]))[0]
    assert spread < pmf @ k**2 - (pmf @ k) ** 2 < 1.2 * spread  # two rows, 0.75 standard deviations apart, are mixed


def test_fitted_rates_give_the_mean_back() -> None:
    sensor = counting(SHAPE, trap_lifetime=80e-9, dark_count_rate=torch.full(SHAPE, 1e4), **AFTERPULSING)
    exposure, images = Exposure(10e-6, 4), 4000
    mean = np.geomspace(1, 300, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    mean[0, 0] = 0
    law = FittedLaw(ForwardModel(sensor, exposure), mean.max())
    counts = law.draw(law.rates(mean), images, seeded(6))
    z = (counts.mean(axis=0) - mean) / np.sqrt(np.maximum(law.spread(mean), 1e-3) / images)
    off = 0.05 * np.sqrt(images)  # the grid rounds rates by at most a twentieth of a standard deviation of the counts
    assert np.abs(z).max() < 4.5 + off
    assert abs(z.mean()) < 4.5 * np.sqrt((1 + off**2 / 3) / z.size)
    coupled = FittedLaw(ForwardModel(replace(sensor, crosstalk=0.005 * CROSS), exposure), mean.max())
    counts = coupled.draw(coupled.rates(mean), images, seeded(6))
    assert counts.mean(axis=0).sum() == pytest.approx(mean.sum(), rel=2e-3)  # 2 % of crosstalk, a tenth of it left


def test_memory_of_a_binary_stream_frame_by_frame() -> None:
    n, a, x = 3, 0.2, 0.5
    law = FittedLaw(ForwardModel(binary(SHAPE, afterpulse_probability=a), Exposure(10e-6, n)), n)
    p = -np.expm1(-x)
    step = np.array([[1 - p, p], [(1 - p) * (1 - a), 1 - (1 - p) * (1 - a)]])
    full = p / (1 - a * (1 - p))
    apart = [full * np.linalg.matrix_power(step, m)[1, 1] - full**2 for m in range(2 * n)]
    covariance = sum(apart[n + j - i] for i in range(n) for j in range(n))
    assert law.memory(law.row(np.array([n * full])))[0] == pytest.approx(covariance, rel=1e-4)


def test_pairs_are_the_pixels_they_are_called() -> None:
    rng, sensor = np.random.default_rng(7), counting((6, 6))
    for down, right, kind in ((0, 1, "nearest"), (1, 0, "nearest"), (1, 1, "diagonal"), (1, -1, "diagonal")):
        counts = rng.poisson(5.0, (400, 6, 6))
        counts[:, 3 + down, 3 + right] = counts[:, 3, 3]
        examiner = Examiner.of(counts, FittedLaw(ForwardModel(sensor, ONE_FRAME), 20), len(counts))
        names = [kind for kind, _ in examiner.names(counts.mean(axis=0))]
        seen = dict(zip(names, examiner.statistics(counts), strict=True))
        pairs = 2 * 5 * 6 if kind == "nearest" else 2 * 5 * 5
        assert seen[kind] == pytest.approx(1 / pairs, abs=4.5 / np.sqrt(400 * pairs))
        assert seen["far"] == pytest.approx(0, abs=4.5 / np.sqrt(400 * 9))


def test_runs_are_not_joined() -> None:
    sensor = counting((8, 8))
    counts = np.repeat(np.random.default_rng(8).poisson(5.0, (200, 8, 8)), 2, axis=0)  # each image twice
    pairs = checked(counts, sensor, 9, run=2).checks[-1]
    assert pairs.measured == pytest.approx(1, abs=0.05)
    assert checked(counts, sensor, 9).checks[-1].measured == pytest.approx(0.5, abs=0.05)


def test_a_line_of_pixels_has_no_diagonals() -> None:
    sensor = counting((1, 64))
    found = checked(np.random.default_rng(9).poisson(5.0, (100, 1, 64)), sensor, 9)
    assert {check.kind for check in found.checks} == {"histogram", "spread", "nearest", "far", "lag"}


def test_single_bits_are_refused() -> None:
    with pytest.raises(InputError, match="sum some"):
        goodness(np.ones((9, *SHAPE), np.uint8), ForwardModel(BINARY, ONE_FRAME), seeded())


@pytest.mark.parametrize("counts", [np.full((2, *SHAPE), 9), np.zeros((100, *SHAPE), dtype=int)])
def test_next_to_nothing_is_refused(counts: NDArray[np.integer]) -> None:
    with pytest.raises(InputError, match="record longer"):
        checked(counts, counting(SHAPE), 9)
