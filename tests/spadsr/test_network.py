"""The network: shapes, budget, where it starts, and what its answers depend on."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks.enlargement import limited_bicubic
from spadsr.networks.gated_fusion import GatedFusionConfig, GatedFusionTransformer, Part
from spadsr.networks.measurement import SCALES, Measurement, measure
from spadsr.training.recipe import load_recipe

PARTS: tuple[Part, ...] = get_args(Part)
SMALL = GatedFusionConfig(width=8, groups=2, blocks=1, attention_width=8, heads=2)
Make = Callable[[GatedFusionConfig], GatedFusionTransformer]


def measured(height: int, width: int, batch: int = 1, seed: int = 0) -> Measurement:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 17, (batch, height, width), generator=generator)
    sensor = Sensor("ideal", torch.ones(height, width), torch.zeros(height, width), 0.0, 1)
    return measure(counts, ForwardModel(sensor, Exposure(1e-5, 16)))


@pytest.mark.parametrize("size", [(64, 32), (13, 21), (8, 8), (1, 1), (3, 70)])
def test_every_scale_at_every_size(random_network: Make, size: tuple[int, int]) -> None:
    answers = random_network(SMALL)(measured(*size, batch=2), SCALES)
    for scale, answer in zip(SCALES, answers, strict=True):
        for part in answer:
            assert part.shape == (2, 1, scale * size[0], scale * size[1])
            assert part.dtype == torch.float32
            assert part.isfinite().all()


@given(st.integers(1, 19), st.integers(1, 19))
def test_images_of_a_batch_do_not_mix(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = GatedFusionTransformer(SMALL)
    torch.nn.init.normal_(network.native.weight, std=0.1)
    alone = [network(measured(height, width, seed=seed), (1,))[0] for seed in (1, 2)]
    pair = [measured(height, width, seed=seed) for seed in (1, 2)]
    both = Measurement.joined(pair)
    rate, log_variance = network(both, (1,))[0]
    for at, (single, variance) in enumerate(alone):
        torch.testing.assert_close(rate[at : at + 1], single, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(log_variance[at : at + 1], variance, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "without", [(), *((part,) for part in PARTS), ("window_attention", "channel_attention")], ids="-".join
)
def test_the_gradient_reaches_every_parameter(random_network: Make, without: tuple[Part, ...]) -> None:
    network = random_network(SMALL.model_copy(update={"without": without}))
    answers = network(measured(16, 16), SCALES)
    sum(part.square().sum() for answer in answers for part in answer).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("recipe", [None, "photos", "smoke"])
def test_the_shipped_recipes_keep_to_the_budget(recipe: str | None) -> None:
    """At most 4 M parameters and 2.5 G multiplications for 64x32 pixels at x4."""
    network = GatedFusionTransformer(load_recipe(recipe, []).network).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 4_000_000
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(measured(64, 32), (4,))
    assert 0.01e9 < counter.get_total_flops() / 2 <= 2.5e9


def test_training_starts_from_the_interpolated_measurement() -> None:
    """And above x4 from the answer at x4, so that it is never worse than that, interpolated."""

    def enlarged(image: Tensor, factor: int, mode: str) -> Tensor:
        size = torch.Size(factor * side for side in image.shape[-2:])
        if mode == "bicubic":
            return limited_bicubic(image, size)
        return F.interpolate(image, size=size, mode=mode, align_corners=False)

    measurement = measured(12, 20)
    answers = dict(zip(SCALES, GatedFusionTransformer(SMALL)(measurement, SCALES), strict=True))
    native = measurement.rate / 2, measurement.log_variance  # the gate starts in its middle
    torch.testing.assert_close(answers[1], native)
    for scale, coarse, factor in ((2, native, 2), (4, native, 4), (8, answers[4], 2), (16, answers[4], 4)):
        expected = enlarged(coarse[0], factor, "bicubic"), enlarged(coarse[1], factor, "bilinear")
        torch.testing.assert_close(answers[scale], expected)


def test_interpolation_is_bicubic_where_a_picture_is_smooth() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    slope = (0.3 * rows + 0.7 * columns + 1)[None, None]
    bicubic = F.interpolate(slope, size=(48, 80), mode="bicubic", align_corners=False)
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(limited_bicubic(slope, torch.Size((48, 80)))[inner], bicubic[inner])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 4]), st.integers(0, 1000))
def test_interpolation_stays_within_the_pixels_around(height: int, width: int, factor: int, seed: int) -> None:
    """Of the 3x3 around each, however much one outshines the others: nothing negative, nothing brighter."""
    image = torch.randn((1, 1, height, width), generator=torch.Generator().manual_seed(seed)).mul(3).exp()
    larger = limited_bicubic(image, torch.Size((factor * height, factor * width)))[0, 0]
    for row, column in np.ndindex(larger.shape):
        r, c = row // factor, column // factor
        around = image[0, 0, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
        assert around.min() <= larger[row, column] <= around.max()


@given(st.floats(-30, 30), st.integers(0, 1000))
def test_no_answer_is_less_certain_than_rates_can_vary(bias: float, seed: int) -> None:
    """Whatever the spread: at most twice the sum of the answer and what surrounds it; below that it is left alone."""
    torch.manual_seed(0)
    network, measurement = GatedFusionTransformer(SMALL), measured(6, 9, seed=seed)
    assert network.native.bias is not None
    torch.nn.init.constant_(network.native.bias[2], bias)
    for rate, log_variance in network(measurement, SCALES):
        size = rate.shape[-2:]
        around, spread = (
            F.interpolate(part, size=size, mode="bilinear", align_corners=False)
            for part in (measurement.amplitude, measurement.log_variance + bias)
        )
        most = 2 * torch.log(2 * (rate.abs() + around))
        assert (log_variance <= most + 1e-5).all()
        if size == measurement.rate.shape[-2:]:
            torch.testing.assert_close(log_variance, torch.minimum(spread, most))


def test_an_answer_at_one_scale_is_the_same_among_others(random_network: Make) -> None:
    network, measurement = random_network(SMALL), measured(9, 9)
    together = dict(zip(SCALES, network(measurement, SCALES), strict=True))
    for scale in SCALES:
        [(rate, log_variance)] = network(measurement, (scale,))
        assert rate.equal(together[scale][0])
        assert log_variance.equal(together[scale][1])


def test_a_shift_by_whole_windows_shifts_the_answer(random_network: Make) -> None:
    """Of what lies far from the edges, up to what channel attention takes from the whole field."""
    network, wide = random_network(SMALL), measured(8, 96)
    whole = network(wide, (2,))[0][0]
    maps = {name: getattr(wide, name)[..., 16:] for name in vars(wide) if name not in ("scale", "phases")}
    part = Measurement(**maps, scale=wide.scale)
    torch.testing.assert_close(network(part, (2,))[0][0][..., 48:], whole[..., 80:], atol=0.02, rtol=0)


def test_state_round_trip(random_network: Make) -> None:
    first, second = random_network(SMALL), GatedFusionTransformer(SMALL).eval()
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(measured(11, 7), SCALES), second(measured(11, 7), SCALES), strict=True):
        assert a[0].equal(b[0])
        assert a[1].equal(b[1])


def test_sizes_that_cannot_be() -> None:
    for wrong in ({"width": 0}, {"heads": 3}, {"window": 1}, {"depth": 4}):
        with pytest.raises(ValidationError):
            GatedFusionConfig(**wrong)


@pytest.mark.parametrize(("part", "channels"), [("photon_statistics", (2, 3, 4, 5)), ("sensor_maps", (6, 7, 8))])
def test_inputs_left_out_are_not_seen(random_network: Make, part: Part, channels: tuple[int, ...]) -> None:
    network = random_network(SMALL.model_copy(update={"without": (part,)}))
    plain, other = measured(16, 16), measured(16, 16)
    other.statistics[:, channels] += 1
    assert torch.equal(network(plain, (4,))[0][0], network(other, (4,))[0][0])
    other.statistics[:, 0] += 1
    assert not torch.equal(network(plain, (4,))[0][0], network(other, (4,))[0][0])


@pytest.mark.parametrize("part", PARTS)
def test_every_part_matters(random_network: Make, part: Part) -> None:
    whole = random_network(SMALL)
    less = random_network(SMALL.model_copy(update={"without": (part,)}))
    less.load_state_dict({name: whole.state_dict()[name] for name in less.state_dict()})
    measurement = measured(16, 16)
    measurement.statistics.add_(0.5)  # as of a sensor that is not ideal
    assert not torch.equal(whole(measurement, (4,))[0][0], less(measurement, (4,))[0][0])
