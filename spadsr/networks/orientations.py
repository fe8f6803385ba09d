"""The eight orientations of an image: quarter turns, and their mirror images."""

from typing import TypeAlias

import torch
from torch import Tensor

#: Quarter turns anticlockwise, and whether mirrored left to right after them.
Orientation: TypeAlias = tuple[int, bool]

#: All eight; the first leaves an image as it is.
ORIENTATIONS: tuple[Orientation, ...] = tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4))


def turned(images: Tensor, orientation: Orientation) -> Tensor:
    """Images (..., H, W) in another orientation."""
    turns, mirrored = orientation
    images = torch.rot90(images, turns, (-2, -1)) if turns else images
    return images.flip(-1) if mirrored else images


def turned_back(images: Tensor, orientation: Orientation) -> Tensor:
    """Images as they were before `turned`."""
    turns, mirrored = orientation
    images = images.flip(-1) if mirrored else images
    return torch.rot90(images, -turns, (-2, -1)) if turns else images
