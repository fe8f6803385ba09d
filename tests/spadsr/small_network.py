"""A network too small to be good, whose every branch has a say, and measurements for it."""

from collections.abc import Callable
from typing import TypeVar

import torch

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks.measurement import Measurement, measure
from spadsr.networks.multi_resolution import MultiResolutionConfig, MultiResolutionTransformer
from spadsr.networks.network import Network, NetworkConfig

_C, _N = TypeVar("_C", bound=NetworkConfig), TypeVar("_N", bound=Network)

SMALL = MultiResolutionConfig(widths=(8, 16), encoder=(1, 1), decoder=(1,), attention=1, heads=2, window=4, detail=4)


def random_network() -> MultiResolutionTransformer:
    """The small network at random."""
    return at_random(MultiResolutionTransformer, SMALL)


def at_random(kind: Callable[[_C], _N], config: _C) -> _N:
    """A network of that kind; every parameter is away from zero, so that every branch has a say."""
    torch.manual_seed(0)
    network = kind(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def measured(height: int, width: int, batch: int = 1, seed: int = 0) -> Measurement:
    """Counts drawn at random, of an ideal array."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 17, (batch, height, width), generator=generator)
    sensor = Sensor("ideal", torch.ones(height, width), torch.zeros(height, width), 0.0, 1)
    return measure(counts, ForwardModel(sensor, Exposure(1e-5, 16)))
