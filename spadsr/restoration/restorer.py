"""A trained network that restores counts: rates and their standard uncertainty."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.networks.measurement import SCALES, Measurement, mean_counts, measure
from spadsr.networks.network import Network
from spadsr.networks.orientations import ORIENTATIONS, Orientation, turned_back
from spadsr.restoration.intervals import Intervals


@dataclass(frozen=True)
class Restorer:
    """A trained network, ready to use.

    Attributes:
        name: of the weight file.
        network: in evaluation mode, on its device.
        intervals: what its standard deviations are multiplied by.
        provenance: how it was trained.
        checksum: SHA-256 of the weight file.
        orientations: how many of the eight turned and mirrored images are restored and averaged: better, and as many
            times slower.
    """

    name: str
    network: Network
    intervals: Intervals
    provenance: dict[str, Any]
    checksum: str
    orientations: int = 1

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions and attention run in bfloat16: where the hardware does that faster."""
        return _fast_bfloat16(self.device)

    @torch.inference_mode()
    def restore(self, counts: Tensor, model: ForwardModel, scale: int) -> tuple[Tensor, Tensor]:
        """Photon detection rate at `scale` times the resolution, and its standard uncertainty.

        Args:
            counts: (B, H, W) whole numbers.
            model: how they were taken, as far as known.
            scale: 1, 2, 4, 8 or 16.

        Returns:
            Two (B, s H, s W) float32 tensors in counts/s per native pixel area, on the network's device. One standard
            uncertainty covers 68 % of the pixels.

        Raises:
            InputError: the network has no such scale.
        """
        if scale not in SCALES:
            raise InputError(f"scale {scale}: not available; choose one of {', '.join(map(str, SCALES))}")
        measurement = measure(counts.to(self.device), model.to(self.device))
        answers = [
            oriented_answers(self.network, measurement, (scale,), orientation, self.bfloat16)[0]
            for orientation in ORIENTATIONS[: self.orientations]
        ]
        rate, log_variance = (torch.stack(parts).mean(dim=0) for parts in zip(*answers, strict=True))
        standard, _ = self.intervals.factors(measurement.mean_counts, scale)
        rate = (rate * measurement.scale)[:, 0].clamp(min=0)
        return rate, (torch.exp(0.5 * log_variance) * standard * measurement.scale)[:, 0]

    @torch.inference_mode()
    def coverage_factor(self, counts: Tensor, model: ForwardModel, scale: int) -> Tensor:
        """K (B,): so many standard uncertainties cover 95 % (GUM, JCGM 100:2008, 6.3). Arguments as for `restore`."""
        photons = mean_counts(counts.to(self.device), model.to(self.device))
        return self.intervals.factors(photons, scale)[1].flatten()


def oriented_answers(
    network: Network, measurement: Measurement, scales: tuple[int, ...], orientation: Orientation, bfloat16: bool
) -> list[tuple[Tensor, Tensor]]:
    """What the network answers to the turned image, turned back: as from `network` itself, for each of the scales."""
    with torch.autocast(measurement.rate.device.type, torch.bfloat16, enabled=bfloat16):
        answers = network(measurement.turned(orientation), scales)
    return [(turned_back(rate, orientation), turned_back(log_variance, orientation)) for rate, log_variance in answers]


def usable_device(name: str | torch.device) -> torch.device:
    """The device of that name. Raises InputError where it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name}: cannot be used ({reason}); choose cpu, or cuda where there is a GPU"
        ) from error
    return device


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware: without it, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))
