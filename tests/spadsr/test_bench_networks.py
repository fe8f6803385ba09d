"""Speed of networks: what is compared is what is said; the figures themselves depend on the machine."""

from pathlib import Path

import pytest
import torch

from spadsr.bench import network_speed as bench_networks
from spadsr.bench import timing
from spadsr.bench.network_speed import ONNX, PEERS, bench_infer, gmac
from spadsr.networks.window_attention import LIGHT, PUBLISHED
from spadsr.restoration.weights import load_restorer


def test_inference_beside_window_attention(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the light one alone, and of few frames, to be quick."""
    assert list(PEERS.values()) == [PUBLISHED, LIGHT]
    monkeypatch.setattr(timing, "_REPEATS", 1)
    monkeypatch.setitem(bench_networks._BATCHES, "cpu", (1, 2))
    monkeypatch.delitem(PEERS, "window attention, published")
    measured = bench_infer(load_restorer(small_weights))
    cases = [(each.name, each.batch) for each in measured.networks]
    assert cases == [(name, batch) for name in ("spadsr", "window attention, light", ONNX) for batch in (1, 2)]
    ours, _, light, _, exported, _ = measured.networks
    assert (light.parameters / 1e6, light.gmac) == pytest.approx((0.92, 2.2), rel=0.02)
    assert (exported.parameters, exported.gmac) == (ours.parameters, ours.gmac)
    assert ours.gmac < 0.1
    assert ours.frames_per_second > light.frames_per_second
    for each in measured.networks:
        assert each.peak_share == pytest.approx(each.gmac * each.frames_per_second / measured.peak_gmac_per_second)
        assert 0 < each.peak_share < 1.5
    assert measured.peak_gmac_per_second > 0.1
    assert "thread" in measured.device


def test_multiplications_are_counted() -> None:
    a, b = torch.ones(50, 20), torch.ones(20, 30)
    assert gmac(lambda: a @ b) == pytest.approx(50 * 20 * 30 / 1e9)
