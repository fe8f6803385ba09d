"""The training loop."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from noise_model.errors import InputError
from simulate.pairs import Pair
from spadsr.interrupts import Interrupted
from spadsr.training.batches import Lesson, _lesson
from spadsr.training.distributed import Team
from spadsr.training.loss import _loss, gain
from spadsr.training.pair_source import PairSource
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.state import TrainingState
from spadsr.training.teacher import Teacher

ALONE = Team()


_HIGH_LOSS, _MANY = 200.0, 20  # a loss is of order one, thousands after divergence; one batch may be odd, not many


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


def _record(recipe: TrainingRecipe, state: TrainingState, validation: Pair, loss: float) -> None:
    row = {
        "step": state.step,
        "samples": state.samples,
        "loss": loss,
        "learning_rate": _learning_rate(recipe, state.step),
    }
    state.history.append(row | {"gain_db": gain(state.averaged.module, validation, recipe.bfloat16)})
