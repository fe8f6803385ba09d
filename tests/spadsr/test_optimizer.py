"""The optimizer: steps of the stated size, kernels stepped in place whatever their layout, state that goes on."""

from copy import deepcopy

import pytest
import torch
from small_network import random_network
from torch import Tensor, nn

from spadsr.training.optimizer import Optimizer


def stepped(layer: nn.Module, gradient: Tensor, learning_rate: float = 1e-2, decay: float = 0.0) -> Tensor:
    """By how much the first step changes the weight."""
    before = layer.weight.detach().clone()
    optimizer = Optimizer(layer, [layer], learning_rate, decay)
    layer.weight.grad = gradient
    optimizer.step(learning_rate)
    return layer.weight.detach() - before


def test_a_step_is_as_large_in_all_directions() -> None:
    """Singular values of 1 within the half that five Newton-Schulz iterations leave, times 0.2 sqrt(inputs)."""
    gradient = torch.randn(8, 32, generator=torch.Generator().manual_seed(0)) * torch.logspace(0, -1, 8)[:, None]
    values = torch.linalg.svdvals(stepped(nn.Linear(32, 8), gradient)) / (1e-2 * 0.2 * 32**0.5)
    assert values.min() > 0.5
    assert values.max() < 1.5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_are_stepped_in_any_layout(layout: torch.memory_format) -> None:
    gradient = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    plain = stepped(nn.Linear(36, 6), gradient.flatten(1))
    kernel = stepped(nn.Conv2d(4, 6, 3).to(memory_format=layout), gradient.to(memory_format=layout))
    torch.testing.assert_close(kernel.flatten(1), plain, atol=2e-4, rtol=0.02)  # sums in bfloat16, in another order


def test_all_parameters_are_stepped() -> None:
    network = random_network().to(memory_format=torch.channels_last)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = Optimizer(network, network.hidden(), 1e-3, 0.0)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    optimizer.step(1e-3)
    assert not [name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])]
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


def test_weights_decay_without_gradients_of_their_own() -> None:
    layer = nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    change = stepped(layer, torch.zeros(4, 4), learning_rate=0.1, decay=0.5)
    torch.testing.assert_close(change, -0.05 * before)


def test_it_goes_on_from_its_state() -> None:
    networks = [random_network(), random_network()]
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers = [Optimizer(network, network.hidden(), 1e-3, 0.0) for network in networks]

    def step(at: int, seed: int) -> None:
        for parameter in networks[at].parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
        optimizers[at].step(1e-3)

    step(0, 1)
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
    for at in (0, 1):
        step(at, 2)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)
