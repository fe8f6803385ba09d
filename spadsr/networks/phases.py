"""Captures of a moving array, gathered on a grid of places within its pixels, as a network sees them."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, Sensor

#: Channels for the 4x4 places within a native pixel: the share of the frames that each was seen in, and what their
#: counts say beyond the native rate.
PHASES = 2 * PLACES**2

_LARGEST = 8.0  # of a channel
_STEP = 0.25  # counts


def gathered(counts: Tensor, sensor: Sensor) -> bool:
    """Whether counts (..., H, W) are on the grid of places within the sensor's pixels."""
    return tuple(counts.shape[-2:]) == tuple(PLACES * side for side in sensor.shape)


def native(counts: Tensor, model: ForwardModel) -> tuple[Tensor, ForwardModel]:
    """Counts (B, H, W) and frames of native pixels: the sums over their places.

    Args:
        counts: (B, 4 H, 4 W).
        model: its exposure says the frames of each place, (4 H, 4 W) or (B, 4 H, 4 W).

    Raises:
        InputError: it does not.
    """
    cycles = model.exposure.map
    if cycles is None or cycles.shape[-2:] != counts.shape[-2:]:
        raise InputError("counts on a grid of places within pixels need the frames of each place", "cycles")
    exposure = replace(model.exposure, cycles=_places(cycles).sum(dim=-3))
    return _places(counts).sum(dim=-3), replace(model, exposure=exposure)


def phase_channels(counts: Tensor, cycles: Tensor, native_counts: Tensor, scale: Tensor, model: ForwardModel) -> Tensor:
    """The 32 channels (B, 32, H, W) of sub-pixel places; 0 for bad pixels.

    The first 16 are the frames of each place over the mean of all 16. The others are the rate that its counts add to
    the native one, over `scale`: 16 (k_p - N_p k / N) dr/dk, the rate of the place less the native rate where all 16
    were seen in as many frames. Their sum over a pixel is 0.

    Args:
        counts, cycles: of each place, (B, 4 H, 4 W), and (4 H, 4 W) or (B, 4 H, 4 W).
        native_counts: (B, H, W).
        scale: (B, H, W) mean rate around each pixel, counts/s.
        model: of native pixels.
    """
    frames = _places(cycles).to(torch.float32)
    share = frames / frames.sum(dim=-3, keepdim=True).clamp(min=1)
    beyond = _places(counts) - share * native_counts[:, None]
    higher, lower = (model.detection_rate(native_counts + step)[0] for step in (_STEP, -_STEP))
    rate = beyond * ((higher - lower) / (2 * _STEP * scale))[:, None]
    channels = PLACES**2 * torch.cat([share.expand(rate.shape), rate], dim=1)
    good = model.good.expand(native_counts.shape)
    return channels.clamp(-_LARGEST, _LARGEST).masked_fill(~good[:, None], 0)


def _places(images: Tensor) -> Tensor:
    """(..., 4 H, 4 W) -> (..., 16, H, W)."""
    return F.pixel_unshuffle(images[..., None, :, :], PLACES)
