"""Images padded to whole windows of pixels."""

import torch.nn.functional as F
from torch import Tensor


def padded(images: Tensor, multiple: int) -> Tensor:
    """Images (..., H, W) whose lower and right edges are repeated up to a multiple of rows and columns."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def padded_to(images: Tensor, rows: int, columns: int) -> Tensor:
    """Repeats the lower and right edges up to multiples of so many rows and columns."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % columns, 0, -height % rows), mode="replicate")
