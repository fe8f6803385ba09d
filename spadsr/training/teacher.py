"""Trained networks that another one learns from."""

from pathlib import Path

import torch
from torch import Tensor

from spadsr.networks.measurement import Measurement
from spadsr.networks.orientations import ORIENTATIONS
from spadsr.restoration.restorer import oriented_answers
from spadsr.restoration.weights import load_restorer


class Teachers:
    """Trained networks whose rates are learnt instead of the true ones (Hinton et al., arXiv 1503.02531).

    The truth is one of many scenes that could have caused the same counts; a trained network's answer is close to their
    mean, which is what has to be learnt, so that fewer captures are needed. The teachers take turns step by step, and
    each sees the captures of its steps in another of the eight orientations: what is learnt is the mean of the answers
    of all of them in all orientations, which is better than each.

    Args:
        weights: weight files, or names of shipped weights; one or more.
        bfloat16: whether convolutions and attention run in bfloat16.

    Attributes:
        checksums: SHA-256 of their weight files.

    Raises:
        InputError: no such file, or not a weight file.
    """

    def __init__(self, weights: tuple[Path, ...], device: torch.device, bfloat16: bool) -> None:
        restorers = [load_restorer(each, device) for each in weights]
        self.networks = [restorer.network for restorer in restorers]
        self.checksums, self.bfloat16 = [restorer.checksum for restorer in restorers], bfloat16

    @torch.no_grad()
    def rates(self, measurement: Measurement, scales: tuple[int, ...], step: int) -> dict[int, Tensor]:
        """The rates to learn in a step, over each image's scale, (B, 1, s H, s W) for each scale s; images are square.

        Raises:
            InputError: the network has no such scale.
        """
        turn, teacher = divmod(step, len(self.networks))
        orientation = ORIENTATIONS[turn % len(ORIENTATIONS)]
        answers = oriented_answers(self.networks[teacher], measurement, scales, orientation, self.bfloat16)
        return {s: rate for s, (rate, _) in zip(scales, answers, strict=True)}
