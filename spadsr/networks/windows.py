"""Windows of pixels: images padded to whole windows, and where the pixels of a window lie to each other."""

import torch
import torch.nn.functional as F
from torch import Tensor


def window_offsets(window: int) -> Tensor:
    """Index (w^2, w^2) of the displacement between each two pixels of a window of w x w."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    shift = place[:, None, :] - place[None, :, :] + window - 1
    return shift[..., 0] * (2 * window - 1) + shift[..., 1]


def padded(images: Tensor, multiple: int) -> Tensor:
    """Images (..., H, W) whose lower and right edges are repeated up to a multiple of rows and columns."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def padded_to(images: Tensor, rows: int, columns: int) -> Tensor:
    """Repeats the lower and right edges up to multiples of so many rows and columns."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % columns, 0, -height % rows), mode="replicate")
