"""The training loss: its best answer is the mean of what could be true, and no single pixel outweighs all others."""

import pytest
import torch
from small_network import measured
from torch import Tensor

from spadsr.training.batches import Batch
from spadsr.training.loss import training_loss


def gradients(rate: Tensor, log_variance: Tensor, truth: Tensor, beta: float = 0.75) -> tuple[Tensor, Tensor]:
    """Of the loss at native resolution, by rate and by log variance."""
    rate, log_variance = rate.clone().requires_grad_(), log_variance.clone().requires_grad_()
    batch = Batch(measured(*rate.shape[-2:]), {1: truth}, {1: truth})
    by_rate, by_variance = torch.autograd.grad(training_loss([(rate, log_variance)], batch, beta), (rate, log_variance))
    return by_rate, by_variance


@pytest.mark.parametrize("beta", [0.0, 0.75, 1.0])
def test_the_best_rate_is_the_mean_whatever_the_variance(beta: float) -> None:
    """Of three truths, equally likely: their gradients at the mean cancel in every pixel."""
    generator = torch.Generator().manual_seed(0)
    truths = torch.rand(3, 1, 1, 4, 5, generator=generator)
    log_variance = torch.randn(1, 1, 4, 5, generator=generator)
    pulls = torch.stack([gradients(truths.mean(dim=0), log_variance, truth, beta)[0] for truth in truths])
    assert pulls.abs().min() > 1e-5
    assert pulls.sum(dim=0).abs().max() < 1e-6


def test_the_best_variance_is_the_squared_error() -> None:
    truth, rate = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.3)
    for factor, sign in ((0.5, -1), (1.0, 0), (2.0, 1)):
        _, pull = gradients(rate, torch.full_like(rate, 0.09 * factor).log(), truth)
        assert torch.all(pull.sign() == sign if sign else pull.abs() < 1e-7)


@pytest.mark.parametrize("deviations", [5, 6, 1000])
def test_a_pixel_that_is_far_off_pulls_no_more_than_one_at_five_deviations(deviations: float) -> None:
    truth, log_variance = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), -4.0)
    rate = torch.zeros(1, 1, 2, 2)
    rate[0, 0, 0, 0] = deviations * torch.tensor(-2.0).exp()
    _, pull = gradients(rate, log_variance, truth)
    likely = 0.5 * 0.2 / 4  # half of the likelihood's share, for each of four pixels
    torch.testing.assert_close(pull[0, 0], torch.tensor([[1 - 25.0, 1.0], [1.0, 1.0]]) * likely)


def test_the_highest_resolution_counts_as_much_as_all_others() -> None:
    def with_error_at(scale: int) -> float:
        sides = {4: 8, 2: 4, 1: 2}
        truth = {s: torch.zeros(1, 1, side, side) for s, side in sides.items()}
        answers = [(torch.full_like(truth[s], float(s == scale)), torch.zeros_like(truth[s])) for s in truth]
        return float(training_loss(answers, Batch(measured(2, 2), truth, truth), 0.75))

    assert with_error_at(4) == pytest.approx(2 * with_error_at(2))
    assert with_error_at(2) == pytest.approx(with_error_at(1))
    assert with_error_at(4) == pytest.approx(0.5 * 1.2)
