"""The answers of networks at higher scales: detail added to interpolated rates, and a limit to their variance."""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: (rate over the image's mean rate, its log variance), each (B, 1, s H, s W).
Answer: TypeAlias = tuple[Tensor, Tensor]

#: The largest standard deviation, relative to the sum of the rate and the local brightness. One pixel in 2,000 of
#: captures like those trained on would have a larger one, but its error is smaller.
_LEAST_CERTAIN = 2.0


def enlarged(coarse: Answer, detail: Tensor, amplitude: Tensor) -> Answer:
    """The answer at a higher scale, from one at a lower scale.

    Args:
        detail: (B, 2, s H, s W) what is added to the interpolated rate, over the local brightness, and to its log
            variance.
        amplitude: (B, 1, H, W) local brightness.
    """
    finer, spread = detail.chunk(2, dim=1)
    size, (rate, log_variance) = finer.shape[-2:], coarse
    contrast, log_variance = (
        F.interpolate(part, size=size, mode="bilinear", align_corners=False) for part in (amplitude, log_variance)
    )
    rate = limited_bicubic(rate, size) + contrast * finer
    return rate, possible(log_variance + spread, rate, contrast)


def possible(log_variance: Tensor, rate: Tensor, amplitude: Tensor) -> Tensor:
    """The log variance, limited to the largest that rates can have.

    Without the limit, the standard deviation of blind pixels, which training sees few of, is hundreds of times their
    rate.
    """
    return log_variance.minimum(2 * torch.log(_LEAST_CERTAIN * (rate.detach().abs() + amplitude)))


def limited_bicubic(images: Tensor, size: torch.Size) -> Tensor:
    """Bicubic interpolation that stays within the range of the 3x3 pixels around: no dark rim beside a bright line."""
    smooth = F.interpolate(images, size=size, mode="bicubic", align_corners=False)
    highest, negated_lowest = (
        F.interpolate(F.max_pool2d(part, 3, stride=1, padding=1), size=size, mode="nearest")
        for part in (images, -images)
    )
    return smooth.minimum(highest).maximum(-negated_lowest)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Starts a branch at zero, so that training starts from the interpolated measurement, at half its height."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
