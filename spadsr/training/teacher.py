"""Trained weights that a recipe names, and a trained network that another one learns from."""

from pathlib import Path

import torch
from torch import Tensor

from noise_model.errors import InputError
from spadsr.networks.measurement import Measurement
from spadsr.networks.orientations import ORIENTATIONS
from spadsr.restoration.restorer import Restorer, oriented_answers
from spadsr.restoration.weights import load_restorer


def weights_of(key: str, path: Path, device: torch.device | str = "cpu") -> Restorer:
    """The weights that a key of a recipe names. Raises InputError, which names the key, as `load_restorer`."""
    try:
        return load_restorer(path, device)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


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
        restorer = weights_of("teacher", weights, device)
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
