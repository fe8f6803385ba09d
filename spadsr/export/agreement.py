"""Agreement of an exported network with the original, on captures made for this check."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.export.graph import Float32Restorer
from spadsr.restoration.restorer import Restorer

#: Images, rows, columns: some are no whole number of attention windows.
SIZES = ((2, 64, 32), (1, 37, 51), (3, 37, 51), (1, 128, 96), (1, 5, 3))


@dataclass(frozen=True)
class CheckCapture:
    """A capture on which an exported network is compared with the original.

    Attributes:
        white: detection rate of the brightest ordinary pixel, counts/s.
        model: how they were taken.
        fixed: whether the exposure is fixed in the file, and no input.
    """

    counts: Tensor
    model: ForwardModel
    white: float
    fixed: bool


def check_captures(
    sensor: Sensor, exposure: Exposure | None, shape: tuple[int, int] | None = None
) -> Iterator[CheckCapture]:
    """Captures of several sizes: blocks up to white, a saturated corner, and one image without counts.

    Args:
        exposure: None takes a common one, in every other capture with frames of its own for each pixel, and draws maps
            with hot and bad pixels.
        shape: the only size, where the sensor's maps fix it.
    """
    taken = exposure or common_exposure(sensor)
    white = 0.2 / taken.count_time if sensor.binary else 10 / taken.count_time
    for seed, (images, height, width) in enumerate(SIZES if shape is None else ((1, *shape), (3, *shape))):
        generator = torch.Generator().manual_seed(seed)
        known = sensor
        if shape is None:
            flat = sensor.uniform((height, width))
            known = flat if exposure is not None else _drawn(flat, generator)
        model = ForwardModel(known, taken)
        if exposure is None and seed % 2:
            cycles = torch.randint(taken.most_cycles + 1, known.shape, generator=generator)
            model = ForwardModel(known, replace(taken, cycles=cycles))
        yield CheckCapture(_counts(images, white, model, generator), model, white, exposure is not None)


def common_exposure(sensor: Sensor) -> Exposure:
    """A common exposure of an array: 16 frames of 10 us if it is binary, else 4 of 17.5 dead times."""
    return Exposure(17.5 * sensor.dead_time or 1e-5, 16 if sensor.binary else 4)


def difference(answers: Sequence[NDArray[Any]], capture: CheckCapture, restorer: Restorer, scale: int) -> float:
    """The largest difference of an exported network's answers from those of the network itself.

    Differences of rates and standard uncertainties are relative to white, or to the value where that is larger
    (saturated pixels); those of coverage factors are relative to the value. NaN where an answer is not a number.
    """
    exact = Float32Restorer(**vars(restorer))
    *tensors, coverage_factor = exact.network_answer(capture.counts, capture.model, scale)
    expected = [each[:, None].cpu().numpy() for each in tensors]
    apart = [(np.abs(a - e) / np.maximum(e, capture.white)).max() for a, e in zip(answers[:2], expected, strict=True)]
    factor = coverage_factor.cpu().numpy()
    return float(np.max([*apart, *(np.abs(each / factor - 1).max() for each in answers[2:])]))


def _drawn(sensor: Sensor, generator: torch.Generator) -> Sensor:
    spread, dark, bad = torch.rand((3, *sensor.shape), generator=generator)
    return replace(
        sensor,
        pde=sensor.pde * (0.9 + 0.2 * spread),
        dark_count_rate=100 * torch.exp(3 * dark),
        pixel_mask=(bad < 0.02).to(torch.int32),
    )


def _counts(images: int, white: float, model: ForwardModel, generator: torch.Generator) -> Tensor:
    blocks = torch.rand((images, 1, 5, 4), generator=generator)
    rate = white * F.interpolate(blocks, size=model.sensor.shape, mode="nearest")[:, 0]
    rate[..., :2, :2] *= 1000
    most = model.sensor.saturation_value(torch.as_tensor(model.exposure.cycles)).to(rate.dtype)
    counts = torch.poisson(model.expected_counts(rate), generator=generator).minimum(most)
    counts[1:2] = 0
    return counts
