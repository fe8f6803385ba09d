"""A trained network that another one learns from."""

from pathlib import Path

import torch
from torch import Tensor

from noise_model.errors import InputError
from spadsr.networks.measurement import Measurement
from spadsr.networks.orientations import ORIENTATIONS
from spadsr.restoration.restorer import oriented_answers
from spadsr.restoration.weights import load_restorer


class Teacher:
    """A trained network whose rates are learnt instead of the true ones (Hinton et al., arXiv 1503.02531).

    The truth is one of many scenes that could have caused the same counts; a trained network's answer is close to their
    mean, which is what has to be learnt, so that fewer captures are needed. At every step it sees the captures in
    another of the eight orientations: what is learnt is the mean of its answers in all of them, which is better than
    each.

    Args:
        weights: weight file, or name of shipped weights.
        bfloat16: whether convolutions and attention run in bfloat16.

    Attributes:
        checksum: SHA-256 of its weight file.

    Raises:
        InputError: no such file, or not a weight file.
    """

    def __init__(self, weights: Path, device: torch.device, bfloat16: bool) -> None:
        try:
            restorer = load_restorer(weights, device)
        except InputError as error:
            raise InputError(f"teacher: {error}") from error
        self.network, self.checksum, self.bfloat16 = restorer.network, restorer.checksum, bfloat16

    @torch.no_grad()
    def rates(self, measurement: Measurement, scales: tuple[int, ...], step: int) -> dict[int, Tensor]:
        """The rates to learn in a step, over each image's scale, (B, 1, s H, s W) for each scale s; images are square.

        Raises:
            InputError: the network has no such scale.
        """
        orientation = ORIENTATIONS[step % len(ORIENTATIONS)]
        answers = oriented_answers(self.network, measurement, scales, orientation, self.bfloat16)
        return {s: rate for s, (rate, _) in zip(scales, answers, strict=True)}
