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


_COUNT_TIMES: Mapping[Mode, float] = {"binary": 10e-6, "counting": 17.5 * 50e-9}


_DEAD_TIME = 50e-9


@dataclass(frozen=True)
class Condition:
    """How pictures are taken: an ideal array (equal pixels, no dark counts), N = `frames` summed, a white pixel
    detecting `flux` photons a frame on average, restored at `scale`."""

    mode: Mode
    scale: int
    flux: float
    frames: int

    @property
    def exposure(self) -> Exposure:
        return Exposure(_COUNT_TIMES[self.mode], self.frames)

    def model(self, shape: tuple[int, int]) -> ForwardModel:
        """Such an array in this exposure. Binary: one bit, no dead time. Counting: 8 bits, 50 ns dead time, exposed
        17.5 times as long."""
        binary = self.mode == "binary"
        bits, dead_time = (1, 0.0) if binary else (8, _DEAD_TIME)
        sensor = Sensor(f"ideal {self.mode}", torch.ones(shape), torch.zeros(shape), dead_time, bits)
        return ForwardModel(sensor, self.exposure)

    def white_rate(self) -> float:
        """Detection rate of white, counts/s.

        Raises:
            InputError: no rate gives so many counts a frame.
        """
        from scipy.optimize import brentq

        count_time = self.exposure.count_time
        one_frame = replace(self, frames=1).model((1, 1))
        most = 1.0 if self.mode == "binary" else count_time / _DEAD_TIME
        if not 0 < self.flux < 0.99 * most:
            raise InputError(
                f"--flux {self.flux:g}: expected more than 0 and less than {0.99 * most:g} for {self.mode}"
            )

        def excess(rate: float) -> float:
            return float(one_frame.expected_counts(torch.tensor([[rate]], dtype=torch.float64))) - self.flux

        return float(brentq(excess, 0, 1e4 / count_time, rtol=1e-9))


def conditions_of(mode: Mode, scales: Sequence[int], fluxes: Sequence[float], frames: Sequence[int]) -> list[Condition]:
    """Every combination.

    Raises:
        InputError: no such scale, or a number of frames that cannot be.
    """
    for scale in scales:
        if scale not in SCALES:
            raise InputError(f"--scales {scale}: not available; choose from {', '.join(map(str, SCALES))}")
    if min(frames) < 1:
        raise InputError(f"--frames {min(frames)}: expected 1 or more frames summed")
    return [Condition(mode, *values) for values in itertools.product(scales, fluxes, frames)]
