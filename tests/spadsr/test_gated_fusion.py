"""The network of the shipped weights: shapes, where it starts, and what its answers depend on."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_network import at_random, measured
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spadsr.networks.enlargement import limited_bicubic
from spadsr.networks.gated_fusion import GatedFusionConfig, GatedFusionTransformer, Part
from spadsr.networks.measurement import SCALES, Measurement
from spadsr.networks.registry import build
from spadsr.training.recipe import load_recipe

PARTS: tuple[Part, ...] = get_args(Part)
SMALL = GatedFusionConfig(width=8, groups=2, blocks=1, attention_width=8, heads=2)


def random_network(size: GatedFusionConfig) -> GatedFusionTransformer:
    return at_random(GatedFusionTransformer, size)


@pytest.mark.parametrize("size", [(64, 32), (13, 21), (8, 8), (1, 1), (3, 70)])
def test_every_scale_at_every_size(size: tuple[int, int]) -> None:
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
def test_the_gradient_reaches_every_parameter(without: tuple[Part, ...]) -> None:
    network = random_network(SMALL.model_copy(update={"without": without}))
    answers = network(measured(16, 16), SCALES)
    sum(part.square().sum() for answer in answers for part in answer).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("recipe", ["smoke", "tiny", "tune"])
def test_the_shipped_recipes_keep_to_the_budget(recipe: str) -> None:
    """At most 4 M parameters and 2.5 G multiplications for 64x32 pixels at x4."""
    network = build(load_recipe(recipe, []).network).eval()
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


def test_an_answer_at_one_scale_is_the_same_among_others() -> None:
    network, measurement = random_network(SMALL), measured(9, 9)
    together = dict(zip(SCALES, network(measurement, SCALES), strict=True))
    for scale in SCALES:
        [(rate, log_variance)] = network(measurement, (scale,))
        assert rate.equal(together[scale][0])
        assert log_variance.equal(together[scale][1])


def test_a_shift_by_whole_windows_shifts_the_answer() -> None:
    """Of what lies far from the edges, up to what channel attention takes from the whole field."""
    network, wide = random_network(SMALL), measured(8, 96)
    whole = network(wide, (2,))[0][0]
    maps = {name: getattr(wide, name)[..., 16:] for name in vars(wide) if name not in ("scale", "phases")}
    part = Measurement(**maps, scale=wide.scale)
    torch.testing.assert_close(network(part, (2,))[0][0][..., 48:], whole[..., 80:], atol=0.02, rtol=0)


def test_state_round_trip() -> None:
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
def test_inputs_left_out_are_not_seen(part: Part, channels: tuple[int, ...]) -> None:
    network = random_network(SMALL.model_copy(update={"without": (part,)}))
    plain, other = measured(16, 16), measured(16, 16)
    other.statistics[:, channels] += 1
    assert torch.equal(network(plain, (4,))[0][0], network(other, (4,))[0][0])
    other.statistics[:, 0] += 1
    assert not torch.equal(network(plain, (4,))[0][0], network(other, (4,))[0][0])


@pytest.mark.parametrize("part", PARTS)
def test_every_part_matters(part: Part) -> None:
    whole = random_network(SMALL)
    less = random_network(SMALL.model_copy(update={"without": (part,)}))
    less.load_state_dict({name: whole.state_dict()[name] for name in less.state_dict()})
    measurement = measured(16, 16)
    measurement.statistics.add_(0.5)  # as of a sensor that is not ideal
    assert not torch.equal(whole(measurement, (4,))[0][0], less(measurement, (4,))[0][0])
