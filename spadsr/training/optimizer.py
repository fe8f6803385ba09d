"""The optimizer: Muon for the matrices between hidden features, AdamW for all other parameters."""

from typing import Any

import torch
from torch import Tensor, nn

_LONGEST_SIDE = 432  # inputs of a 3x3 convolution of 48 channels


class Optimizer:
    """Changes a network by its gradients: hidden matrices by Muon, all other parameters by AdamW.

    Muon (Jordan et al. 2024) makes every step of a matrix as large in all directions as in its largest one, so that
    small structures are learned as fast as coarse ones; at equal captures it is worth several times as many of them. A
    convolution kernel is taken as the matrix from all its inputs to its outputs.

    Args:
        network: its modules `hidden` hold the matrices.
        hidden: those modules.
        learning_rate: of both; Muon's steps are scaled to the size of AdamW's (Liu et al., arXiv 2502.16982).
    """

    def __init__(self, network: nn.Module, hidden: list[nn.Module], learning_rate: float, weight_decay: float) -> None:
        layers = [layer for part in hidden for layer in part.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        self.kernels = [layer.weight for layer in layers]
        self.matrices = [_as_matrix(kernel.detach(), kernel) for kernel in self.kernels]
        taken = {id(kernel) for kernel in self.kernels}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in taken]
        self.parts = {
            "muon": torch.optim.Muon(
                [{"params": [matrix], "share": _share(matrix)} for matrix in self.matrices],
                learning_rate,
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            ),
            "adamw": torch.optim.AdamW(rest, learning_rate, weight_decay=weight_decay, fused=_on_gpu(rest)),
        }

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for kernel in self.kernels:
            kernel.grad = None
        self.parts["adamw"].zero_grad()

    def step(self, learning_rate: float) -> None:
        """Changes the parameters by their gradients."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad, kernel)
        for part in self.parts.values():
            for group in part.param_groups:
                group["lr"] = learning_rate * group.get("share", 1.0)
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimizers, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to a state of `state_dict`. Raises KeyError or ValueError where it is of another network."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def _share(matrix: Tensor) -> float:
    """The share of the learning rate that a matrix is trained with, less than 1 for wide ones.

    Scaled to AdamW's, Muon's step grows with the longest side of a matrix, and past this one the loss spikes.
    """
    return float(min(1.0, _LONGEST_SIDE / max(matrix.shape)) ** 0.5)


def _on_gpu(parameters: list[nn.Parameter]) -> bool:
    return all(parameter.is_cuda for parameter in parameters) and bool(parameters)


def _as_matrix(tensor: Tensor, kernel: Tensor) -> Tensor:
    """A kernel or its gradient as a matrix (outputs, all inputs), in the kernel's order in memory."""
    if kernel.ndim == 2 or kernel.is_contiguous():
        return tensor.flatten(1)
    return tensor.permute(0, 2, 3, 1).flatten(1)
