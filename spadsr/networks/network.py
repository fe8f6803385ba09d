"""The base of all networks: their size, which names their kind, their scales, and how they are called."""

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

from spadsr.networks.measurement import SCALES, Measurement

_MOST_PARAMETERS = 100_000_000  # ten times the largest of ours


class NetworkConfig(BaseModel):
    """The size of a network; each kind of network derives its own, with its `kind` as the default of the first field.

    A recipe names it, and a weight file keeps it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    kind: str

    @property
    def body_parameters(self) -> int:
        """Parameters of the body, which are nearly all, before any of them takes memory; 0 for a kind that is small."""
        return 0

    @model_validator(mode="after")
    def _of_possible_size(self) -> Self:
        if self.body_parameters > _MOST_PARAMETERS:
            raise ValueError(f"{self.body_parameters:,} parameters; expected {_MOST_PARAMETERS:,} at most")
        return self


class Network(nn.Module):
    """A network that restores measurements; each kind derives its own, built from its config alone.

    Attributes:
        config: its size.
        scales: the resolutions it answers at, over that of the sensor.
        least_side: rows and columns of the smallest image that it is meant for.
        by_strips: whether it answers in two steps, `features` and `answers`, the second of which looks but a few rows
            around.
    """

    config: NetworkConfig
    scales: tuple[int, ...] = SCALES
    least_side: int = 8
    by_strips: bool = False

    def forward(self, measurement: Measurement, scales: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Answers (rate over `measurement.scale`, log variance), each (B, 1, s H, s W) float32, for each scale s."""
        return self.answers(self.features(measurement), measurement, scales)

    def features(self, measurement: Measurement) -> Tensor:
        """(B, C, H, W) what the network makes of the whole image, at native resolution."""
        raise NotImplementedError

    def answers(
        self, features: Tensor, measurement: Measurement, scales: tuple[int, ...]
    ) -> list[tuple[Tensor, Tensor]]:
        """The answers of `forward`, made of the features; of some rows as well as of all."""
        raise NotImplementedError

    def hidden(self) -> list[nn.Module]:
        """The modules between hidden features, neither the first nor the last ones: Muon trains their matrices."""
        raise NotImplementedError
