"""A trained network that restores counts: rates, their standard uncertainty, and whether they explain the counts."""

import copy
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, PLACES, Sensor
from noise_model.tensors import repeated
from spadsr.networks.measurement import SCALES, Measurement, measure
from spadsr.networks.network import Network
from spadsr.networks.orientations import ORIENTATIONS, Orientation, turned_back
from spadsr.networks.phases import gathered, native
from spadsr.networks.strips import answers_of
from spadsr.provenance import Provenance, versions
from spadsr.restoration.hot_pixels import AS_COUNTED, find_hot
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.physics_check import physics_check
from spadsr.restoration.restored import Restored

# By how much errors of a sum along a path exceed what a network states: a path is never known exactly. Measured on
# shakes, drifts and rotations of five photographs, so that as many pixels lie within one uncertainty as at rest.
_ALONG_A_PATH = 1.1

_ORDINARY = 3.0  # times the median: dark rates of ordinary pixels

_COPIES: WeakKeyDictionary[Network, Network] = WeakKeyDictionary()  # in bfloat16, as long as the networks are there


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
            counts: (B, H, W) whole numbers; (B, 4 H, 4 W) where a moving array's are kept apart by their places within
                pixels, as its frames then are.
            model: sensor and exposure that they were taken with, as far as known, on the CPU.
            scale: 1, 2, 4, 8 or 16.
            command: how the user asked for it, for the provenance.

        Raises:
            InputError: the network has no such scale, counts that no sensor gives, or no pixel that says something.
        """
        counts = _checked(counts, model)
        hot = hot_in(*in_pixels(counts, model))
        rate, uncertainty, coverage_factor = self._answer_beside(hot, counts, model, scale)
        counts, model = in_pixels(counts, model)
        sensor, exposure = model.sensor, model.exposure
        cycles = None if exposure.map is None else exposure.map.expand(counts.shape).cpu().numpy()
        return Restored(
            rate=rate.cpu().numpy(),
            uncertainty=uncertainty.cpu().numpy(),
            coverage_factor=coverage_factor.cpu().numpy(),
            check=physics_check(counts, rate, without(hot, model)),
            settings=Settings(
                count_time=exposure.count_time,
                cycles=exposure.most_cycles,
                dead_time=sensor.dead_time,
                counter_bits=sensor.counter_bits,
            ),
            provenance=self.provenance_of(model, scale, command),
            counts=counts.cpu().numpy(),
            hot=hot,
            cycles=cycles,
        )

    def answer(self, counts: Tensor, model: ForwardModel, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rates and uncertainties of a stack of images, as tensors on the network's device; arguments as for `restore`.

        Returns:
            Photon detection rate and its standard uncertainty, (B, s H, s W) float32 in counts/s per native pixel area:
            one standard uncertainty covers 68 % of the pixels. And the coverage factor (B,): that many cover 95 %
            (GUM, JCGM 100:2008, 6.3).

        Raises:
            InputError: as `restore`.
        """
        counts = _checked(counts, model)
        return self._answer_beside(hot_in(*in_pixels(counts, model)), counts, model, scale)

    def _answer_beside(
        self, hot: NDArray[np.uint8], counts: Tensor, model: ForwardModel, scale: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The network's answer without hot pixels (B, H, W), and in their place, of some, what they counted."""
        rate, uncertainty, coverage_factor = self.network_answer(counts, without(hot, model), scale)
        if gathered(counts, model.sensor):
            if scale == PLACES:
                rate = _with_detail(rate, uncertainty, counts, model)
            uncertainty = uncertainty * _ALONG_A_PATH
        as_counted = torch.from_numpy(hot == AS_COUNTED)
        if bool(as_counted.any()):
            place = repeated(as_counted, scale).to(rate.device)
            whole, own = in_pixels(counts.cpu(), model)
            counted, sd = (repeated(each, scale).to(rate.device) for each in own.detection_rate(whole))
            rate, uncertainty = torch.where(place, counted.clamp(min=0), rate), torch.where(place, sd, uncertainty)
        return rate, uncertainty, coverage_factor

    @torch.inference_mode()
    def network_answer(self, counts: Tensor, model: ForwardModel, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of a stack of images with no look for hot pixels; as `answer` otherwise.

        Raises:
            InputError: the network has no such scale.
        """
        check_scale(scale)
        measurement = measure(counts.to(self.device), model.to(self.device))
        network = _in_bfloat16(self.network) if self.bfloat16 else self.network
        answers = [
            oriented_answers(network, measurement, (scale,), orientation, self.bfloat16)[0]
            for orientation in ORIENTATIONS[: self.orientations]
        ]
        rate, log_variance = answers[0] if len(answers) == 1 else _mean(answers)
        standard, coverage = self.intervals.factors(measurement.mean_counts, scale)
        unit = measurement.scale_at(scale)
        rate = rate.mul_(unit)[:, 0].clamp_(min=0)  # in place: answers may be large
        uncertainty = log_variance.mul_(0.5).exp_().mul_(standard).mul_(unit)[:, 0]
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


def check_scale(scale: int) -> None:
    """Raises InputError for a scale that no network has."""
    if scale not in SCALES:
        known = ", ".join(map(str, SCALES))
        raise InputError(f"scale {scale}: not available; choose one of {known}", "scale")


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


def _checked(counts: Tensor, model: ForwardModel) -> Tensor:
    """The counts as whole numbers."""
    fits = counts.ndim == 3 and (counts.shape[1:] == model.sensor.shape or gathered(counts, model.sensor))
    if not fits or counts.numel() == 0:
        found, size = (" x ".join(map(str, each)) for each in (counts.shape, model.sensor.shape))
        raise InputError(f"counts {found}: expected one image or more of {size}, the pixels of the sensor", "counts")
    known = counts.cpu()
    whole = known.to(torch.int64)
    most, cycles = model.sensor.saturation_value(model.exposure.most_cycles), model.exposure.map
    above = whole > (most if cycles is None else model.sensor.saturation_value(cycles.cpu()))
    if bool(((whole != known) | (whole < 0) | above).any()):
        raise InputError(f"counts: expected whole numbers from 0 to {most}, as this sensor counts them", "counts")
    if not bool(in_pixels(whole, model)[1].good.any()):
        raise InputError("no good pixel is left: all are masked or never looked; correct the mask", "mask")
    if bool((model.sensor.pde <= 0).any()):
        raise InputError(f"{model.sensor.name}: pixels with a PDE of 0; mask them, and give them any other", "sensor")
    return whole.to(counts.device)


def in_pixels(counts: Tensor, model: ForwardModel) -> tuple[Tensor, ForwardModel]:
    """Counts of whole pixels and how they were taken, of counts on a grid of places within pixels as well."""
    return native(counts, model) if gathered(counts, model.sensor) else (counts, model)


def hot_in(counts: Tensor, model: ForwardModel) -> NDArray[np.uint8]:
    """Hot pixels of images (B, H, W), as `find_hot` says.

    Of a sensor whose dark counts are known they are points of light, and all are shown as they counted. Pixels with
    more dark counts than others are not looked at.
    """
    sensor, cycles = model.sensor, model.exposure.map
    frames = model.exposure.most_cycles if cycles is None else cycles.cpu().numpy()
    dark = sensor.dark_count_rate.cpu()
    looked = model.good.cpu() & (dark <= _ORDINARY * dark.flatten(-2).median(dim=-1).values[..., None, None])
    found = find_hot(counts.cpu().numpy(), looked.numpy() * np.float64(frames))
    return np.where(found > 0, AS_COUNTED, 0).astype(np.uint8) if sensor.measured else found


def without(hot: NDArray[np.uint8], model: ForwardModel) -> ForwardModel:
    """The model whose sensor's mask has the hot pixels (B, H, W) of each image as well."""
    if not hot.any():
        return model
    mask = torch.from_numpy(hot > 0).to(model.sensor.pde.device, torch.int32) * HOT
    if model.sensor.pixel_mask is not None:
        mask = mask | model.sensor.pixel_mask
    return replace(model, sensor=replace(model.sensor, pixel_mask=mask))


def _with_detail(rate: Tensor, uncertainty: Tensor, counts: Tensor, model: ForwardModel) -> Tensor:
    """Rates (B, 4 H, 4 W) with the detail that counts of places within pixels tell beyond what a network made of it."""
    from spadsr.motion.fine import sharpened  # both take long to load
    from spadsr.motion.merging import Merged

    frames, time = model.exposure.map, model.exposure.count_time
    assert frames is not None
    pde, dark = (
        repeated(each, PLACES).expand(counts.shape).cpu() for each in (model.sensor.pde, model.sensor.dark_count_rate)
    )
    images = zip(counts.cpu(), frames.expand(counts.shape).cpu(), pde, dark, rate.cpu(), uncertainty.cpu(), strict=True)
    found = []
    for k, n, efficiency, dark_rate, light, sd in images:
        sensor = replace(model.sensor, pde=efficiency, dark_count_rate=dark_rate, pixel_mask=None)
        cells = Merged(k.numpy().astype(np.uint32), n.numpy().astype(np.uint32), sensor, time, PLACES)
        found.append(torch.from_numpy(sharpened(light.numpy() * time, sd.numpy() * time, cells) / time))
    return torch.stack(found).to(rate)


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


def _in_bfloat16(network: Network) -> Network:
    """A copy whose convolutions and matrices hold the bfloat16 that autocast would make for every image anew."""
    if network not in _COPIES:
        ready = copy.deepcopy(network)
        for layer in ready.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.bfloat16)
        _COPIES[network] = ready
    return _COPIES[network]


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware: without it, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and any((torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()))
