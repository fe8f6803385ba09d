"""Blocks of convolutions that networks share."""

import torch.nn.functional as F
from torch import Tensor, nn


class ConvolutionBlock(nn.Module):
    """Two 3x3 convolutions with a skip around them: a residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features + self.second(F.relu(self.first(features)))
        return result
