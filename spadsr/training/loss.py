"""The loss that training minimises, and the gain over bicubic interpolation that its curve shows."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simulate.pairs import Pair
from spadsr.networks.measurement import measure
from spadsr.training.batches import Batch

_VARIANCE_SHARE = 0.2  # of the gradient that reaches the body: the rate comes first
_LEAST_LOG_VARIANCE = -12.0  # of rate over mean rate: 0.25 % of the mean
_MOST_SURPRISING = 25.0  # squared error over variance; beyond it the pull on the variance grows no further


def training_loss(answers: list[tuple[Tensor, Tensor]], batch: Batch, beta: float) -> Tensor:
    """The loss of a network's answers (rate, log variance) at all resolutions of a batch, from the highest down.

    The highest resolution counts as much as all the others together.
    """
    losses = torch.stack(
        [
            _beta_weighted(rate, log_variance, batch.truth[s], batch.goal[s], beta)
            for (rate, log_variance), s in zip(answers, batch.truth, strict=True)
        ]
    )
    return losses[0] + losses[1:].sum() / max(1, len(losses) - 1)


def _beta_weighted(rate: Tensor, log_variance: Tensor, truth: Tensor, goal: Tensor, beta: float) -> Tensor:
    """Squared error of the rate from its goal, plus Gaussian likelihood of its variance from the truth.

    The two are separate, so that a growing variance cannot weaken the learning of the rate. The squared error is
    weighted by the predicted variance to the power beta - 1, as in the beta-NLL (Seitzer et al., ICLR 2022), over the
    mean of its power beta in each image: images of any noise count alike. Weights depend on the input alone, so that
    the best answer is the mean of the rates that could have caused these counts: neither dark nor bright parts are
    biased. The likelihood is that of errors up to five standard deviations; the pull of larger ones is limited to that
    of such an error, or a single pixel outweighs all others by thousands of times.
    """
    log_variance = log_variance.clamp(min=_LEAST_LOG_VARIANCE)
    error = (rate - goal).square()
    variance = log_variance.detach().exp()
    weight = variance ** (beta - 1) / (variance**beta).mean(dim=(-2, -1), keepdim=True)
    surprise = (rate.detach() - truth).square() * torch.exp(-log_variance)
    beyond = torch.log(surprise.clamp(min=_MOST_SURPRISING) / _MOST_SURPRISING)
    likelihood = surprise.clamp(max=_MOST_SURPRISING) + _MOST_SURPRISING * beyond + log_variance
    return 0.5 * (weight * error + _VARIANCE_SHARE * likelihood).mean()


@torch.inference_mode()
def gain_over_bicubic(network: torch.nn.Module, pair: Pair, bfloat16: bool) -> float:
    """Gain of a network over bicubic interpolation of the measurement: difference of their mean PSNR at x4, dB."""
    measurement = measure(pair.counts, pair.model)
    with torch.autocast(pair.counts.device.type, torch.bfloat16, enabled=bfloat16):
        [(rate, _)] = network(measurement, (4,))
    truth = pair.targets[4][:, None] / measurement.scale_at(4)
    bicubic = F.interpolate(measurement.rate, scale_factor=4.0, mode="bicubic", align_corners=False)
    errors = [(answer - truth).square().mean(dim=(1, 2, 3)) for answer in (bicubic, rate)]
    return float(10 * torch.log10(errors[0] / errors[1]).mean())
