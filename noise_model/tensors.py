"""Tensors of pictures."""

from torch import Tensor


def repeated(values: Tensor, times: int) -> Tensor:
    """Values (..., H, W) repeated for each of `times` x `times` places in a pixel: (..., times H, times W)."""
    return values.repeat_interleave(times, dim=-2).repeat_interleave(times, dim=-1)
