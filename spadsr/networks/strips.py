"""Large answers, made strip by strip: the memory that enlarging takes does not grow with the image.

A network sees the whole image at once, as its attention does; only what it makes of the features at a higher scale is
done for some rows at a time. That depends on a few rows around, which each strip is given as well.
"""

from dataclasses import replace

import torch
from torch import Tensor

from spadsr.networks.measurement import Measurement
from spadsr.networks.network import Network

#: Pixels of the largest answer (all images of a batch) that is made at once, and of a strip of a larger one.
LARGEST_AT_ONCE, _STRIP = 1 << 24, 1 << 22

#: Native rows around a strip that its answer may depend on: detail depends on the features 3 rows away, interpolation
#: up to x4 on 3 more, and from there to x16 on 1 more.
REACH = 8


def answers_of(network: Network, measurement: Measurement, scales: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """What the network answers, as from `network` itself; large answers strip by strip where the network can."""
    batch, _, rows, columns = measurement.rate.shape
    traced = torch.compiler.is_compiling()  # a graph is for images of any size
    if traced or not network.by_strips or batch * rows * columns * max(scales) ** 2 <= LARGEST_AT_ONCE:
        answers: list[tuple[Tensor, Tensor]] = network(measurement, scales)
        return answers
    features = network.features(measurement)
    sizes = [(batch, 1, s * rows, s * columns) for s in scales]
    whole = [(measurement.rate.new_empty(size), measurement.rate.new_empty(size)) for size in sizes]
    step = max(1, _STRIP // (batch * columns * max(scales) ** 2))
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        first, last = max(0, top - REACH), min(rows, bottom + REACH)
        strip = network.answers(features[..., first:last, :], _rows(measurement, first, last), scales)
        for s, all_rows, part in zip(scales, whole, strip, strict=True):
            for target, found in zip(all_rows, part, strict=True):
                target[..., s * top : s * bottom, :] = found[..., s * (top - first) : s * (bottom - first), :]
    return whole


def _rows(measurement: Measurement, first: int, last: int) -> Measurement:
    maps = ("statistics", "rate", "amplitude", "log_variance", "scale", "phases")
    parts = {name: getattr(measurement, name) for name in maps}
    return replace(measurement, **{name: part[..., first:last, :] for name, part in parts.items() if part is not None})
