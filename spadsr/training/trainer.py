"""The trainer: teaches a network by a recipe, step by step, and keeps the run's folder."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import Tensor

from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.interrupts import Interrupted, noted_signals
from noise_model.progress import Report, silent
from simulate.pairs import Pair
from spadsr.networks.network import Network
from spadsr.provenance import command_line, versions
from spadsr.restoration.weights import save_weights
from spadsr.training.batch_stream import batches, fitting_workers
from spadsr.training.batches import Batch, Purpose, make_batch, scale_of_step, seed_for
from spadsr.training.curves import write_curves
from spadsr.training.distributed import ALONE, Team, on_this_machine
from spadsr.training.loss import gain_over_bicubic, training_loss
from spadsr.training.measured_intervals import measured_intervals
from spadsr.training.pair_source import PairSource
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.state import TrainingState
from spadsr.training.teacher import Teacher
from spadsr.training.tensorboard_log import Log, tensorboard_log

RECIPE, CHECKPOINT, WEIGHTS = "recipe.yaml", "checkpoint.pt", "weights.safetensors"  # files of a run folder

_HIGH_LOSS, _MANY = 200.0, 20  # a loss is of order one, thousands after divergence; one batch may be odd, not many


@dataclass(frozen=True)
class FinishedRun:
    """The files of a run, and the photographs that could not be read."""

    weights: Path
    curves: Path
    skipped: list[Path]


@dataclass(frozen=True)
class Trainer:
    """Trains a network by a recipe: alone, or as one of a team of processes that see parts of the same batches.

    Attributes:
        recipe: decides everything.
        state: the network and all else that changes.
        source: of captures whose true rates are known.
        folder: gets recipe, checkpoint, curves and, in the end, weights; the team's first process writes them.
        teacher: network whose rates are learnt instead of the true ones. Variances are of the truth all the same.
        team: the processes that train together.
    """

    recipe: TrainingRecipe
    state: TrainingState
    source: PairSource
    folder: Path
    teacher: Teacher | None = None
    team: Team = ALONE

    def run(self, progress: Report) -> None:
        """Trains until the recipe's last step, Ctrl-C or SIGTERM, and keeps the folder up to date.

        Args:
            progress: called with the number of steps done and that of all.

        Raises:
            InputError, Interrupted: as `steps`.
        """
        with noted_signals() as interrupted:
            steps = self.steps(interrupted)
            if not self.team.leads:
                for _ in steps:
                    pass
                return
            self._write_recipe()
            with tensorboard_log(self.folder / "tensorboard", self.state.step) as log:
                for step in steps:
                    progress(step, self.recipe.steps)
                    self._write_curves(step, log)

    def steps(self, interrupted: Callable[[], int] = lambda: 0) -> Iterator[int]:
        """Trains until the recipe's last step, yielding the number of steps done after each.

        A checkpoint is written when the next gradient is known to be finite and the next loss is not high: it never
        holds the step that ruined the weights.

        Args:
            interrupted: tells the number of a signal that asked to stop, 0 if none did.

        Raises:
            InputError: training diverged: loss or gradient are no longer finite, or the loss is high and stays so. The
                last checkpoint is of before.
            Interrupted: a process was asked to stop. The checkpoint holds all steps done.
        """
        recipe, state, leads = self.recipe, self.state, self.team.leads
        forward: Callable[..., Any] = torch.compile(state.network, dynamic=False) if recipe.compiled else state.network
        validation = self.source.validation().to(self.device)
        saved, high = time.monotonic(), 0
        ahead = self._batches()
        batch = next(ahead)
        while True:
            outcome = self._gradients(forward, batch, interrupted())
            last = state.step >= recipe.steps
            if not last:
                batch = next(ahead)  # while a GPU still works at the gradients
            loss, norm, stop = outcome.tolist()
            high = high + 1 if loss > _HIGH_LOSS else 0
            self._check_healthy(loss, norm, high)
            due = not high and time.monotonic() - saved > recipe.checkpoint_seconds
            if leads and (last or stop or due):
                state.save(self.folder / CHECKPOINT)
                saved = time.monotonic()
            if last:
                return
            if stop:
                raise self._stopped(interrupted())
            self._apply_gradients()
            if leads and (state.step % recipe.record_every == 0 or state.step == recipe.steps):
                self._record(loss, validation)
            yield state.step

    def finish(self, progress: Report = silent) -> FinishedRun:
        """Measures the intervals of the averaged weights on scenes held out, and writes the weight file.

        Args:
            progress: called with the number of batches measured and that of all.
        """
        recipe, network = self.recipe, cast(Network, self.state.averaged.module)
        scales, each = list(recipe.scale_shares), recipe.interval_batches

        def held_out(scale: int) -> Iterator[Batch]:
            first = scales.index(scale) * each

            def made(number: int) -> Batch:
                seeds = [seed_for(Purpose.INTERVALS, recipe.seed, number, i) for i in range(recipe.exposures)]
                return make_batch(self.source, recipe, scale, seeds, held_out=True)

            for done, batch in enumerate(batches(made, range(first, first + each), self.workers), start=first):
                progress(done, each * len(scales))
                yield batch.to(self.device)

        intervals = measured_intervals(network, held_out, tuple(scales))
        weights = self.folder / WEIGHTS
        save_weights(weights, network, intervals, self._provenance())
        return FinishedRun(weights, self.folder / "curves.png", self.source.skipped)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.state.network.parameters()).device

    @property
    def workers(self) -> int:
        """Number of processes that make captures ahead."""
        wanted = self.recipe.workers
        return fitting_workers(self.device, on_this_machine()) if wanted is None else wanted

    def _batches(self) -> Iterator[Batch]:
        """The batches of the steps that are left, and one more, on the device, with what has to be learnt from them."""
        steps = range(self.state.step, self.recipe.steps + 1)
        for step, share in zip(steps, batches(self._share, steps, self.workers), strict=True):
            batch = share.to(self.device)
            if self.teacher is not None:
                batch = replace(batch, goal=self.teacher.rates(batch.measurement, tuple(batch.truth), step))
            yield batch

    def _share(self, step: int) -> Batch:
        """This process's share of the captures of a step; every exposure has a seed of its own, whoever makes it."""
        recipe = self.recipe.of_step(step)
        exposures = self.team.share(recipe.exposures)
        seeds = [seed_for(Purpose.CAPTURES, recipe.seed, step, exposure) for exposure in exposures]
        return make_batch(self.source, recipe, scale_of_step(recipe, step), seeds, held_out=False)

    def _gradients(self, forward: Callable[..., Any], batch: Batch, stop: int) -> Tensor:
        """Leaves the gradients of the whole batch in the network.

        Returns:
            Loss, norm of the gradients, and whether a process wants to stop, as one tensor: a GPU is waited for once.
        """
        recipe, state = self.recipe, self.state
        with torch.autocast(batch.measurement.rate.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            answers = forward(batch.measurement, tuple(batch.truth))
        loss = training_loss(answers, batch, recipe.beta)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
        wish = torch.full_like(loss, float(stop))
        parameters = [parameter for parameter in state.network.parameters() if parameter.grad is not None]
        self.team.average([*(cast(Tensor, parameter.grad) for parameter in parameters), loss, wish])
        return torch.stack([loss, torch.nn.utils.clip_grad_norm_(parameters, recipe.clip), wish])

    def _check_healthy(self, loss: float, norm: float, high: int) -> None:
        """Raises InputError where training diverged; `high` tells how many losses in a row were high, this one too."""
        for name, value, ruined in (
            ("loss", loss, high == _MANY or not math.isfinite(loss)),
            ("gradient", norm, not math.isfinite(norm)),
        ):
            if ruined:
                lower = f"learning_rate={self.recipe.learning_rate / 3:.1e}"
                again = "resume from the last checkpoint" if (self.folder / CHECKPOINT).exists() else "start again"
                raise self.team.common(
                    InputError(
                        f"training: the {name} became {value:.4g} at step {self.state.step}; {again} with a lower "
                        f"learning rate ({lower})"
                    )
                )

    def _stopped(self, signal_number: int) -> BaseException:
        line = f"stopped after step {self.state.step} of {self.recipe.steps}"
        stop = Interrupted(line, signal_number or signal.SIGTERM)  # the signal may have come to another process
        return self.team.common(stop, stop.exit_code)

    def _apply_gradients(self) -> None:
        self.state.optimizer.step(self._learning_rate())
        self.state.averaged.update_parameters(self.state.network)
        self.state.samples += self.recipe.of_step(self.state.step).batch
        self.state.step += 1

    def _learning_rate(self) -> float:
        """Linear warm-up, a share of the steps at the full rate, then a cosine to a hundredth."""
        recipe, step = self.recipe, self.state.step
        if step < recipe.warm_up:
            return recipe.learning_rate * (step + 1) / recipe.warm_up
        falls = max(recipe.warm_up, recipe.constant * recipe.steps)
        done = max(0.0, step - falls) / max(1, recipe.steps - falls)
        return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

    def _record(self, loss: float, validation: Pair) -> None:
        """Adds a point to the curves."""
        self.state.history.append(
            {
                "step": self.state.step,
                "samples": self.state.samples,
                "loss": loss,
                "learning_rate": self._learning_rate(),
                "gain_db": gain_over_bicubic(self.state.averaged.module, validation, self.recipe.bfloat16),
            }
        )

    def _write_recipe(self) -> None:
        with whole_file(self.folder / RECIPE) as partial:
            partial.write_text(yaml.safe_dump(self.recipe.kept(), sort_keys=False))

    def _write_curves(self, step: int, log: Log) -> None:
        """Writes the curves where this step added a point to them."""
        history = self.state.history
        if history and history[-1]["step"] == step:
            write_curves(history, self.folder)
            log(step, {name: history[-1][name] for name in ("loss", "learning_rate", "gain_db")})

    def _provenance(self) -> dict[str, Any]:
        state = self.state
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "command": command_line(),
            "versions": versions(),
            "steps": state.step,
            "samples": state.samples,
            "origin": state.origin,
            "teacher": self.teacher.checksum if self.teacher else None,
            "gain_db": state.history[-1]["gain_db"] if state.history else None,
        }
