"""The training loop."""

import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noise_model.errors import InputError
from noise_model.files import whole_file
from simulate.pairs import Pair
from spadsr.architectures import Network, build
from spadsr.measurement import measure
from spadsr.network import Measurement
from spadsr.optimizer import Optimizer
from spadsr.pair_source import PairSource
from spadsr.recipe import TrainingRecipe

_UNREADABLE = (OSError, RuntimeError, LookupError, EOFError, ValueError, TypeError, AttributeError, pickle.PickleError)
_VARIANCE_SHARE = 0.2  # of the gradient that reaches the body: the rate comes first
_LEAST_LOG_VARIANCE = -12.0  # of rate over mean rate: 0.25 % of the mean


@dataclass
class TrainingState:
    """All that changes during training, and all that is needed to go on to the same next step."""

    network: Network
    averaged: AveragedModel
    optimizer: Optimizer
    generator: torch.Generator
    step: int = 0
    samples: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        content = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "samples": self.samples,
            "history": self.history,
        }
        with whole_file(path) as partial:
            torch.save(content, partial)

    def restore(self, path: Path) -> None:
        """Raises InputError where the file is missing or is not a checkpoint of this network."""
        try:
            content = torch.load(path, map_location=next(self.network.parameters()).device, weights_only=True)
            self.network.load_state_dict(content["network"])
            self.averaged.load_state_dict(content["averaged"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.generator.set_state(content["generator"].cpu())
            self.step, self.samples, self.history = content["step"], content["samples"], content["history"]
        except FileNotFoundError as error:
            raise InputError(f"{path}: no checkpoint to resume from; start without --resume") from error
        except _UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path}: not a checkpoint of this recipe ({reason}); start without --resume") from error


def new_state(recipe: TrainingRecipe, device: torch.device) -> TrainingState:
    """A network at its start, by the recipe's seed."""
    torch.manual_seed(recipe.seed)  # the initial weights; every later draw comes from the generator
    network = build(recipe.network).to(device)
    network = network.to(memory_format=torch.channels_last)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    optimizer = Optimizer(network, network.hidden(), recipe.learning_rate, recipe.weight_decay)
    return TrainingState(network, averaged, optimizer, torch.Generator(device).manual_seed(recipe.seed))


def train(recipe: TrainingRecipe, state: TrainingState, source: PairSource, folder: Path) -> Iterator[int]:
    """Trains until the recipe's last step, yielding the number of steps done after each; writes checkpoints.

    Raises:
        InputError: the loss is no longer finite. The last checkpoint is intact.
    """
    forward: Callable[..., Any] = torch.compile(state.network) if recipe.compiled else state.network
    validation = source.validation()
    saved = time.monotonic()
    while state.step < recipe.steps:
        loss = _step(recipe, state, source, forward)
        if state.step % recipe.record_every == 0 or state.step == recipe.steps:
            _record(recipe, state, validation, loss)
        if time.monotonic() - saved > recipe.checkpoint_seconds or state.step == recipe.steps:
            state.save(folder / "checkpoint.pt")
            saved = time.monotonic()
        yield state.step


def _step(recipe: TrainingRecipe, state: TrainingState, source: PairSource, forward: Callable[..., Any]) -> float:
    measurement, targets = drawn(source, _scale(recipe, state.generator), state.generator)
    device = measurement.rate.device.type
    with torch.autocast(device, torch.bfloat16, enabled=recipe.bfloat16):
        answers = forward(measurement, tuple(targets))
    loss = _loss(answers, list(targets.values()), recipe.beta)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip)
    if not math.isfinite(loss.item() + norm.item()):
        raise InputError(
            f"training: the loss became {loss.item()} at step {state.step}; resume from the last checkpoint "
            f"with a lower learning rate (learning_rate={recipe.learning_rate / 3:.1e})"
        )
    state.optimizer.step(_learning_rate(recipe, state.step))
    state.averaged.update_parameters(state.network)
    state.step += 1
    state.samples += recipe.batch
    return loss.item()


def _learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def drawn(source: PairSource, scale: int, generator: torch.Generator) -> tuple[Measurement, dict[int, Tensor]]:
    """Measurements of a batch and, for each resolution, the true rates over each image's scale, (B, 1, s H, s W)."""
    pairs = source.pairs(scale, generator)
    measurements = [measure(pair.counts, pair.exposure, pair.sensor) for pair in pairs]
    return _joined(measurements), _targets(pairs, measurements)


def _scale(recipe: TrainingRecipe, generator: torch.Generator) -> int:
    shares = torch.tensor(list(recipe.scale_shares.values()), device=generator.device)
    return list(recipe.scale_shares)[int(torch.multinomial(shares, 1, generator=generator))]


def _joined(parts: list[Measurement]) -> Measurement:
    names = Measurement.__dataclass_fields__
    return Measurement(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _targets(pairs: list[Pair], measurements: list[Measurement]) -> dict[int, Tensor]:
    scales = pairs[0].targets
    return {
        s: torch.cat([p.targets[s][:, None] / m.scale for p, m in zip(pairs, measurements, strict=True)])
        for s in scales
    }


def _loss(answers: list[tuple[Tensor, Tensor]], targets: list[Tensor], beta: float) -> Tensor:
    """Over all resolutions; the highest, which comes first, counts as much as all the others."""
    losses = torch.stack(
        [_beta_weighted(*answer, target, beta) for answer, target in zip(answers, targets, strict=True)]
    )
    return losses[0] + losses[1:].sum() / max(1, len(losses) - 1)


def _beta_weighted(rate: Tensor, log_variance: Tensor, target: Tensor, beta: float) -> Tensor:
    """Squared error of the rate and Gaussian likelihood of its variance, apart: the variance cannot starve the rate.

    The squared error is weighted by the predicted variance to the power beta - 1, as in the beta-NLL (Seitzer et al.,
    ICLR 2022), over the mean of its power beta in each image: images of any noise count alike. Weights depend on the
    input alone, so that the best answer is the mean of the rates that could have caused these counts: neither dark nor
    bright parts are biased.
    """
    log_variance = log_variance.clamp(min=_LEAST_LOG_VARIANCE)
    error = (rate - target).square()
    variance = log_variance.detach().exp()
    weight = variance ** (beta - 1) / (variance**beta).mean(dim=(-2, -1), keepdim=True)
    likelihood = error.detach() * torch.exp(-log_variance) + log_variance
    return 0.5 * (weight * error + _VARIANCE_SHARE * likelihood).mean()


def _record(recipe: TrainingRecipe, state: TrainingState, validation: Pair, loss: float) -> None:
    row = {
        "step": state.step,
        "samples": state.samples,
        "loss": loss,
        "learning_rate": _learning_rate(recipe, state.step),
    }
    state.history.append(row | {"gain_db": gain(state.averaged.module, validation, recipe.bfloat16)})


@torch.inference_mode()
def gain(network: torch.nn.Module, pair: Pair, bfloat16: bool) -> float:
    """Mean PSNR in dB over the bicubic interpolation of the measurement, at x4."""
    measurement = measure(pair.counts, pair.exposure, pair.sensor)
    with torch.autocast(pair.counts.device.type, torch.bfloat16, enabled=bfloat16):
        [(rate, _)] = network(measurement, (4,))
    truth = pair.targets[4][:, None] / measurement.scale
    bicubic = F.interpolate(measurement.rate, scale_factor=4.0, mode="bicubic", align_corners=False)
    errors = [(answer - truth).square().mean(dim=(1, 2, 3)) for answer in (bicubic, rate)]
    return float(10 * torch.log10(errors[0] / errors[1]).mean())
