"""The network over several resolutions: shapes, budget, where it starts, what its answers depend on, and that it
exports."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from small_network import SMALL, measured, random_network
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spadsr.export.onnx_file import export_onnx, sensor_to_export
from spadsr.networks.enlargement import limited_bicubic
from spadsr.networks.measurement import SCALES, Measurement
from spadsr.networks.multi_resolution import (
    Attention,
    ConditionedBlock,
    Detail,
    MultiResolutionConfig,
    MultiResolutionTransformer,
)
from spadsr.networks.orientations import ORIENTATIONS, turned
from spadsr.networks.phases import PHASES
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.restorer import Restorer, oriented_answers
from spadsr.training.recipe import load_recipe


def with_phases(measurement: Measurement, seed: int = 0) -> Measurement:
    batch, _, height, width = measurement.rate.shape
    phases = torch.randn(batch, PHASES, height, width, generator=torch.Generator().manual_seed(seed))
    return replace(measurement, phases=phases)


@pytest.mark.parametrize("size", [(64, 32), (13, 21), (8, 8), (1, 1), (3, 70)])
def test_every_scale_at_every_size(size: tuple[int, int]) -> None:
    answers = random_network()(measured(*size, batch=2), SCALES)
    for scale, answer in zip(SCALES, answers, strict=True):
        for part in answer:
            assert part.shape == (2, 1, scale * size[0], scale * size[1])
            assert part.dtype == torch.float32
            assert part.isfinite().all()


@pytest.mark.parametrize("recipe", ["photos", "gpu", None])
def test_the_shipped_recipes_keep_to_the_budget(recipe: str | None) -> None:
    """At most 2.5 G multiplications for 64x32 pixels at x4, and 16 MB as float16."""
    config = load_recipe(recipe, []).network
    assert isinstance(config, MultiResolutionConfig)
    network = MultiResolutionTransformer(config).eval()
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) <= 16e6
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(measured(64, 32), (4,))
    assert 1e9 < counter.get_total_flops() / 2 <= 2.5e9


def test_the_gradient_reaches_every_parameter() -> None:
    network = random_network()
    answers = network(with_phases(measured(32, 32)), SCALES)
    sum(part.square().sum() for answer in answers for part in answer).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_training_starts_from_the_interpolated_measurement() -> None:
    """And above x4 from the answer at x4, so that it is never worse than that, interpolated."""

    def enlarged(image: Tensor, factor: int) -> Tensor:
        return limited_bicubic(image, torch.Size(factor * side for side in image.shape[-2:]))

    measurement = measured(12, 20)
    answers = dict(zip(SCALES, MultiResolutionTransformer(SMALL)(measurement, SCALES), strict=True))
    native = measurement.rate / 2  # the gate starts in its middle
    torch.testing.assert_close(answers[1], (native, measurement.log_variance))
    for scale, coarse, factor in ((2, native, 2), (4, native, 4), (8, answers[4][0], 2), (16, answers[4][0], 4)):
        torch.testing.assert_close(answers[scale][0], enlarged(coarse, factor))


@pytest.mark.parametrize("scale", SCALES)
def test_an_answer_at_one_scale_is_the_same_among_others(scale: int) -> None:
    network, measurement = random_network(), measured(9, 9)
    together = dict(zip(SCALES, network(measurement, SCALES), strict=True))
    [(rate, log_variance)] = network(measurement, (scale,))
    torch.testing.assert_close((rate, log_variance), together[scale])


def test_images_of_a_batch_do_not_mix() -> None:
    network, parts = random_network(), [measured(9, 13, seed=seed) for seed in (1, 2)]
    rate = network(Measurement.joined(parts), (4,))[0][0]
    for at, alone in enumerate(parts):
        torch.testing.assert_close(network(alone, (4,))[0][0], rate[at : at + 1], atol=1e-4, rtol=1e-4)


def test_all_pixels_of_a_small_field_attend_to_all() -> None:
    """A bright corner reaches the opposite one; where the field is larger than a window only within the window."""
    torch.manual_seed(0)
    layer = Attention(8, heads=2, window=4)
    torch.nn.init.normal_(layer.out.weight)

    def reach(side: int) -> Tensor:
        plain = torch.randn(1, 8, side, side, generator=torch.Generator().manual_seed(1))
        changed = plain.clone()
        changed[:, 0, 0, 0] += 3
        difference: Tensor = layer(changed) - layer(plain)
        return difference.abs().amax(dim=(0, 1))

    assert reach(4).min() > 1e-5
    larger = reach(8)
    assert larger[:4, :4].min() > 1e-5
    assert larger[4:].max() == larger[:, 4:].max() == 0


def test_attention_ignores_where_pixels_are() -> None:
    """It is driven by content alone: pixels in another order have their answers in that order."""
    torch.manual_seed(0)
    layer, features = Attention(8, heads=2, window=4), torch.randn(2, 8, 4, 4)
    torch.nn.init.normal_(layer.out.weight)
    torch.testing.assert_close(layer(features.flip(-1)), layer(features).flip(-1), atol=1e-5, rtol=1e-5)


def test_phases_that_are_zero_are_as_none() -> None:
    network, still = random_network(), measured(12, 8)
    zero = replace(still, phases=torch.zeros(1, PHASES, 12, 8))
    for one, other in zip(network(zero, SCALES), network(still, SCALES), strict=True):
        assert one[0].equal(other[0])
        assert one[1].equal(other[1])


def test_phases_have_no_say_before_training() -> None:
    network, still = MultiResolutionTransformer(SMALL), measured(12, 8)
    torch.nn.init.normal_(network.native.weight)
    torch.testing.assert_close(network(with_phases(still), (4,)), network(still, (4,)))


def test_still_and_moving_images_in_one_batch() -> None:
    network, still, moving = random_network(), measured(12, 8), with_phases(measured(12, 8, seed=1))
    rate = network(Measurement.joined([still, moving]), (4,))[0][0]
    for at, alone in enumerate((still, moving)):
        torch.testing.assert_close(network(alone, (4,))[0][0], rate[at : at + 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_image_has_its_phases_turned(orientation: tuple[int, bool]) -> None:
    """As images of 4x4 places a pixel."""
    moving = with_phases(measured(6, 6))
    phases = moving.turned(orientation).phases
    assert phases is not None
    assert moving.phases is not None
    fine = turned(F.pixel_shuffle(moving.phases, 4), orientation)
    assert F.pixel_shuffle(phases, 4).equal(fine)
    rate, _ = oriented_answers(random_network(), moving, (4,), orientation, False)[0]
    assert rate.shape == (1, 1, 24, 24)


@pytest.mark.parametrize(
    "wrong",
    [{"widths": (8,)}, {"encoder": (1, 1)}, {"decoder": (1, 1, 1)}, {"decoder": (1, 0)}, {"heads": 3}, {"width": 8}],
    ids=str,
)
def test_sizes_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MultiResolutionConfig(**wrong)  # type: ignore[arg-type]


def test_it_exports_with_free_height_and_width(tmp_path: Path) -> None:
    """The export itself compares sizes that are no whole number of windows."""
    restorer = Restorer("small", random_network(), Intervals(), {}, "0" * 64)
    written = export_onnx(restorer, sensor_to_export(None, None, 1), 4, tmp_path / "small.onnx")
    assert written.difference < 1e-4


def test_channels_that_are_dark_everywhere_still_learn() -> None:
    """Where what goes into an activation is below 0 throughout, as a long training may move it."""
    network = random_network()
    blocks = [block for block in network.modules() if isinstance(block, ConditionedBlock | Detail)]
    assert len(blocks) == len(SMALL.block_widths) + 1
    for block in blocks:
        torch.nn.init.constant_(block.first.bias, -3.0)
    [(rate, _)] = network(measured(16, 16), (4,))
    rate.square().mean().backward()
    for block in blocks:
        assert block.first.weight.grad is not None
        assert (block.first.weight.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_state_round_trip() -> None:
    first, second = random_network(), MultiResolutionTransformer(SMALL).eval()
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(measured(11, 7), SCALES), second(measured(11, 7), SCALES), strict=True):
        assert a[0].equal(b[0])
        assert a[1].equal(b[1])
