"""Crosstalk: the mean number of avalanches that neighbours add to a pixel's own.

Let an avalanche fire the pixel i of its neighbourhood with chance c_i if that pixel is armed. Consider a pixel that
fires by itself at x a frame (a share q of its avalanches are afterpulses), with the mean m(x). Another e avalanches a
frame add e dm/dx to this mean; each of them adds

    binary:    (1 - m) (1 - a m) / (1 - a)
    counting:  (1 - m b)^2 / (1 - q),  b = dead time / exposure

of an avalanche each. Given the pixel's own counts the gain differs from that: a binary pixel that fired gains nothing,
and a counting one less the more it counted (by -2 b (1 - 3/4 m b) a count a frame, which keeps the law of the sum that
of a pixel firing at x + e). Avalanches by crosstalk fire other pixels in turn: a second order, which is smaller by a
factor of the kernel's sum.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.kernels import Response, Taps
from noise_model.laws import ClusterProcess, CountingProcess

_FEW = 0.25  # counts of the brightest pixel below which most draws are 0
_NEGLIGIBLE = 1e-3  # of the kernel's sum


@dataclass(frozen=True)
class Crosstalk:
    """Crosstalk between the pixels of one sensor in one exposure; false if there is none.

    Attributes:
        first: (k, k) kernel.
        second: (k, k) chances of being fired by a neighbour that crosstalk fired itself, if all pixels are armed;
            never the pixel that began.
        most: mean counts it adds to the brightest pixel.
        saturation: the largest count an image can hold.
    """

    first: Tensor
    second: Tensor
    response: Response
    most: float
    saturation: int

    @classmethod
    def of(cls, process: CountingProcess, kernel: Tensor) -> "Crosstalk":
        """Crosstalk with the chances `kernel` (k, k), between pixels that follow the law `process`."""
        return _crosstalk(process, tuple(map(tuple, kernel.tolist())))

    def __bool__(self) -> bool:
        return self.most > 0

    @property
    def rare(self) -> bool:
        """Whether avalanches by crosstalk are so few that they are drawn one by one."""
        return self.most < _FEW

    @property
    def law(self) -> ClusterProcess:
        """The law of the number of counts that crosstalk adds, for means up to `most` or little more."""
        return ClusterProcess(2.0 ** math.ceil(math.log2(max(self.most, 1.0))), self.response.clustered)

    @cached_property
    def taps(self) -> Taps:
        """Both kernels as lists of pixels, for the compiled loops."""
        reach = self.first.shape[-1] // 2
        rows, columns = (self.first + self.second).nonzero(as_tuple=True)
        weights = (kernel[rows, columns].numpy() for kernel in (self.first, self.second))
        padding = (0, -len(rows) % 4)
        return Taps(
            reach, *(np.pad(each, padding) for each in ((rows - reach).numpy(), (columns - reach).numpy(), *weights))
        )


@lru_cache(maxsize=256)
def _crosstalk(process: CountingProcess, kernel: tuple[tuple[float, ...], ...]) -> Crosstalk:
    first = torch.tensor(kernel)
    most = float(first.sum()) * process.cycles * min(process.most_counts, process.counter_maximum)
    return Crosstalk(first, _second_order(first), _response(process), most, process.cycles * process.counter_maximum)


def _response(process: CountingProcess) -> Response:
    n, b, a = process.cycles, process.relative_dead_time, process.afterpulse
    if process.counter_maximum == 1:  # afterpulses from images before make up for those that come too late for this one
        return Response(True, n, 0.0, a, 1.0, 0.0, a * (1 - 1 / n))
    if a == 0:
        return Response(False, n, b, 0.0, 1.0, 0.0, 0.0)
    decay = 1 / process.relative_trap_lifetime
    in_frame = a * (1 + math.expm1(-decay) / decay)  # before the frame ends
    return Response(False, n, b, in_frame, decay, -math.expm1(-b * decay), in_frame)


def _second_order(kernel: Tensor) -> Tensor:
    """Crosstalk of crosstalk (k, k): the kernel convolved with itself, cut to its own reach.

    What is cut or negligible is added to the rest in proportion.
    """
    reach = kernel.shape[-1] // 2
    twice = F.conv2d(kernel[None, None], kernel.flip((0, 1))[None, None], padding=2 * reach)[0, 0]
    twice[2 * reach, 2 * reach] = 0
    middle = twice[reach : reach + len(kernel), reach : reach + len(kernel)]
    kept = torch.where((kernel > 0) | (middle > _NEGLIGIBLE * kernel.sum()), middle, 0.0)
    kept[reach, reach] = 0
    return kept * (twice.sum() / kept.sum()) if kept.sum() > 0 else kept
