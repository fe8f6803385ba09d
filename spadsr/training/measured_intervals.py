"""Measures the intervals of a trained network: how far to stretch its standard deviations to cover their share.

They are tolerance intervals (content 68 % or 95 %, confidence 75 %): images differ in how much more there is in them
than a network expects, so that what covers 68 % of all pixels covers far fewer in many an image.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from spadsr.networks.network import Network
from spadsr.restoration.intervals import KNOTS, Intervals
from spadsr.training.batches import Batch

_PIXELS = 1024  # of each image
_CONTENT = (0.6827, 0.95)  # of an image's pixels
_CONFIDENCE = 0.75  # share of the images
_FEWEST = 32  # images for the factors of a knot


#: Log mean counts of images (n,), and |error| over standard deviation of some of their pixels (n, pixels).
_Errors: TypeAlias = tuple[Tensor, Tensor]


def measured_intervals(
    network: Network, held_out: Callable[[int], Iterable[Batch]], scales: tuple[int, ...]
) -> Intervals:
    """The factors of a trained network, from batches for each scale; a knot takes the images nearest to it.

    In three of four of these images they cover 68 % (and 95 %) of the pixels or more.

    Args:
        held_out: gives the batches for a scale, with true rates at it and those below it.
        scales: the scales that can be drawn; 1 and 2 are also measured with 4, on scenes of that resolution.
            Scales that are not measured keep the factors of normal errors.
    """
    errors: dict[int, list[_Errors]] = defaultdict(list)
    for scale in scales:
        answered = (1, 2, 4) if scale == 4 else (scale,)
        for s, found in _relative_errors(network, held_out(scale), answered).items():
            errors[s].append(found)
    plain = Intervals()
    factors = {s: _factors(*map(torch.cat, zip(*found, strict=True))) for s, found in errors.items()}
    return Intervals(
        standard=plain.standard | {s: standard for s, (standard, _) in factors.items()},
        coverage=plain.coverage | {s: coverage for s, (_, coverage) in factors.items()},
    )


@torch.inference_mode()
def _relative_errors(network: Network, batches: Iterable[Batch], answered: tuple[int, ...]) -> dict[int, _Errors]:
    found: dict[int, list[_Errors]] = {s: [] for s in answered}
    for batch in batches:
        place = batch.measurement.mean_counts.log().flatten()
        for s, (rate, log_variance) in zip(answered, network(batch.measurement, answered), strict=True):
            relative = ((rate.clamp(min=0) - batch.truth[s]).abs() * torch.exp(-0.5 * log_variance)).flatten(1)
            some = torch.linspace(0, relative.shape[1] - 1, min(_PIXELS, relative.shape[1])).long()
            found[s].append((place.cpu(), relative[:, some.to(relative.device)].cpu()))
    return {s: (torch.cat([p for p, _ in parts]), torch.cat([r for _, r in parts])) for s, parts in found.items()}


def _factors(place: Tensor, relative: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The factors at each knot, from the images nearest to it, or from the closest few where there are fewer."""
    distance = (place[:, None] - torch.tensor(KNOTS).log()).abs()
    nearest = distance.argmin(dim=1)
    needed = np.quantile(relative.double().numpy(), _CONTENT, axis=1)
    standard, coverage = [], []
    for knot in range(len(KNOTS)):
        count = max(int((nearest == knot).sum()), _FEWEST)
        near = needed[:, distance[:, knot].argsort(stable=True)[:count].numpy()]
        q68, q95 = np.quantile(near, _CONFIDENCE, axis=1)
        standard.append(float(q68))
        coverage.append(float(q95 / q68))
    return tuple(standard), tuple(coverage)
