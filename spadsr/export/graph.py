"""Graphs for export, from counts to rates: what `Restorer` does, in float32, as one network that can be traced."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.restoration.restorer import Restorer

_answer: Callable[..., tuple[Tensor, Tensor, Tensor]] = inspect.unwrap(
    Restorer.network_answer
)  # graphs have no inference mode


class Float32Restorer(Restorer):
    """A restorer that computes in float32 throughout, as exported files do."""

    @property
    def bfloat16(self) -> bool:
        return False


@dataclass(frozen=True)
class _SensorInGraph(Sensor):
    """A sensor whose maps may be inputs of the graph, while its crosstalk is a constant of it."""

    shares: tuple[tuple[int, int, float], ...] = ()

    @property
    def crosstalk_shares(self) -> tuple[tuple[int, int, float], ...]:
        return self.shares


class OpenGraph(nn.Module):
    """The graph of an ONNX file: exposure and maps are inputs, all else is that of a sensor."""

    def __init__(self, restorer: Restorer, sensor: Sensor, scale: int) -> None:
        super().__init__()
        self.network, self.scale = restorer.network, scale
        self.restorer, self.sensor = Float32Restorer(**vars(restorer)), _in_graph(sensor)

    def forward(
        self,
        counts: Tensor,
        cycles: Tensor,
        count_time: Tensor,
        dark_count_rate: Tensor,
        pde: Tensor,
        bad_pixels: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rates and standard uncertainties (B, 1, s H, s W), coverage factors (B,).

        Args:
            counts: (B, 1, H, W).
            count_time: (1,).
            cycles, dark_count_rate, pde, bad_pixels: (1, 1, H, W).
        """
        # In double precision, as the number of an `Exposure` is; alone, it leaves float32 images what they are.
        exposure = Exposure(cast(Any, count_time[0].double()), cycles[0, 0])
        bad = (bad_pixels[0, 0] != 0).to(torch.int32)
        known = replace(self.sensor, pde=pde[0, 0], dark_count_rate=dark_count_rate[0, 0], pixel_mask=bad)
        model = ForwardModel(known, exposure)
        rate, uncertainty, factor = _answer(self.restorer, counts[:, 0], model, self.scale)
        return rate[:, None], uncertainty[:, None], factor


class ClosedGraph(nn.Module):
    """The graph of a package: counts are the only input; exposure and maps (uniform if not measured) are fixed."""

    def __init__(self, restorer: Restorer, model: ForwardModel, scale: int) -> None:
        super().__init__()
        sensor = model.sensor
        self.network, self.exposure, self.scale = restorer.network, model.exposure, scale
        self.restorer, self.sensor = Float32Restorer(**vars(restorer)), _in_graph(sensor)
        self.dark_count_rate = float(sensor.dark_count_rate.median())
        self.maps = nn.ParameterList(
            [nn.Parameter(m.float(), requires_grad=False) for m in (sensor.pde, sensor.dark_count_rate, ~sensor.good)]
        )

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Rates and standard uncertainties (B, 1, s H, s W), for counts (B, 1, H, W)."""
        images = counts[:, 0]
        if self.sensor.measured:
            pde, dark, bad = self.maps
        else:
            pde, bad = torch.ones_like(images[0]), torch.zeros_like(images[0])
            dark = torch.full_like(images[0], self.dark_count_rate)
        known = replace(self.sensor, pde=pde, dark_count_rate=dark, pixel_mask=(bad != 0).to(torch.int32))
        rate, uncertainty, _ = _answer(self.restorer, images, ForwardModel(known, self.exposure), self.scale)
        return rate[:, None], uncertainty[:, None]


def _in_graph(sensor: Sensor) -> _SensorInGraph:
    return _SensorInGraph(**vars(sensor), shares=sensor.crosstalk_shares)
