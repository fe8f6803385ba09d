"""Conditions under which methods are measured: the array, its exposure, its light, and the resolution."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.networks.measurement import SCALES

Mode: TypeAlias = Literal["binary", "counting"]

_DEAD_TIME = 50e-9  # s, of a counting array
_DIMMEST = 1e-6  # detections of white in a frame
_COUNT_TIMES: Mapping[Mode, float] = {"binary": 10e-6, "counting": 17.5 * _DEAD_TIME}  # s


@dataclass(frozen=True)
class Condition:
    """The condition of an evaluation: how pictures are recorded and restored, by an ideal array.

    Its pixels are equal and have no dark counts.

    Attributes:
        scale: that the pictures are restored at.
        flux: mean detections of a white pixel in a hardware frame.
        frames: hardware frames summed, N.
    """

    mode: Mode
    scale: int
    flux: float
    frames: int

    @property
    def exposure(self) -> Exposure:
        return Exposure(_COUNT_TIMES[self.mode], self.frames)

    def model(self, shape: tuple[int, int]) -> ForwardModel:
        """The array in its exposure.

        Binary: one bit, no dead time. Counting: 8 bits, 50 ns dead time, exposed for 17.5 dead times.
        """
        binary = self.mode == "binary"
        bits, dead_time = (1, 0.0) if binary else (8, _DEAD_TIME)
        sensor = Sensor(f"ideal {self.mode}", torch.ones(shape), torch.zeros(shape), dead_time, bits)
        return ForwardModel(sensor, self.exposure)

    def white_rate(self) -> float:
        """Detection rate of white, counts/s.

        Raises:
            InputError: the array cannot reach this flux.
        """
        from scipy.optimize import brentq

        count_time = self.exposure.count_time
        one_frame = replace(self, frames=1).model((1, 1))
        most = 1.0 if self.mode == "binary" else count_time / _DEAD_TIME
        if not _DIMMEST <= self.flux < 0.99 * most:
            message = f"flux {self.flux:g}: expected {_DIMMEST:g} to less than {0.99 * most:g} for a {self.mode} array"
            raise InputError(message, "flux")

        def excess(rate: float) -> float:
            return float(one_frame.expected_counts(torch.tensor([[rate]], dtype=torch.float64))) - self.flux

        return float(brentq(excess, 0, 1e4 / count_time, rtol=1e-9))


def conditions_of(mode: Mode, scales: Sequence[int], fluxes: Sequence[float], frames: Sequence[int]) -> list[Condition]:
    """The conditions of every combination of scale, flux and frames.

    Raises:
        InputError: no such scale, or less than one frame.
    """
    for scale in scales:
        if scale not in SCALES:
            raise InputError(f"scale {scale}: not available; choose from {', '.join(map(str, SCALES))}", "scales")
    if min(frames) < 1:
        raise InputError(f"{min(frames)} frames: expected 1 or more frames summed", "frames")
    # A flux of 2 and one of 2.0 are the same condition: random counts follow from its text.
    return [Condition(mode, scale, float(flux), n) for scale, flux, n in itertools.product(scales, fluxes, frames)]
