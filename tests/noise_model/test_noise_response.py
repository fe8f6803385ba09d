"""The inverse response: it undoes the forward one, is right on average, and knows how sure it is."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws_by_hand import CROSS, binary, counting, rates, seeded

from noise_model.forward_model import SATURATED_LOAD, ForwardModel
from noise_model.sensor import Exposure, Sensor

SHAPE = (12, 12)
CYCLES = st.sampled_from([1, 2, 16, 256, 1000])
MAP = torch.linspace(0.3, 0.7, 144).reshape(SHAPE)
BARE = st.just(torch.zeros(1, 1))


def sensors(make: type, lifetime: float, crosstalk: st.SearchStrategy[torch.Tensor]) -> st.SearchStrategy[Sensor]:
    """Sensors with a PDE map, dark counts and up to 2 % of afterpulses."""
    return st.builds(
        lambda a, dark, kernel: make(
            SHAPE,
            pde=MAP,
            dark_count_rate=dark * MAP,
            afterpulse_probability=a,
            trap_lifetime=lifetime,
            crosstalk=kernel,
        ),
        st.floats(0, 0.02),
        st.floats(0, 1e4),
        crosstalk,
    )


def there_and_back(x: float, exposure: Exposure, sensor: Sensor) -> torch.Tensor:
    """What comes back of 1 when a rate of x detections a frame makes its mean counts."""
    rate, model = rates(x, exposure, SHAPE), ForwardModel(sensor, exposure)
    back, _ = model.detection_rate(model.expected_counts(rate))
    return back / rate


@given(st.floats(0.01, 2.0), CYCLES.filter(lambda n: n > 4), sensors(binary, 0.0, BARE))
def test_binary_round_trip(x: float, cycles: int, sensor: Sensor) -> None:
    """To 0.01 %, float32."""
    assert torch.allclose(there_and_back(x, Exposure(1e-5, cycles), sensor), torch.ones(SHAPE), rtol=0, atol=1e-4)


@given(st.floats(0.05, 100.0), CYCLES, sensors(counting, 1e-7, BARE))
def test_counting_round_trip(x: float, cycles: int, sensor: Sensor) -> None:
    """To 0.1 %, up to six times the rate at which half the time is dead."""
    assert torch.allclose(there_and_back(x, Exposure(875e-9, cycles), sensor), torch.ones(SHAPE), rtol=0, atol=1e-3)


@given(
    st.floats(0.01, 1.5),
    st.sampled_from([(binary, 0.0, Exposure(1e-5, 64)), (counting, 1e-7, Exposure(875e-9, 4))]),
    st.floats(1e-4, 3e-3),
)
def test_crosstalk_comes_out_to_second_order(x: float, kind: tuple[type, float, Exposure], c: float) -> None:
    """The neighbours' own crosstalk is left: the square of their total chance, and an edge that has fewer of them."""
    make, lifetime, exposure = kind
    sensor = make(SHAPE, afterpulse_probability=0.01, trap_lifetime=lifetime, crosstalk=c * CROSS)
    assert torch.allclose(there_and_back(x, exposure, sensor), torch.ones(SHAPE), rtol=0, atol=3e-4 + 3 * (4 * c) ** 2)


CAMERAS = {
    "binary": (binary(), Exposure(1e-5, 256), (0.02, 0.2, 1.0)),
    "binary with afterpulses": (binary(afterpulse_probability=0.05), Exposure(1e-5, 256), (0.05, 0.2, 1.0)),
    "few bits": (binary(), Exposure(1e-5, 32), (0.2, 0.5)),
    "one counting frame": (counting(), Exposure(875e-9), (8.0, 17.5)),
    "counting": (counting(), Exposure(875e-9, 64), (0.1, 4.0, 40.0)),
    "counting with afterpulses": (
        counting(afterpulse_probability=0.02, trap_lifetime=1e-7),
        Exposure(875e-9, 64),
        (0.1, 4.0, 40.0),
    ),
    "no dead time": (counting(dead_time=0.0), Exposure(1e-6, 4), (3.0, 100.0)),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_rates_are_right_on_average_and_so_is_their_sd(name: str) -> None:
    """200,000 captures each with at least 5 counts a pixel: standard deviation within 10 % of its mean estimate; mean
    within a tenth of it, and the share b / N that the bend of the dead-time inverse adds to any rate."""
    sensor, exposure, levels = CAMERAS[name]
    model = ForwardModel(sensor, exposure)
    for x in levels:
        answer, sd = model.detection_rate(model.sample(rates(x, exposure), seeded()))
        answer, sd, true = answer.double(), sd.double(), x / exposure.count_time
        bend = true * sensor.dead_time / (exposure.count_time * exposure.cycles)
        assert answer.mean().item() == pytest.approx(true + bend, abs=0.1 * answer.std().item()), x
        assert sd.mean().item() == pytest.approx(answer.std().item(), rel=0.1), x


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("share", [0.0, 1.0], ids=["no counts", "saturated"])
def test_the_ends_are_finite(name: str, share: float) -> None:
    sensor, exposure, _ = CAMERAS[name]
    counts = torch.full((400, 500), round(share * sensor.saturation_value(exposure.cycles)), dtype=torch.int32)
    rate, sd = ForwardModel(sensor, exposure).detection_rate(counts)
    assert rate.isfinite().all()
    assert sd.isfinite().all()
    assert (sd > 0).all()
    assert rate.shape == sd.shape == counts.shape
    if share == 0:
        assert rate.abs().max() < 1e-3 / exposure.count_time
    elif sensor.dead_time > 0:
        assert 10 < rate.max().item() * sensor.dead_time <= SATURATED_LOAD / (1 - SATURATED_LOAD)


@pytest.mark.parametrize("kind", ["binary", "counting"])
def test_more_counts_more_rate(kind: str) -> None:
    sensor, exposure, _ = CAMERAS[kind]
    most = 256 if kind == "binary" else math.floor(SATURATED_LOAD * 17.5 * 64)
    counts = torch.arange(most + 1)[:, None, None]
    rate, _ = ForwardModel(replace(sensor, **uniform_maps((1, 1))), exposure).detection_rate(counts)
    assert (rate.diff(dim=0) > 0).all()


def uniform_maps(shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    return {"pde": torch.full(shape, 0.5), "dark_count_rate": torch.zeros(shape)}


@pytest.mark.parametrize("make", [binary, counting])
def test_the_maps_are_taken_out(make: type) -> None:
    """A flat field through a PDE map from 0.3 to 0.7 and a dark ramp comes back flat: 2,000 captures, each pixel within
    5 standard errors; dark pixels come back at zero on average, so some are below."""
    exposure = Exposure(1e-6, 256)
    sensor = make(SHAPE, pde=MAP, dark_count_rate=2e5 * MAP.flip(0))
    for x in (0.0, 0.1):
        counts = ForwardModel(sensor, exposure).sample(rates(x, exposure, (2000, *SHAPE)), seeded())
        rate, sd = ForwardModel(sensor, exposure).detection_rate(counts)
        error = (rate.mean(dim=0) - x / exposure.count_time).abs() / (sd.mean(dim=0) / math.sqrt(2000))
        assert error.max() < 5.0
        assert x > 0 or (rate < 0).any()


def test_a_leading_shape_changes_nothing() -> None:
    sensor, exposure, _ = CAMERAS["binary"]
    counts = torch.randint(0, 256, (2, 3, 400, 500), generator=seeded(), dtype=torch.int32)
    rate, sd = ForwardModel(sensor, exposure).detection_rate(counts)
    one, its_sd = ForwardModel(sensor, exposure).detection_rate(counts[1, 2])
    assert torch.equal(rate[1, 2], one)
    assert torch.equal(sd[1, 2], its_sd)


def test_the_apparent_rate_of_blinding_light_is_finite() -> None:
    """A binary pixel that stays dark once in 10^11 frames has a rate still; what never does has a large one."""
    sensor = Sensor("binary", torch.ones(1, 4), torch.zeros(1, 4), 0.0, 1)
    photons = torch.tensor([[0.5, 17.5, 25.0, 500.0]])
    apparent = ForwardModel(sensor, Exposure(1.0)).apparent_rate(photons, 0.0)
    assert apparent.dtype == torch.float32
    torch.testing.assert_close(apparent[:, :3], photons[:, :3], rtol=1e-3, atol=0)
    assert 27 < float(apparent[0, 3]) < 30
