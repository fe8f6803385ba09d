"""The training loop."""

import io
import math
import pickle
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from noise_model.errors import InputError
from noise_model.files import whole_file
from simulate.pairs import Pair
from spadsr.architectures import Network, build
from spadsr.distributed import Team
from spadsr.interrupts import Interrupted
from spadsr.measurement import measure
from spadsr.network import Measurement
from spadsr.optimizer import Optimizer
from spadsr.pair_source import PairSource
from spadsr.recipe import TrainingRecipe
from spadsr.restorer import load_restorer
from spadsr.teacher import Teacher

_UNREADABLE = (OSError, RuntimeError, LookupError, EOFError, ValueError, TypeError, AttributeError, pickle.PickleError)
_TRAINING, _SCALES, INTERVALS = range(3)  # what random numbers are for
ALONE = Team()

#: The network's input and, for each resolution, the true rates over each image's scale.
Batch: TypeAlias = tuple[Measurement, dict[int, Tensor]]

#: A batch, and the rates over each image's scale that are to be learnt, for each resolution.
Lesson: TypeAlias = tuple[Measurement, dict[int, Tensor], dict[int, Tensor]]

_VARIANCE_SHARE = 0.2  # of the gradient that reaches the body: the rate comes first
_LEAST_LOG_VARIANCE = -12.0  # of rate over mean rate: 0.25 % of the mean
_HIGH_LOSS, _MANY = 200.0, 20  # a loss is of order one, thousands after divergence; one batch may be odd, not many


@dataclass
class TrainingState:
    """All that changes during training, and all that is needed to go on to the same next step: what that step sees
    follows from its number. `origin` is the provenance of the weights it began with, empty where these were random."""

    network: Network
    averaged: AveragedModel
    optimizer: Optimizer
    step: int = 0
    samples: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)

    def begin_with(self, weights: Path) -> None:
        """Takes the parameters of a weight file.

        Raises:
            InputError: no such file, not a weight file, or one of another network.
        """
        restorer = load_restorer(weights)
        theirs, ours = restorer.network.config.model_dump(), self.network.config.model_dump()
        other = {name: value for name, value in theirs.items() if ours.get(name) != value}
        if theirs.keys() != ours.keys() or other:
            raise InputError(
                f"{weights}: weights of a network with {_listed(other)}, the recipe's has "
                f"{_listed({name: ours.get(name) for name in other})}; set network.KEY to what the weights have"
            )
        self.network.load_state_dict(restorer.network.state_dict())
        self.origin = {"checksum": restorer.checksum, **restorer.provenance}

    def save(self, path: Path) -> None:
        content = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "samples": self.samples,
            "history": self.history,
            "origin": self.origin,
        }
        packed = io.BytesIO()  # what goes wrong on the disk is then an OSError, with its reason
        torch.save(content, packed)
        with whole_file(path) as partial:
            partial.write_bytes(packed.getbuffer())

    def restore(self, path: Path) -> None:
        """Raises InputError where the file is missing or is not a checkpoint of this network."""
        try:
            content = torch.load(path, map_location=next(self.network.parameters()).device, weights_only=True)
            self.network.load_state_dict(content["network"])
            self.averaged.load_state_dict(content["averaged"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.step, self.samples, self.history = content["step"], content["samples"], content["history"]
            self.origin = content["origin"]
        except FileNotFoundError as error:
            raise InputError(f"{path}: no checkpoint to resume from; start without --resume") from error
        except _UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path}: not a checkpoint of this recipe ({reason}); start without --resume") from error


def new_state(recipe: TrainingRecipe, device: torch.device) -> TrainingState:
    """A network at its start, by the recipe's seed."""
    torch.manual_seed(recipe.seed)  # the initial weights; every later draw has a seed of its own
    network = build(recipe.network).to(device)
    network = network.to(memory_format=torch.channels_last)
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    optimizer = Optimizer(network, network.hidden(), recipe.learning_rate, recipe.weight_decay)
    return TrainingState(network, averaged, optimizer)


def train(
    recipe: TrainingRecipe,
    state: TrainingState,
    source: PairSource,
    folder: Path,
    team: Team = ALONE,
    interrupted: Callable[[], int] = lambda: 0,
    teacher: Teacher | None = None,
) -> Iterator[int]:
    """Trains until the recipe's last step, yielding the number of steps done after each; the team's first process
    writes checkpoints. A checkpoint is written when the next gradient is known to be finite and the next loss is not
    high: it never holds the step that ruined the weights.

    Args:
        interrupted: tells the number of a signal that asked to stop, 0 if none did.
        teacher: whose rates are learnt instead of the true ones. Variances are of the truth all the same.

    Raises:
        InputError: training diverged: loss or gradient are no longer finite, or the loss is high and stays so. The last
            checkpoint is of before.
        Interrupted: a process was asked to stop. The checkpoint holds all steps done.
    """
    forward: Callable[..., Any] = torch.compile(state.network, dynamic=False) if recipe.compiled else state.network
    validation = source.validation()
    saved, high = time.monotonic(), 0
    lesson = _lesson(recipe, source, teacher, state.step, team)
    while True:
        outcome = _gradients(recipe, state, lesson, forward, team, interrupted())
        last = state.step >= recipe.steps
        if not last:
            # made while a GPU still works at the gradients
            lesson = _lesson(recipe, source, teacher, state.step + 1, team)
        loss, norm, stop = outcome.tolist()
        high = high + 1 if loss > _HIGH_LOSS else 0
        _check_healthy(recipe, state, loss, norm, high, team)
        due = not high and time.monotonic() - saved > recipe.checkpoint_seconds
        if team.leads and (last or stop or due):
            state.save(folder / "checkpoint.pt")
            saved = time.monotonic()
        if last:
            return
        if stop:
            raise _stopped(recipe, state, folder, team, interrupted())
        _apply(recipe, state)
        if team.leads and (state.step % recipe.record_every == 0 or state.step == recipe.steps):
            _record(recipe, state, validation, loss)
        yield state.step


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _lesson(recipe: TrainingRecipe, source: PairSource, teacher: Teacher | None, step: int, team: Team) -> Lesson:
    """This process's share of what all see in a step: every exposure has a seed of its own, whoever draws it."""
    seeds = [number(_TRAINING, recipe.seed, step, exposure) for exposure in team.share(recipe.exposures)]
    measurement, truth = drawn(source, _scale(recipe, step), seeds, held_out=False)
    return measurement, truth, teacher.rates(measurement, tuple(truth), step) if teacher else truth


def _gradients(
    recipe: TrainingRecipe,
    state: TrainingState,
    lesson: Lesson,
    forward: Callable[..., Any],
    team: Team,
    stop: int,
) -> Tensor:
    """Leaves the gradients of the whole batch in the network; returns loss, their norm, and whether anyone wants to
    stop, as one tensor, so that a GPU is waited for once."""
    measurement, truth, wanted = lesson
    with torch.autocast(measurement.rate.device.type, torch.bfloat16, enabled=recipe.bfloat16):
        answers = forward(measurement, tuple(truth))
    loss = _loss(answers, list(truth.values()), [wanted[s] for s in truth], recipe.beta)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    loss = loss.detach()
    wish = torch.full_like(loss, float(stop))
    parameters = [parameter for parameter in state.network.parameters() if parameter.grad is not None]
    team.average([*(cast(Tensor, parameter.grad) for parameter in parameters), loss, wish])
    return torch.stack([loss, torch.nn.utils.clip_grad_norm_(parameters, recipe.clip), wish])


def _apply(recipe: TrainingRecipe, state: TrainingState) -> None:
    state.optimizer.step(_learning_rate(recipe, state.step))
    state.averaged.update_parameters(state.network)
    state.step += 1
    state.samples += recipe.batch


def _check_healthy(
    recipe: TrainingRecipe, state: TrainingState, loss: float, norm: float, high: int, team: Team
) -> None:
    """`high`: how many losses in a row, this one included, were high."""
    for name, value, ruined in (
        ("loss", loss, high == _MANY or not math.isfinite(loss)),
        ("gradient", norm, not math.isfinite(norm)),
    ):
        if ruined:
            raise team.common(
                InputError(
                    f"training: the {name} became {value:.4g} at step {state.step}; resume from the last checkpoint "
                    f"with a lower learning rate (learning_rate={recipe.learning_rate / 3:.1e})"
                )
            )


def _stopped(recipe: TrainingRecipe, state: TrainingState, folder: Path, team: Team, signalled: int) -> BaseException:
    line = f"stopped after step {state.step} of {recipe.steps}; to go on: spadsr train -o {folder} --resume"
    stop = Interrupted(line, signalled or signal.SIGTERM)  # the signal may have come to another process
    return team.common(stop, stop.exit_code)


def _learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < recipe.warm_up:
        return recipe.learning_rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def number(*key: int) -> int:
    """A random number, always the same for the same key of four numbers (its first one says what for)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


def drawn(source: PairSource, scale: int, seeds: list[int], *, held_out: bool) -> Batch:
    """Measurements of a batch and, for each resolution, the true rates over each image's scale, (B, 1, s H, s W). One
    exposure for each seed."""
    pairs = [source.pair(scale, seed, held_out=held_out) for seed in seeds]
    measurements = [measure(pair.counts, pair.exposure, pair.sensor) for pair in pairs]
    return _joined(measurements), _targets(pairs, measurements)


def _scale(recipe: TrainingRecipe, step: int) -> int:
    """The same for all exposures of a step."""
    scales, shares = zip(*sorted(recipe.scale_shares.items()), strict=True)
    return int(random.Random(number(_SCALES, recipe.seed, step, 0)).choices(scales, shares)[0])


def _joined(parts: list[Measurement]) -> Measurement:
    names = Measurement.__dataclass_fields__
    return Measurement(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _targets(pairs: list[Pair], measurements: list[Measurement]) -> dict[int, Tensor]:
    scales = pairs[0].targets
    return {
        s: torch.cat([p.targets[s][:, None] / m.scale for p, m in zip(pairs, measurements, strict=True)])
        for s in scales
    }


def _loss(answers: list[tuple[Tensor, Tensor]], truth: list[Tensor], wanted: list[Tensor], beta: float) -> Tensor:
    """Over all resolutions; the highest, which comes first, counts as much as all the others."""
    losses = torch.stack(
        [
            _beta_weighted(rate, log_variance, true, goal, beta)
            for (rate, log_variance), true, goal in zip(answers, truth, wanted, strict=True)
        ]
    )
    return losses[0] + losses[1:].sum() / max(1, len(losses) - 1)


def _beta_weighted(rate: Tensor, log_variance: Tensor, truth: Tensor, wanted: Tensor, beta: float) -> Tensor:
    """Squared error of the rate from the one wanted and Gaussian likelihood of its variance from the truth, apart: the
    variance cannot starve the rate.

    The squared error is weighted by the predicted variance to the power beta - 1, as in the beta-NLL (Seitzer et al.,
    ICLR 2022), over the mean of its power beta in each image: images of any noise count alike. Weights depend on the
    input alone, so that the best answer is the mean of the rates that could have caused these counts: neither dark nor
    bright parts are biased.
    """
    log_variance = log_variance.clamp(min=_LEAST_LOG_VARIANCE)
    error = (rate - wanted).square()
    variance = log_variance.detach().exp()
    weight = variance ** (beta - 1) / (variance**beta).mean(dim=(-2, -1), keepdim=True)
    likelihood = (rate.detach() - truth).square() * torch.exp(-log_variance) + log_variance
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
