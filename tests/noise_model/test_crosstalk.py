"""The crosstalk kernel of simulated arrays comes back, and of nothing comes nothing."""

import numpy as np
import pytest
import torch
from gathered import binary_array, counting_array, guess, recorded, simulated
from laws_by_hand import SIGMAS

from noise_model.calibration.crosstalk import DECIDED, crosstalk_kernel
from noise_model.calibration.pooling import WIDTH_95, common_mode
from noise_model.calibration.streams import gather

NEAREST = ([1, 2, 2, 3], [2, 1, 3, 2])
DIAGONAL = ([1, 1, 3, 3], [1, 3, 1, 3])
TWO_AWAY = ([0, 2, 2, 4], [2, 0, 4, 2])


def typical() -> np.ndarray:
    """(5, 5) of an array of 500 um pitch."""
    kernel = np.zeros((5, 5))
    kernel[NEAREST], kernel[DIAGONAL], kernel[TWO_AWAY] = 1e-3, 1.6e-4, 1.5e-5
    return kernel


def errors(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (high - low) / (2 * WIDTH_95)


def middle(found: tuple) -> np.ndarray:
    """The estimate itself, also where it is below 0 or not believed."""
    return (found[1] + found[2]) / 2


def check_kernel(found: tuple, true: np.ndarray, slack: float = 0.0) -> None:
    """Within 4.5 standard errors, and a share of the nearest neighbours' crosstalk, everywhere."""
    away = np.abs(middle(found) - true)
    assert (away <= SIGMAS * errors(*found[1:3]) + slack * true.max()).all(), middle(found)


def test_one_flat_of_a_binary_array() -> None:
    """60,000 frames of 64x32 at p = 0.1: the nearest neighbours' 1e-3 to 5 % each way, better than 10 % on average."""
    true = typical()
    flat = simulated(binary_array(0.1, (64, 32), crosstalk=true), 60_000)
    value, low, high, measured, remark = found = crosstalk_kernel([flat], guess((64, 32)))
    assert measured
    check_kernel(found, true)
    assert value[NEAREST].mean() == pytest.approx(1e-3, rel=0.1)
    assert errors(low, high)[NEAREST] == pytest.approx(5.7e-5, rel=0.1)
    assert "60000 frames" in remark
    assert (value >= 0).all()


def test_binary_sums_with_afterpulses() -> None:
    """Whose correlation adds a fifth to the covariance of sums."""
    true = 10 * typical()
    array = binary_array(0.2, (32, 32), crosstalk=true, afterpulse_probability=0.08)
    found = crosstalk_kernel([simulated(array, 8000, frames=4)], guess((32, 32), afterpulse_probability=0.08))
    check_kernel(found, true, slack=0.02)
    error = errors(*found[1:3])[NEAREST].mean()
    assert error < 0.03 * 1e-2
    assert middle(found)[NEAREST].mean() == pytest.approx(1e-2, abs=SIGMAS * error / 2, rel=0.02)


def test_paths_over_a_third_pixel_are_taken_out() -> None:
    """Without, nearest neighbours of 4e-2 would show diagonal ones of 4e-3 and half as much two pixels away."""
    true = np.zeros((5, 5))
    true[NEAREST] = 0.04
    found = crosstalk_kernel([simulated(binary_array(0.1, (40, 40), crosstalk=true), 8000)], guess((40, 40)))
    check_kernel(found, true, slack=0.02)
    error = errors(*found[1:3])[NEAREST].mean()
    assert abs(middle(found)[DIAGONAL].mean()) < SIGMAS * error + 5e-4
    assert abs(middle(found)[TWO_AWAY].mean()) < SIGMAS * error + 2.5e-4
    assert error < 2.5e-4  # so that the paths would show


def test_counting_array() -> None:
    """A dead time of a seventeenth of the frame, which blinds the pixels for a third of it."""
    true = 20 * typical()
    array = counting_array(0.3, (32, 32), 875e-9, crosstalk=true, afterpulse_probability=0.02, trap_lifetime=1e-7)
    sensor = guess((32, 32), 9, dead_time=50e-9, afterpulse_probability=0.02, trap_lifetime=1e-7)
    check_kernel(crosstalk_kernel([simulated(array, 1500)], sensor), true, slack=0.03)


def test_flats_are_joined() -> None:
    """Two flats of different light: the error is that of both."""
    true = 10 * typical()
    flats = [simulated(binary_array(p, (24, 24), crosstalk=true), 6000, seed=seed) for seed, p in ((1, 0.1), (2, 0.4))]
    sensor = guess((24, 24))
    each = [errors(*crosstalk_kernel([flat], sensor)[1:3]) for flat in flats]
    together = crosstalk_kernel(flats, sensor)
    assert errors(*together[1:3])[NEAREST] == pytest.approx(sum(one[NEAREST] ** -2 for one in each) ** -0.5)
    check_kernel(together, true, slack=0.02)


def flashes(images: int, shape: tuple[int, int], p: np.ndarray | float) -> np.ndarray:
    """(T, H, W) frames of independent pixels that fire with chance p."""
    return (np.random.default_rng(3).random((images, *shape), dtype=np.float32) < p).astype(np.uint8)


def test_light_that_fluctuates_is_no_crosstalk() -> None:
    """By 15 % from frame to frame: as much covariance as crosstalk of 1.5e-3, in all pairs alike."""
    light = 1 + 0.15 * np.random.default_rng(4).standard_normal((12_000, 1, 1))
    flat = gather(recorded(flashes(12_000, (40, 40), 0.1 * light)))
    sensor = guess((40, 40))
    found = crosstalk_kernel([flat], sensor)
    check_kernel(found, np.zeros((5, 5)))
    shared = common_mode(flat, sensor.good.numpy())
    assert shared.value == pytest.approx(0.15**2, abs=SIGMAS * shared.error)
    error = errors(*found[1:3])[NEAREST].mean()
    assert 0.1 * shared.value / (2 * 0.9**2) > 10 * error


def test_a_few_pixels_that_blink_together_are_left_out() -> None:
    """Unmasked, a square of 4 by 4 that goes on and off by itself would be crosstalk of 2e-2 on average."""
    counts = flashes(6000, (32, 32), 0.1)
    counts[3000:, 10:14, 10:14] = 1
    check_kernel(crosstalk_kernel([gather(recorded(counts))], guess((32, 32))), np.zeros((5, 5)))


def test_masked_pixels_are_left_out() -> None:
    """Most of the array, too many for outliers: rows that fire alike."""
    counts = flashes(4000, (24, 24), 0.1)
    counts[:, 9:] = counts[:, 9:10]
    mask = torch.zeros(24, 24, dtype=torch.int32)
    mask[9:] = 8
    flat = gather(recorded(counts))
    check_kernel(crosstalk_kernel([flat], guess((24, 24), pixel_mask=mask)), np.zeros((5, 5)))
    assert crosstalk_kernel([flat], guess((24, 24)))[2].max() > 0.01


def test_crosstalk_one_way_is_seen_half_from_either_side() -> None:
    lit = flashes(8000, (30, 30), 0.1)
    fired = np.random.default_rng(5).random(lit.shape, dtype=np.float32) < 0.04
    counts = lit.copy()
    counts[:, :, 1:] |= lit[:, :, :-1] & fired[:, :, 1:]
    found = crosstalk_kernel([gather(recorded(counts))], guess((30, 30)))
    assert np.allclose(middle(found), middle(found)[::-1, ::-1])
    assert middle(found)[2, 1] == pytest.approx(0.02, abs=SIGMAS * errors(*found[1:3])[2, 1] + 0.02 * 0.02)


@pytest.mark.parametrize(("size", "middle"), [(3, slice(1, 2)), (5, slice(0, 5)), (7, slice(0, 5))])
def test_too_few_frames_leave_the_kernel_of_the_sensor(size: int, middle: slice) -> None:
    kernel = torch.zeros(size, size)
    kernel[size // 2, size // 2 + 1] = 1e-3
    flat = gather(recorded(flashes(300, (16, 16), 0.1)))
    value, low, high, measured, remark = crosstalk_kernel([flat], guess((16, 16), crosstalk=kernel))
    assert not measured
    assert value.shape == (5, 5)
    assert value[2, 3] == pytest.approx(1e-3)
    assert value.sum() == pytest.approx(1e-3)
    assert (high - low)[NEAREST].max() / 2 > DECIDED
    assert "300 frames" in remark


def test_the_frames_asked_for_would_do() -> None:
    """With as many as the remark says, the kernel is measured."""
    flat = gather(recorded(flashes(1500, (40, 40), 0.1)))
    *_, measured, remark = crosstalk_kernel([flat], guess((40, 40)))
    assert not measured
    needed = int(remark.split("about ")[1].split()[0])
    assert 2000 < needed < 40_000
    assert crosstalk_kernel([gather(recorded(flashes(needed + needed // 10, (40, 40), 0.1)))], guess((40, 40)))[3]


def test_no_neighbours() -> None:
    *_, measured, remark = crosstalk_kernel([gather(recorded(flashes(50, (1, 1), 0.3)))], guess((1, 1)))
    assert not measured
    assert "no two neighbours" in remark
