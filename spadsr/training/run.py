"""A training run as a folder: recipe, checkpoint, curves, weights."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import yaml

from noise_model.errors import InputError
from noise_model.files import whole_file
from spadsr.interrupts import noted_signals
from spadsr.networks.network import Network
from spadsr.provenance import command_line, versions
from spadsr.restoration.restorer import usable_device
from spadsr.restoration.weights import save_weights
from spadsr.training.batches import INTERVALS, Batch, drawn, number
from spadsr.training.curves import _write_curves
from spadsr.training.distributed import Team, joined, own_device
from spadsr.training.loop import train
from spadsr.training.measured_intervals import measured_intervals
from spadsr.training.pair_source import PairSource, pair_source
from spadsr.training.recipe import TrainingRecipe, load_recipe
from spadsr.training.state import TrainingState, new_state
from spadsr.training.teacher import Teacher
from spadsr.training.tensorboard_log import Log, board


@dataclass(frozen=True)
class FinishedRun:
    """The files of a run, and the photographs that could not be read."""

    weights: Path
    curves: Path
    skipped: list[Path]


def run_training(
    recipe: str | None,
    overrides: list[str],
    folder: Path,
    device: str,
    resume: bool,
    preparing: Callable[[int, int], None],
    training: Callable[[int, int], None],
) -> FinishedRun | None:
    """Trains by a recipe file (see `load_recipe`), or goes on with the run in `folder` by the recipe kept there.

    Returns None in all processes of a team but the first.

    Raises:
        InputError: a bad recipe, no photographs, a run that is there already (without `resume`) or is not (with it);
            training diverged; memory or the disk is full; another process ended.
        Interrupted: by Ctrl-C or SIGTERM while training; a checkpoint is written.
    """
    with _memory(device):
        with joined(device) as team:
            place = own_device(device)
            run = team.together(lambda: _prepared(recipe, overrides, folder, place, resume, preparing, team))
            run.train(training)
        return run.finish() if team.leads else None


def _prepared(
    recipe: str | None,
    overrides: list[str],
    folder: Path,
    device: str,
    resume: bool,
    preparing: Callable[[int, int], None],
    team: Team,
) -> "_Run":
    kept = folder / "recipe.yaml"
    if not resume and (folder / "checkpoint.pt").exists():
        raise InputError(f"{folder}: holds a run already; go on with --resume, or choose another folder with -o")
    if resume and not kept.exists():
        raise InputError(f"{folder}: no run to resume; start without --resume")
    settled = load_recipe(kept if resume else recipe, overrides)
    team.share(settled.exposures)
    place = usable_device(device)
    state = new_state(settled, place)
    if resume:
        state.restore(folder / "checkpoint.pt")
    elif settled.start is not None:
        state.begin_with(settled.start)
    teacher = Teacher(settled.teacher, place, settled.bfloat16) if settled.teacher is not None else None
    return _Run(settled, state, pair_source(settled, place, preparing), teacher, folder, team)


@dataclass(frozen=True)
class _Run:
    """Ready to train."""

    recipe: TrainingRecipe
    state: TrainingState
    source: PairSource
    teacher: Teacher | None
    folder: Path
    team: Team

    def train(self, report: Callable[[int, int], None]) -> None:
        with noted_signals() as interrupted:
            steps = train(self.recipe, self.state, self.source, self.folder, self.team, interrupted, self.teacher)
            if not self.team.leads:
                deque(steps, maxlen=0)
                return
            for leftover in self.folder.glob(".*.*"):  # files that a killed run had begun
                leftover.unlink()
            _keep(self.recipe, self.folder / "recipe.yaml")
            with board(self.folder / "tensorboard", self.state.step) as log:
                for step in steps:
                    report(step, self.recipe.steps)
                    self._show(step, log)

    def _show(self, step: int, log: Log) -> None:
        history = self.state.history
        if history and history[-1]["step"] == step:
            _write_curves(history, self.folder)
            log(step, {name: history[-1][name] for name in ("loss", "learning_rate", "gain_db")})

    def finish(self) -> FinishedRun:
        weights = _finish(self.recipe, self.state, self.source, self.teacher, self.folder)
        return FinishedRun(weights, self.folder / "curves.png", self.source.skipped)


@contextmanager
def _memory(device: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        raise InputError(
            f"training: out of memory on {device}; lower batch= or native=, or share the batch out among more "
            "processes (scenes.photos and scenes.drawn are kept in memory too)"
        ) from error


def _keep(recipe: TrainingRecipe, path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def _finish(
    recipe: TrainingRecipe, state: TrainingState, source: PairSource, teacher: Teacher | None, folder: Path
) -> Path:
    weights = folder / "weights.safetensors"
    provenance: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "command": command_line(),
        "versions": versions(),
        "steps": state.step,
        "samples": state.samples,
        "origin": state.origin,
        "teacher": teacher.checksum if teacher else None,
        "gain_db": state.history[-1]["gain_db"] if state.history else None,
    }
    averaged = cast(Network, state.averaged.module)
    batches = itertools.count()

    def fresh(scale: int) -> Batch:
        batch = next(batches)
        seeds = [number(INTERVALS, recipe.seed, batch, exposure) for exposure in range(recipe.exposures)]
        return drawn(source, scale, seeds, held_out=True)

    intervals = measured_intervals(averaged, fresh, tuple(recipe.scale_shares), recipe.interval_batches)
    save_weights(weights, averaged, intervals, provenance)
    return weights
