"""Measurement: the input of a network, computed from the counts of an image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Exposure, Sensor
from simulate.recipe import SCALES as SCALES
from spadsr.networks.orientations import Orientation, turned
from spadsr.networks.phases import PHASES, gathered, native, phase_channels

_BRIGHTEST = 8.0  # rates above this multiple of the mean reach the network through their logarithm alone
_NO_DARK = 1e-12  # counts/s: less than any array has
_FIELD = 64  # pixels on a side whose mean rate is the unit of rates: as many as networks learn from at once
# Longer exposures are told of as if they were these, the longest that networks learn from:
_MOST_PHOTONS = 4096.0  # mean of a pixel
_MOST_FRAMES = 16384

STATISTICS = 10


@dataclass(frozen=True)
class Measurement:
    """The input of a network for an image, in units that do not depend on the flux: rates are over a mean rate.

    Attributes:
        statistics: (B, 10, H, W) input channels.
        rate: (B, 1, H, W) rate estimate over scale.
        amplitude: (B, 1, H, W) local brightness, at least 1: what the network's answers are multiples of.
        log_variance: (B, 1, H, W) of `rate`, from photon statistics, as far as networks learn them.
        scale: (B, 1, H, W) mean detection rate of the 64x64 pixels around each, or of all if there are no more,
            counts/s.
        mean_counts: (B, 1, 1, 1) of a pixel, from photons, over all frames; above 0.
        phases: (B, 32, H, W) sub-pixel places of a moving array; None where it stood still.
    """

    statistics: Tensor
    rate: Tensor
    amplitude: Tensor
    log_variance: Tensor
    scale: Tensor
    mean_counts: Tensor
    phases: Tensor | None = None

    @staticmethod
    def joined(parts: Sequence["Measurement"]) -> "Measurement":
        """Of all images as one batch."""
        names = [name for name in vars(parts[0]) if name != "phases"]
        moving = any(part.phases is not None for part in parts)
        if moving:
            parts, names = [part.with_phases() for part in parts], [*names, "phases"]
        return Measurement(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def to(self, device: torch.device) -> "Measurement":
        """The same on a device."""
        return Measurement(**{name: part.to(device) for name, part in vars(self).items() if part is not None})

    def with_phases(self) -> "Measurement":
        """The same, with zeros for the phases of an array that stood still."""
        if self.phases is not None:
            return self
        batch, _, height, width = self.rate.shape
        return replace(self, phases=self.rate.new_zeros(batch, PHASES, height, width))

    def scale_at(self, resolution: int) -> Tensor:
        """(B, 1, s H, s W) the scale of an answer with s times as many pixels on a side."""
        return F.interpolate(self.scale, scale_factor=float(resolution), mode="bilinear", align_corners=False)

    def turned(self, orientation: Orientation) -> "Measurement":
        """The measurement of the turned image."""
        parts = {name: turned(part, orientation) for name, part in vars(self).items() if name != "phases"}
        phases = None
        if self.phases is not None:  # a turn moves the places within a pixel as well
            phases = F.pixel_unshuffle(turned(F.pixel_shuffle(self.phases, PLACES), orientation), PLACES)
        return Measurement(**parts, phases=phases)


def measure(counts: Tensor, model: ForwardModel) -> Measurement:
    """The network's input for counts (B, H, W), taken as `model` says as far as that is known.

    Counts (B, 4 H, 4 W) are those of a moving array, each in the place within its pixel where it was seen.

    Rates are divided by the mean rate around them, so that the answer scales with the flux and dark parts of a large
    image are seen as a dark image would be; how many photons stand behind them goes in beside, as their standard
    deviation and the mean count. Networks make nothing good of numbers far beyond those they learnt from: longer
    exposures are taken as less certain than they are. The counts of bad pixels are ignored: they take the mean of
    their neighbours.
    """
    if gathered(counts, model.sensor):
        whole, native_model = native(counts, model)
        measurement = measure(whole, native_model)
        assert model.exposure.map is not None
        scale = measurement.scale[:, 0]
        phases = phase_channels(counts, model.exposure.map, whole, scale, native_model)
        return replace(measurement, phases=phases)
    good = model.good.expand(counts.shape)
    model = _without_gaps(model)
    counts = counts.masked_fill(~good, 0)
    rate, sd = model.detection_rate(counts)
    scale = _mean_rate(counts, good, model)
    rate = _filled(rate / scale, good)[:, None]
    sd = torch.where(good, sd / scale, 4 * sd / scale + 1)[:, None]
    photons = scale * model.exposure.count_time * _mean_cycles(model.exposure, good)
    beyond = (photons / _MOST_PHOTONS).clamp(min=1)
    sd = (sd * beyond[:, None].sqrt()).clamp(min=1 / _MOST_PHOTONS)
    context = _context(counts, good, scale, beyond, model)
    statistics = torch.cat([rate.clamp(-2.0, _BRIGHTEST), torch.asinh(rate), sd.log(), *context], dim=1)
    local = F.avg_pool2d(rate, 5, stride=1, padding=2, count_include_pad=False)
    amplitude = torch.sqrt(1 + local.square())
    mean_counts = photons.mean(dim=(-2, -1), keepdim=True)
    return Measurement(statistics, rate, amplitude, 2 * sd.log(), scale[:, None], mean_counts[:, None])


def _without_gaps(model: ForwardModel) -> ForwardModel:
    """The model in which pixels that never looked have as many frames as a mean one: bad pixels like others."""
    cycles = model.exposure.map
    if cycles is None:
        return model
    filled = torch.where(cycles > 0, cycles.double(), _mean_cycles(model.exposure, model.good)).float()
    return replace(model, exposure=replace(model.exposure, cycles=filled))


def _mean_cycles(exposure: Exposure, good: Tensor) -> int | Tensor:
    """Mean number of frames of the good pixels around each pixel, (B, H, W) where it differs between pixels."""
    cycles = exposure.map
    if cycles is None:
        return exposure.cycles
    total, pixels = _sum_around(cycles.double() * good), _sum_around(good.double())
    return (total / pixels.clamp(min=1)).clamp(min=1).float()


def _mean_rate(counts: Tensor, good: Tensor, model: ForwardModel) -> Tensor:
    """(B, H, W) rate of the mean count around, which, unlike the mean of the rates, saturated pixels do not dominate.

    It is at least that of half a count in all pixels around, and the dark rate of ordinary pixels (their geometric
    mean, which hot ones hardly change): where dark counts were expected and none came, rates are no further below 0
    than networks know.
    """
    used, pixels = _sum_around(counts.double()) + 0.5, _sum_around(good.double())
    mean = (used / pixels.clamp(min=1)).float()
    uniform = Sensor(
        model.sensor.name,
        torch.ones_like(mean),
        torch.zeros_like(mean),
        model.sensor.dead_time,
        model.sensor.counter_bits,
    )
    exposure = replace(model.exposure, cycles=_mean_cycles(model.exposure, good))
    dark = model.sensor.dark_count_rate.clamp(min=_NO_DARK).log().mean(dim=(-2, -1), keepdim=True).exp()
    return ForwardModel(uniform, exposure).detection_rate(mean)[0].maximum(dark)


def _sum_around(values: Tensor) -> Tensor:
    """(B, H, W) sum of the field of pixels around each, which is moved inwards at the edges."""
    for dim in (-2, -1):
        side = values.shape[dim]
        places = torch.arange(side, device=values.device)
        first = torch.minimum(places - _FIELD // 2, torch.full_like(places, side - _FIELD)).clamp(min=0)
        last = (first + _FIELD).clamp(max=side)
        so_far = F.pad(values.cumsum(dim), (0, 0, 1, 0) if dim == -2 else (1, 0))
        values = so_far.index_select(dim, last) - so_far.index_select(dim, first)
    return values


def _filled(rate: Tensor, good: Tensor) -> Tensor:
    weight = good[:, None].to(rate.dtype)
    total = F.avg_pool2d(weight * rate[:, None], 5, stride=1, padding=2)
    share = F.avg_pool2d(weight, 5, stride=1, padding=2)
    return torch.where(good, rate, torch.where(share > 0, total / share.clamp(min=1e-6), torch.ones_like(share))[:, 0])


def _context(counts: Tensor, good: Tensor, scale: Tensor, beyond: Tensor, model: ForwardModel) -> list[Tensor]:
    """Channels that say how far the rates can be trusted: as if there were `beyond` times fewer frames."""
    sensor, exposure = model.sensor, model.exposure
    full: float | Tensor = exposure.cycles
    if not sensor.binary:
        full = full * (exposure.count_time / sensor.dead_time if sensor.dead_time > 0 else 2.0**sensor.counter_bits)
    cycles = torch.as_tensor(exposure.cycles, dtype=torch.float32, device=counts.device) / beyond
    channels = [
        counts / full,
        torch.log(scale * exposure.count_time * cycles).expand(counts.shape),
        torch.log(cycles.clamp(max=_MOST_FRAMES)).expand(counts.shape),
        torch.log1p(sensor.dark_count_rate / scale).expand(counts.shape),
        (10 * (sensor.pde / sensor.mean_pde - 1)).expand(counts.shape),
        (~good).to(torch.float32),
        torch.full_like(scale, float(sensor.measured)).expand(counts.shape),
    ]
    return [channel[:, None].to(torch.float32) for channel in channels]
