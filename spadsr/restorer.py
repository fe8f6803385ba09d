"""Weight files: safetensors with the network's size and provenance in the metadata. Loading never unpickles."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from noise_model.errors import InputError
from noise_model.files import checksum, whole_file
from noise_model.sensor import Exposure, Sensor
from spadsr.architectures import AnyNetworkConfig, Network, build
from spadsr.intervals import Intervals
from spadsr.measurement import mean_counts, measure
from spadsr.network import SCALES, Measurement, NetworkConfig
from spadsr.orientations import ORIENTATIONS, Orientation, turned_back
from spadsr.window_network import WindowAttentionConfig

SHIPPED = {path.stem: path for path in sorted((Path(__file__).parent / "weights").glob("*.safetensors"))}
USUAL = "base"
_FORMAT = "spadsr weights"
_CONFIG: TypeAdapter[NetworkConfig | WindowAttentionConfig] = TypeAdapter(AnyNetworkConfig)


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
    def restore(self, counts: Tensor, exposure: Exposure, sensor: Sensor, scale: int) -> tuple[Tensor, Tensor]:
        """Photon detection rate at `scale` times the resolution, and its standard uncertainty.

        Args:
            counts: (B, H, W) whole numbers.
            exposure, sensor: how they were taken, as far as known.
            scale: 1, 2, 4, 8 or 16.

        Returns:
            Two (B, s H, s W) float32 tensors in counts/s per native pixel area, on the network's device. One standard
            uncertainty covers 68 % of the pixels.

        Raises:
            InputError: the network has no such scale.
        """
        if scale not in SCALES:
            raise InputError(f"scale {scale}: not available; choose one of {', '.join(map(str, SCALES))}")
        measurement = measure(counts.to(self.device), exposure, sensor.to(self.device))
        answers = [
            oriented_answers(self.network, measurement, (scale,), orientation, self.bfloat16)[0]
            for orientation in ORIENTATIONS[: self.orientations]
        ]
        rate, log_variance = (torch.stack(parts).mean(dim=0) for parts in zip(*answers, strict=True))
        standard, _ = self.intervals.factors(measurement.mean_counts, scale)
        rate = (rate * measurement.scale)[:, 0].clamp(min=0)
        return rate, (torch.exp(0.5 * log_variance) * standard * measurement.scale)[:, 0]

    @torch.inference_mode()
    def coverage_factor(self, counts: Tensor, exposure: Exposure, sensor: Sensor, scale: int) -> Tensor:
        """k (B,): so many standard uncertainties cover 95 % (GUM, JCGM 100:2008, 6.3). Arguments as for `restore`."""
        photons = mean_counts(counts.to(self.device), exposure, sensor.to(self.device))
        return self.intervals.factors(photons, scale)[1].flatten()


def oriented_answers(
    network: Network, measurement: Measurement, scales: tuple[int, ...], orientation: Orientation, bfloat16: bool
) -> list[tuple[Tensor, Tensor]]:
    """What the network answers to the turned image, turned back: as from `network` itself, for each of the scales."""
    with torch.autocast(measurement.rate.device.type, torch.bfloat16, enabled=bfloat16):
        answers = network(measurement.turned(orientation), scales)
    return [(turned_back(rate, orientation), turned_back(log_variance, orientation)) for rate, log_variance in answers]


def save_weights(path: Path, network: Network, intervals: Intervals, provenance: dict[str, Any]) -> None:
    """Writes the network's parameters as float32, with its size, the factors of its intervals, and its provenance."""
    metadata = {
        "format": _FORMAT,
        "network": network.config.model_dump_json(),
        "intervals": intervals.model_dump_json(),
        "provenance": json.dumps(provenance, sort_keys=True, default=str),
    }
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in network.state_dict().items()}
    packed = save(tensors, metadata)  # what goes wrong on the disk is then an OSError, with its reason
    with whole_file(path) as partial:
        partial.write_bytes(packed)


def load_restorer(
    path: str | Path | None = None, device: str | torch.device = "cpu", orientations: int = 1
) -> Restorer:
    """The network of a weight file, or of shipped weights by their name; without a path, of the usual ones.

    Raises:
        InputError: no such file, not a weight file of this program, no such device, or no such number of orientations.
    """
    if not 1 <= orientations <= len(ORIENTATIONS):
        raise InputError(f"orientations {orientations}: expected 1 to {len(ORIENTATIONS)}")
    path = Path(USUAL if path is None else path)
    path = path if path.is_file() else SHIPPED.get(str(path), path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sha256 = checksum(path)
    except (OSError, SafetensorError) as error:
        reason = "no such file" if not path.exists() else f"not a safetensors file ({error})"
        names = ", ".join(SHIPPED)
        raise InputError(f"{path}: {reason}; give a weight file made by `spadsr train` or a name ({names})") from error
    network, intervals = _built(path, metadata, tensors)
    network = network.eval().to(usable_device(device)).to(memory_format=torch.channels_last)
    return Restorer(path.stem, network, intervals, _provenance(metadata), sha256, orientations)


def _built(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> tuple[Network, Intervals]:
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path}: a safetensors file, but not of spadsr weights; give a file made by `spadsr train`")
    try:
        network = build(_CONFIG.validate_json(metadata["network"]))
        network.load_state_dict(tensors)
        intervals = Intervals.model_validate_json(metadata["intervals"])
    except (KeyError, ValidationError, RuntimeError) as error:
        raise InputError(
            f"{path}: its tensors do not fit the network it names ({str(error).splitlines()[0]})"
        ) from error
    return network, intervals


def _provenance(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        return dict(json.loads(metadata["provenance"]))
    except (KeyError, ValueError, TypeError):
        return {}


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
