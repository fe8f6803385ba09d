"""Large answers strip by strip: the same as at once, in memory that the answer alone takes."""

from collections.abc import Callable

import pytest
import torch

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks import strips
from spadsr.networks.gated_fusion import GatedFusionConfig, GatedFusionTransformer
from spadsr.networks.measurement import SCALES, Measurement, measure
from spadsr.networks.multi_resolution import MultiResolutionConfig, MultiResolutionTransformer
from spadsr.networks.network import Network
from spadsr.networks.strips import answers_of
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork


def measured(rows: int, columns: int) -> Measurement:
    counts = torch.randint(0, 17, (2, rows, columns), generator=torch.Generator().manual_seed(0))
    sensor = Sensor("ideal", torch.ones(rows, columns), torch.zeros(rows, columns), 0.0, 1)
    return measure(counts, ForwardModel(sensor, Exposure(1e-5, 16)))


def networks() -> list[Network]:
    """Every parameter is away from zero, so that every branch has a say."""
    torch.manual_seed(0)
    small = GatedFusionConfig(width=8, groups=2, blocks=1, attention_width=8, heads=2)
    levels = MultiResolutionConfig(widths=(8, 8), encoder=(1, 1), decoder=(1,), attention=1, heads=2, detail=8)
    made: list[Network] = [
        GatedFusionTransformer(small),
        MultiResolutionTransformer(levels),
        WindowAttentionNetwork(WindowAttentionConfig(width=12, groups=1, layers=2, heads=2)),
    ]
    for network in made:
        for parameter in network.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    return [network.eval() for network in made]


@pytest.mark.parametrize("network", networks(), ids=lambda network: network.config.kind)
@pytest.mark.parametrize("rows", [3, 37, 50])
@torch.inference_mode()
def test_strips_join_to_the_whole(monkeypatch: pytest.MonkeyPatch, network: Network, rows: int) -> None:
    """Strips of 9 rows: those around the joints are as those inside."""
    measurement, scales = measured(rows, 13), tuple(s for s in SCALES if s in network.scales)
    whole = network(measurement, scales)
    monkeypatch.setattr(strips, "LARGEST_AT_ONCE", 0)
    monkeypatch.setattr(strips, "_STRIP", 9 * 2 * 13 * max(scales) ** 2)
    for one, other in zip(answers_of(network, measurement, scales), whole, strict=True):
        for found, expected in zip(one, other, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_no_strip_is_larger_than_it_should_be(
    monkeypatch: pytest.MonkeyPatch, random_network: Callable[[GatedFusionConfig], GatedFusionTransformer]
) -> None:
    network = random_network(GatedFusionConfig(width=8, groups=1, blocks=1, attention_width=8, heads=2))
    seen: list[int] = []
    answers = network.answers
    monkeypatch.setattr(network, "answers", lambda f, m, s: (seen.append(f.shape[-2]), answers(f, m, s))[1])
    monkeypatch.setattr(strips, "LARGEST_AT_ONCE", 0)
    monkeypatch.setattr(strips, "_STRIP", 5 * 2 * 13 * 256)
    answers_of(network, measured(64, 13), (16,))
    assert len(seen) == 13
    assert max(seen) == 5 + 2 * strips.REACH
