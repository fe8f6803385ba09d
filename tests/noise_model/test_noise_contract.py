"""What every effect of a sensor keeps to, whatever it does to the counts."""

from collections.abc import Callable

import pytest
import torch
from laws_by_hand import CROSS, binary, counting, seeded

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor

SHAPE = (6, 10)
EXPOSURE = {"binary": Exposure(10e-6, 16), "counting": Exposure(875e-9, 4)}
BRIGHT = {"binary": 0.7, "counting": 6.0}  # detections per frame of the brightest pixel
MAP = torch.linspace(0.3, 0.7, 60).reshape(SHAPE)
EFFECTS: dict[str, dict[str, dict[str, object]]] = {
    "shot noise": {"binary": {}, "counting": {"dead_time": 0.0}},
    "PDE map": {"binary": {"pde": MAP}, "counting": {"pde": MAP}},
    "dark counts": {"binary": {"dark_count_rate": 3e4 * MAP}, "counting": {"dark_count_rate": 1e6 * MAP}},
    "dead time": {"counting": {}},
    "afterpulsing": {
        "binary": {"afterpulse_probability": 0.02},
        "counting": {"afterpulse_probability": 0.02, "trap_lifetime": 100e-9},
    },
    "crosstalk": {"binary": {"crosstalk": 0.01 * CROSS}, "counting": {"crosstalk": 0.01 * CROSS}},
    "counter saturation": {"counting": {"counter_bits": 3}},
    "counter wrap": {"counting": {"counter_bits": 4, "counter_wraps": True}},
    "quantisation": {"binary": {}, "counting": {}},
}
CASES = [(effect, kind) for effect, kinds in EFFECTS.items() for kind in kinds]
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()

Case = tuple[Sensor, Exposure, torch.Tensor]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case).replace(" ", "_"))
def case(request: pytest.FixtureRequest) -> Case:
    """A sensor with one effect, an exposure, and rates (H, W) from dark to bright."""
    effect, kind = request.param
    make: Callable[..., Sensor] = {"binary": binary, "counting": counting}[kind]
    exposure = Exposure(EXPOSURE[kind].count_time, 7) if effect == "quantisation" else EXPOSURE[kind]
    rate = torch.linspace(0, BRIGHT[kind], 60).reshape(SHAPE) / exposure.count_time
    return make(SHAPE, **EFFECTS[effect][kind]), exposure, rate


def test_counts_are_whole_and_within_bounds(case: Case) -> None:
    sensor, exposure, rate = case
    counts = ForwardModel(sensor, exposure).sample((20 * rate).expand(50, *SHAPE), seeded())
    assert counts.dtype == torch.int32
    assert counts.min() >= 0
    assert counts.max() <= sensor.saturation_value(exposure.cycles)


@pytest.mark.parametrize("leading", [(), (1,), (5,), (2, 3), (0,)])
def test_counts_have_the_shape_of_the_rates(case: Case, leading: tuple[int, ...]) -> None:
    sensor, exposure, rate = case
    assert ForwardModel(sensor, exposure).sample(rate.expand(*leading, *SHAPE), seeded()).shape == (*leading, *SHAPE)


def test_one_seed_one_answer(case: Case) -> None:
    sensor, exposure, rate = case
    first, again, other = (ForwardModel(sensor, exposure).sample(rate, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_of_equal_sensors_is_one_sensor(case: Case) -> None:
    sensor, exposure, rate = case
    batch = Sensor(**(vars(sensor) | {name: getattr(sensor, name).expand(4, *SHAPE) for name in MAPS}))
    rate = rate.expand(4, *SHAPE)
    assert torch.equal(*(ForwardModel(one, exposure).sample(rate, seeded()) for one in (sensor, batch)))


def test_leading_dimensions_are_only_a_shape(case: Case) -> None:
    sensor, exposure, rate = case
    model = ForwardModel(sensor, exposure)
    flat = model.sample(rate.expand(6, *SHAPE), seeded())
    assert torch.equal(flat.reshape(2, 3, *SHAPE), model.sample(rate.expand(2, 3, *SHAPE), seeded()))


def test_the_rates_are_left_alone(case: Case) -> None:
    sensor, exposure, rate = case
    before = rate.clone()
    ForwardModel(sensor, exposure).sample(rate, seeded())
    assert torch.equal(rate, before)


def test_more_light_more_counts(case: Case) -> None:
    """Means of 12,000 draws; twice the light adds more than 20 standard errors in every case."""
    sensor, exposure, _ = case
    bright = 0.5 * (exposure.count_time < 1e-6) + 0.05
    levels = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0])[:, None, None, None] * bright / exposure.count_time
    counts = ForwardModel(sensor, exposure).sample(levels.expand(5, 200, *SHAPE), seeded())
    means = counts.double().mean(dim=(1, 2, 3))
    assert (means.diff() > 0.05).all(), means


@pytest.mark.parametrize("device", DEVICES)
def test_counts_come_on_the_device_of_the_rates(case: Case, device: str) -> None:
    sensor, exposure, rate = case
    generator = torch.Generator(device).manual_seed(0)
    counts = ForwardModel(sensor.to(device), exposure).sample(rate.to(device), generator)
    assert counts.device.type == device


MAPS = ("pde", "dark_count_rate")
