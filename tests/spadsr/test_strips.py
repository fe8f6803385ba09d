"""Large answers strip by strip: the same as at once, in memory that the answer alone takes."""

import pytest
import torch
from small_network import at_random, measured, random_network

from spadsr.networks import strips
from spadsr.networks.measurement import SCALES
from spadsr.networks.network import Network
from spadsr.networks.strips import answers_of
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork


def networks() -> list[Network]:
    plain = WindowAttentionConfig(width=12, groups=1, layers=2, heads=2)
    return [random_network(), at_random(WindowAttentionNetwork, plain)]


@pytest.mark.parametrize("network", networks(), ids=lambda network: network.config.kind)
@pytest.mark.parametrize("rows", [3, 37, 50])
@torch.inference_mode()
def test_strips_join_to_the_whole(monkeypatch: pytest.MonkeyPatch, network: Network, rows: int) -> None:
    """Strips of 9 rows: those around the joints are as those inside."""
    measurement, scales = measured(rows, 13, batch=2), tuple(s for s in SCALES if s in network.scales)
    whole = network(measurement, scales)
    monkeypatch.setattr(strips, "LARGEST_AT_ONCE", 0)
    monkeypatch.setattr(strips, "_STRIP", 9 * 2 * 13 * max(scales) ** 2)
    for one, other in zip(answers_of(network, measurement, scales), whole, strict=True):
        for found, expected in zip(one, other, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_no_strip_is_larger_than_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network()
    seen: list[int] = []
    answers = network.answers
    monkeypatch.setattr(network, "answers", lambda f, m, s: (seen.append(f.shape[-2]), answers(f, m, s))[1])
    monkeypatch.setattr(strips, "LARGEST_AT_ONCE", 0)
    monkeypatch.setattr(strips, "_STRIP", 5 * 2 * 13 * 256)
    answers_of(network, measured(64, 13, batch=2), (16,))
    assert len(seen) == 13
    assert max(seen) == 5 + 2 * strips.REACH
