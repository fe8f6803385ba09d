"""Afterpulsing and dead time of simulated arrays come back; what the flats cannot tell is said to be unknown."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gathered import binary_array, counting_array, guess, recorded, simulated
from hypothesis import given
from hypothesis import strategies as st
from laws_by_hand import SIGMAS, chain_pmf, dead_time_pmf

from noise_model.calibration.dispersion import binary_variance, counting_variance
from noise_model.calibration.pooling import WIDTH_95
from noise_model.calibration.pulses import AFTERPULSING_DECIDED, afterpulsing, dead_time
from noise_model.calibration.streams import StreamStatistics, gather
from noise_model.estimates import Estimate
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure

TRAPS = {"afterpulse_probability": 0.04, "trap_lifetime": 1e-7}


def error(estimate: Estimate) -> float:
    """Standard error, of an interval that 0 does not cut off."""
    return (estimate.high - estimate.low) / (2 * WIDTH_95)


def check_estimate(estimate: Estimate, true: float, most: float) -> None:
    """Within 4.5 standard errors, which are not larger than `most`."""
    assert estimate.measured, estimate.remark
    assert error(estimate) <= most
    assert estimate.value == pytest.approx(true, abs=SIGMAS * error(estimate))


def chain(p: float, a: float, images: int, shape: tuple[int, int], cycles: int = 1) -> np.ndarray:
    """(T, H, W) sums of consecutive frames of independent pixels with afterpulses."""
    rng = np.random.default_rng(11)
    counts, fired = np.zeros((images, *shape), dtype=np.uint8), np.zeros(shape, dtype=bool)
    for image in counts:
        for _ in range(cycles):
            fired = (rng.random(shape, dtype=np.float32) < p) | fired & (rng.random(shape, dtype=np.float32) < a)
            image += fired
    return counts


@pytest.mark.parametrize("p", [0.05, 0.4])
def test_binary_frames(p: float) -> None:
    """20,000 frames, 30x30: the error is that of 18 million pairs of frames and of the lags that are compared."""
    array = binary_array(p, (30, 30), afterpulse_probability=0.01)
    found = afterpulsing([simulated(array, 20_000)], guess((30, 30), afterpulse_probability=0.002))
    check_estimate(found, 0.01, most=1.1 * math.sqrt(1.25 / 18e6) / (1 - p))
    assert found.remark == "correlation of successive frames"


@pytest.mark.parametrize(("p", "cycles"), [(0.1, 16), (0.4, 50), (0.3, 2)])
def test_sums_of_binary_frames(p: float, cycles: int) -> None:
    array = binary_array(p, (32, 32), afterpulse_probability=0.03)
    found = afterpulsing([simulated(array, 2000, cycles)], guess((32, 32)))
    most = math.sqrt(2 / (2000 * 1024)) / (2 * (1 - 1 / cycles) * (1 - p))
    check_estimate(found, 0.03, most=1.2 * most)


def test_frames_and_sums_together() -> None:
    array = binary_array(0.1, (32, 32), afterpulse_probability=0.02)
    flats = [simulated(array, 6000), simulated(array, 2000, 8, seed=2)]
    sensor = guess((32, 32))
    each = [error(afterpulsing([flat], sensor)) for flat in flats]
    found = afterpulsing(flats, sensor)
    check_estimate(found, 0.02, most=1.001 / math.hypot(1 / each[0], 1 / each[1]))


def test_without_afterpulses_the_interval_reaches_zero() -> None:
    for array, images, cycles in ((binary_array(0.1, (32, 32)), 4000, 1), (binary_array(0.2, (32, 32)), 2000, 8)):
        found = afterpulsing([simulated(array, images, cycles, seed=3)], guess((32, 32)))
        assert found.measured
        assert found.low == 0
        assert 0 < found.high < 2 * AFTERPULSING_DECIDED


def test_crosstalk_is_no_afterpulse() -> None:
    """Five in a hundred avalanches fire a neighbour, in the same frame."""
    kernel = np.zeros((3, 3))
    kernel[1, 0] = kernel[1, 2] = 0.025
    array = binary_array(0.1, (32, 32), afterpulse_probability=0.01, crosstalk=kernel)
    check_estimate(afterpulsing([simulated(array, 12_000)], guess((32, 32))), 0.01, most=4e-4)


def test_pixels_that_blink_and_light_that_drifts() -> None:
    """The light falls by 4 % while it is recorded; 1 % of the pixels are on for half of the time."""
    counts = chain(0.1, 0.01, 8000, (32, 32))
    rng = np.random.default_rng(12)
    counts &= rng.random(counts.shape, dtype=np.float32) < np.linspace(1, 0.96, 8000, dtype=np.float32)[:, None, None]
    for pixel in range(0, 1024, 100):
        row, column = divmod(pixel, 32)
        counts[:, row, column] |= np.repeat(rng.random(8) < 0.5, 1000)
    found = afterpulsing([gather(recorded(counts))], guess((32, 32)))
    check_estimate(found, 0.01 * 0.98, most=6e-4)  # light is taken off after the trap here: 2 % of the pulses too


def test_light_that_fluctuates_widens_no_sums() -> None:
    """By 3 % from image to image: taken for afterpulses, it would be 5 % of them."""
    rng = np.random.default_rng(13)
    light = 1 + 0.03 * rng.standard_normal((3000, 1, 1))
    counts = rng.binomial(100, 0.5 * light, size=(3000, 24, 24)).astype(np.uint8)
    found = afterpulsing([gather(recorded(counts, cycles=100))], guess((24, 24)))
    assert found.low == 0
    assert found.high < 0.01


def test_many_afterpulses_are_believed_sooner() -> None:
    """8 % from as few frames as leave less to the sensor's own number."""
    sensor, images = guess((16, 16), afterpulse_probability=0.002), 800
    many, few = (afterpulsing([gather(recorded(chain(0.1, a, images, (16, 16))))], sensor) for a in (0.08, 0.005))
    check_estimate(many, 0.08, most=4e-3)
    assert not few.measured


def test_too_few_binary_frames() -> None:
    flat = gather(recorded(chain(0.1, 0.01, 800, (16, 16))))
    found = afterpulsing([flat], guess((16, 16), afterpulse_probability=0.002))
    assert not found.measured
    assert found.value == 0.002
    assert "800 frames" in found.remark
    needed = int(found.remark.split("about ")[1].split()[0])
    assert 1000 < needed < 10_000
    enough = gather(recorded(chain(0.1, 0.01, needed + needed // 5, (16, 16))))
    assert afterpulsing([enough], guess((16, 16))).measured


def test_a_recording_without_long_lags() -> None:
    found = afterpulsing([gather(recorded(chain(0.1, 0.01, 100, (16, 16))))], guess((16, 16)))
    assert not found.measured
    assert (found.low, found.high) == (0, 1)
    assert "more than 128 images" in found.remark


@pytest.fixture(scope="module")
def counted() -> list[StreamStatistics]:
    """Flats of a counting array at loads of 5, 20 and 50 %, frames of 104 dead times, four summed; 16,000, 8000 and
    3000 counts per pixel."""
    exposures = ((0.05, 800), (0.2, 100), (0.5, 15))
    return [simulated(counting_array(load, (32, 32), 5.2e-6, **TRAPS), n, 4) for load, n in exposures]


def told(flat: StreamStatistics) -> StreamStatistics:
    """With the dead time in its header."""
    return replace(flat, dead_time=50e-9)


def test_afterpulses_of_a_counting_array(counted: list[StreamStatistics]) -> None:
    """The dead time is known; the trap lifetime is taken from the sensor."""
    found = afterpulsing([told(counted[0])], guess((32, 32), 9, dead_time=1e-6, trap_lifetime=1e-7))
    check_estimate(found, 0.04, most=1.2 * math.sqrt(2 / (800 * 1024)) / (2 * math.exp(-0.5)))
    assert "trap lifetime of 100 ns" in found.remark


def test_dead_time_of_a_counting_array(counted: list[StreamStatistics]) -> None:
    """From a guess of 30 ns, or of 150 ns, with which the pixels would seem blind all the time."""
    found = dead_time(counted, guess((32, 32), 9, dead_time=30e-9, trap_lifetime=1e-7))
    check_estimate(found, 50e-9, most=1e-9)
    assert found.value == pytest.approx(50e-9, rel=0.02)
    bright = dead_time(counted[2:], guess((32, 32), 9, dead_time=150e-9, trap_lifetime=1e-7))
    check_estimate(bright, 50e-9, most=1e-9)


def test_dead_time_and_afterpulses_are_told_apart_by_several_fluxes(counted: list[StreamStatistics]) -> None:
    sensor = guess((32, 32), 9, dead_time=30e-9, trap_lifetime=1e-7)
    check_estimate(afterpulsing(counted, sensor), 0.04, most=2e-3)
    one = afterpulsing(counted[:1], sensor)
    assert not one.measured
    assert "two fluxes" in one.remark


def test_dead_time_from_the_header(counted: list[StreamStatistics]) -> None:
    found = dead_time([told(flat) for flat in counted], guess((32, 32), 9, dead_time=30e-9))
    assert found == Estimate(50e-9, 50e-9, 50e-9, True, "from the header")


def test_a_binary_array_has_no_dead_time() -> None:
    assert dead_time([], guess((4, 4))).value == 0


@pytest.mark.parametrize("bits", [1, 9])
def test_flats_in_which_nothing_varies(bits: int) -> None:
    still = gather(recorded(np.ones((200, 8, 8), dtype=np.uint8), cycles=1, bits=bits))
    sensor = guess((8, 8), bits, dead_time=4e-8 * (bits > 1), trap_lifetime=1e-7, afterpulse_probability=0.01)
    assert not afterpulsing([still], sensor).measured
    assert afterpulsing([still], sensor).value == 0.01
    assert dead_time([still], sensor).value == sensor.dead_time


def test_dim_light_does_not_tell_the_dead_time() -> None:
    """At a load of 1 % it hardly narrows the counts."""
    flat = simulated(counting_array(0.01, (16, 16), 2e-6), 1000)
    found = dead_time([flat], guess((16, 16), 9, dead_time=80e-9, trap_lifetime=1e-7))
    assert not found.measured
    assert found.value == 80e-9
    assert "about 7.5 counts per frame" in found.remark
    assert found.low <= 50e-9 <= found.high


def test_afterpulses_of_a_counter_need_a_trap_lifetime(counted: list[StreamStatistics]) -> None:
    found = afterpulsing(counted, guess((32, 32), 9, dead_time=50e-9, afterpulse_probability=0.01))
    assert not found.measured
    assert found.value == 0.01
    assert "trap lifetime" in found.remark


@given(st.floats(0.01, 0.95), st.floats(0, 0.3), st.integers(1, 40))
def test_variance_of_binary_sums(p: float, a: float, n: int) -> None:
    """Against the law, frame by frame."""
    pmf, k = chain_pmf(p, a, n), np.arange(n + 1)
    mean = pmf @ k
    sensor = guess((1, 1), dead_time=0.0, afterpulse_probability=a)
    found = binary_variance(np.array([mean / n]), ForwardModel(sensor, Exposure(1e-5, n)))
    assert found == pytest.approx(pmf @ (k - mean) ** 2)


@pytest.mark.parametrize("b", [1 / 17.5, 1 / 208])
@pytest.mark.parametrize(("low", "high"), [(0.01, 0.1), (0.2, 0.4), (0.7, 0.8)])
def test_variance_of_counting_frames(b: float, low: float, high: float) -> None:
    """Against the closed form without afterpulses, for pixels of loads from low to high."""
    laws = [dead_time_pmf(load / (1 - load) / b, b) for load in np.linspace(low, high, 15)]
    means = np.array([law @ np.arange(law.size) for law in laws])
    expected = [law @ (np.arange(law.size) - mean) ** 2 for law, mean in zip(laws, means, strict=True)]
    sensor = guess((1, 1), 9, dead_time=b, afterpulse_probability=0.0, trap_lifetime=1e-7)
    found = counting_variance(means, ForwardModel(sensor, Exposure(1.0, 3)))
    assert found == pytest.approx(3 * np.array(expected), rel=1e-4)


def test_negative_afterpulses_narrow_as_positive_ones_widen() -> None:
    """So that an estimate near 0 is right on average."""
    sensor, mean = guess((1, 1), 9, dead_time=5e-8, trap_lifetime=1e-7), np.array([3.0, 3.1])
    models = (ForwardModel(replace(sensor, afterpulse_probability=a), Exposure(1e-6)) for a in (-0.01, 0.0, 0.01))
    less, none, more = (counting_variance(mean, model) for model in models)
    assert less + more == pytest.approx(2 * none)
    assert (more > none).all()


def test_masked_pixels_are_left_out() -> None:
    """Most of them repeat every frame, which looks like afterpulses of 50 %."""
    counts = chain(0.1, 0.01, 6000, (24, 24))
    counts[1::2, 8:] = counts[::2, 8:]
    mask = torch.zeros(24, 24, dtype=torch.int32)
    mask[8:] = 8
    flat = gather(recorded(counts))
    check_estimate(afterpulsing([flat], guess((24, 24), pixel_mask=mask)), 0.01, most=1.2e-3)
    assert afterpulsing([flat], guess((24, 24))).value > 0.3
