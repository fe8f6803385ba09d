"""A trained network that restores counts: rates, their standard uncertainty, and whether they explain the counts."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Sensor
from spadsr.networks.measurement import SCALES, Measurement, measure
from spadsr.networks.network import Network
from spadsr.networks.orientations import ORIENTATIONS, Orientation, turned_back
from spadsr.networks.strips import answers_of
from spadsr.provenance import Provenance, versions
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.restored import Restored


@dataclass(frozen=True)
class Restorer:
    """A trained network, ready to use, by several threads at once if need be.

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
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def bfloat16(self) -> bool:
        """Whether convolutions and attention run in bfloat16: where the hardware does that faster."""
        return _fast_bfloat16(self.device)

    def restore(self, counts: Tensor, model: ForwardModel, scale: int, command: str = "") -> Restored:
        """Restores a stack of images, and checks the answer against their counts.

        Args:
            counts: (B, H, W) whole numbers.
            model: sensor and exposure that they were taken with, as far as known, on the CPU.
            scale: 1, 2, 4, 8 or 16.
            command: how the user asked for it, for the provenance.

        Raises:
            InputError: the network has no such scale; counts are negative or not finite.
        """
        rate, uncertainty, coverage_factor = self.answer(counts, model, scale)
        sensor, exposure = model.sensor, model.exposure
        return Restored(
            rate=rate.cpu().numpy(),
            uncertainty=uncertainty.cpu().numpy(),
            coverage_factor=coverage_factor.cpu().numpy(),
            check=physics_check(counts, rate, model),
            settings=Settings(
                count_time=exposure.count_time,
                cycles=exposure.most_cycles,
                dead_time=sensor.dead_time,
                counter_bits=sensor.counter_bits,
            ),
            provenance=self.provenance_of(model, scale, command),
            counts=counts.cpu().numpy(),
        )

    @torch.inference_mode()
    def answer(self, counts: Tensor, model: ForwardModel, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of a stack of images, as tensors on its device; arguments as for `restore`.

        Returns:
            Photon detection rate and its standard uncertainty, (B, s H, s W) float32 in counts/s per native pixel area:
            one standard uncertainty covers 68 % of the pixels. And the coverage factor (B,): that many cover 95 %
            (GUM, JCGM 100:2008, 6.3).

        Raises:
            InputError: the network has no such scale; counts are negative or not finite.
        """
        if scale not in SCALES:
            known = ", ".join(map(str, SCALES))
            raise InputError(f"scale {scale}: not available; choose one of {known}", "scale")
        if not bool(counts.isfinite().all() & (counts >= 0).all()):
            raise InputError("counts that are negative or not finite; expected whole numbers of 0 and more", "counts")
        measurement = measure(counts.to(self.device), model.to(self.device))
        answers = [
            oriented_answers(self.network, measurement, (scale,), orientation, self.bfloat16)[0]
            for orientation in ORIENTATIONS[: self.orientations]
        ]
        rate, log_variance = answers[0] if len(answers) == 1 else _mean(answers)
        standard, coverage = self.intervals.factors(measurement.mean_counts, scale)
        rate = rate.mul_(measurement.scale)[:, 0].clamp_(min=0)  # in place: answers may be large
        uncertainty = log_variance.mul_(0.5).exp_().mul_(standard).mul_(measurement.scale)[:, 0]
        return rate, uncertainty, coverage.flatten()

    def provenance_of(self, model: ForwardModel, scale: int, command: str) -> Provenance:
        """What a result that is restored so is made of."""
        return Provenance(
            model=self.name,
            model_sha256=self.checksum,
            sensor=description(model.sensor),
            command=command,
            config={
                "scale": scale,
                "cycles": model.exposure.most_cycles,
                "orientations": self.orientations,
                "device": str(self.device),
            },
            versions=versions(),
        )


def oriented_answers(
    network: Network, measurement: Measurement, scales: tuple[int, ...], orientation: Orientation, bfloat16: bool
) -> list[tuple[Tensor, Tensor]]:
    """What the network answers to the turned image, turned back: as from `network` itself, for each of the scales."""
    with torch.autocast(measurement.rate.device.type, torch.bfloat16, enabled=bfloat16):
        answers = answers_of(network, measurement.turned(orientation), scales)
    return [(turned_back(rate, orientation), turned_back(log_variance, orientation)) for rate, log_variance in answers]


def _mean(answers: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    rate, log_variance = (torch.stack(parts).mean(dim=0) for parts in zip(*answers, strict=True))
    return rate, log_variance


def usable_device(name: str | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        InputError: it cannot be used.
    """
    expected = "choose cpu, or cuda where there is a GPU (mps on a Mac)"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name}: no such device; {expected}", "device") from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= there.get(device.type, 0):
        raise InputError(f"device {name}: there is none here; {expected}", "device")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name}: cannot be used ({reason}); {expected}", "device") from error
    return device


def description(sensor: Sensor) -> dict[str, Any]:
    """The numbers of a sensor, and the means of its maps, as plain data."""
    return {
        "name": sensor.name,
        "source": sensor.source,
        "shape": list(sensor.shape),
        "mean_pde": float(sensor.pde.mean()),
        "mean_dark_count_rate": float(sensor.dark_count_rate.mean()),
        "dead_time": sensor.dead_time,
        "counter_bits": sensor.counter_bits,
        "afterpulse_probability": sensor.afterpulse_probability,
        "trap_lifetime": sensor.trap_lifetime,
        "crosstalk": sensor.crosstalk.tolist(),
        "bad_pixels": int((~sensor.good).sum()),
    }


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware: without it, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))
