"""Random counts with every effect of a sensor, at a few nanoseconds a count.

The exact law of an image's counts is tabulated once per exposure (`noise_model.tables`) and drawn from by look-up;
crosstalk is added: on a CPU in compiled loops, on other devices by torch, in the same steps.
"""

import torch
from torch import Tensor

from noise_model import compiled_sampling, torch_sampling
from noise_model.crosstalk import Crosstalk
from noise_model.laws import CountingProcess
from noise_model.tables import parts


def draw_counts(
    photon_rate: Tensor,
    gain: Tensor,
    dark: Tensor,
    process: CountingProcess,
    kernel: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Random int32 counts of images at x = photon_rate * gain + dark, all (..., H, W) and broadcast.

    Args:
        kernel: (k, k) crosstalk: chance that an avalanche in the centre fires each neighbour.
        generator: the only source of randomness, on the device of the rates.
    """
    crosstalk = Crosstalk.of(process, kernel)
    if photon_rate.device.type == "cpu":
        return compiled_sampling.draw_counts(photon_rate, gain, dark, process, crosstalk, generator)
    law = list(parts(process, photon_rate.device))
    return torch_sampling.draw_counts(photon_rate * gain + dark, law, crosstalk, generator)
