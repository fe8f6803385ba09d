"""What other devices run draws from the laws that the compiled loops draw from: compared on a CPU, by two samples."""

import numpy as np
import pytest
import torch
from laws_by_hand import CROSS, binary, counting, seeded
from scipy import stats

from noise_model import torch_sampling
from noise_model.crosstalk import Crosstalk
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from noise_model.tables import parts

SHAPE = (8, 8)
TRAPS = {"afterpulse_probability": 0.05, "trap_lifetime": 100e-9}
CASES = {
    "binary frames": (binary(SHAPE, crosstalk=0.01 * CROSS), Exposure(1e-6), 0.3),
    "binary sums": (binary(SHAPE, afterpulse_probability=0.05, crosstalk=0.01 * CROSS), Exposure(1e-6, 200), 0.3),
    "counting frames": (counting(SHAPE, crosstalk=0.01 * CROSS, **TRAPS), Exposure(875e-9), 6.0),
    "long sums": (counting(SHAPE, crosstalk=0.01 * CROSS), Exposure(10.4e-6, 400), 60.0),
    "long sums of dim pixels": (counting(SHAPE), Exposure(10.4e-6, 400), 0.5),
    "parts": (counting(SHAPE, dead_time=0.0), Exposure(1e-3, 200), 100.0),
}


@pytest.mark.parametrize(("sensor", "exposure", "x"), CASES.values(), ids=CASES)
def test_both_draw_the_same_counts(sensor: Sensor, exposure: Exposure, x: float) -> None:
    """Kolmogorov and Smirnov's test and Levene's for the spread, and the covariance of neighbours; 2000 images."""
    rate = torch.full((2000, *SHAPE), x / exposure.count_time)
    model = ForwardModel(sensor, exposure)
    compiled = model.sample(rate, seeded(1)).numpy()
    law, crosstalk = list(parts(model.process, rate.device)), Crosstalk.of(model.process, sensor.crosstalk)
    firing = sensor.firing_rate(rate) * exposure.count_time
    drawn = torch_sampling.draw_counts(firing, law, crosstalk, seeded(2)).numpy()
    assert stats.ks_2samp(compiled.ravel(), drawn.ravel()).pvalue > 1e-4
    assert stats.levene(compiled.ravel(), drawn.ravel()).pvalue > 1e-4
    beside, error = neighbours(compiled - compiled.mean())
    other, other_error = neighbours(drawn - drawn.mean())
    assert beside == pytest.approx(other, abs=4.5 * np.hypot(error, other_error))


def neighbours(counts: np.ndarray) -> tuple[float, float]:
    """Covariance along rows, and its standard error over images."""
    each = (counts[:, :, 1:] * counts[:, :, :-1]).mean(axis=(1, 2))
    return float(each.mean()), float(each.std() / np.sqrt(len(each)))


def test_one_seed_one_answer() -> None:
    sensor, exposure, x = CASES["counting frames"]
    process, rate = ForwardModel(sensor, exposure).process, torch.full((5, *SHAPE), x)
    law, crosstalk = list(parts(process, torch.device("cpu"))), Crosstalk.of(process, sensor.crosstalk)
    draws = [torch_sampling.draw_counts(rate, law, crosstalk, seeded(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
