"""A training run as a folder: recipe, checkpoint, curves, weights."""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import yaml

from noise_model.errors import InputError
from noise_model.files import whole_file
from spadsr.architectures import Network
from spadsr.intervals import measured_intervals
from spadsr.pair_source import PairSource, pair_source
from spadsr.recipe import TrainingRecipe, load_recipe
from spadsr.restorer import save_weights, usable_device
from spadsr.training import TrainingState, drawn, new_state, train
from spadsr.versions import versions

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

History = list[dict[str, float]]


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
) -> FinishedRun:
    """Trains by a recipe file (see `load_recipe`), or goes on with the run in `folder` by the recipe kept there.

    Raises:
        InputError: a bad recipe, no photographs, a run that is there already (without `resume`) or is not (with it).
    """
    kept = folder / "recipe.yaml"
    if not resume and (folder / "checkpoint.pt").exists():
        raise InputError(f"{folder}: holds a run already; go on with --resume, or choose another folder with -o")
    if resume and not kept.exists():
        raise InputError(f"{folder}: no run to resume; start without --resume")
    settled = load_recipe(kept if resume else recipe, overrides)
    place = usable_device(device)
    state = new_state(settled, place)
    if resume:
        state.restore(folder / "checkpoint.pt")
        for leftover in folder.glob(".checkpoint.*"):  # of a run that was killed
            leftover.unlink()
    source = pair_source(settled, place, preparing)
    _keep(settled, kept)
    with _board(folder, state.step) as log:
        for step in train(settled, state, source, folder):
            training(step, settled.steps)
            if state.history and state.history[-1]["step"] == step:
                log(state.history[-1])
                _write_curves(state.history, folder)
    return FinishedRun(_finish(settled, state, source, folder), folder / "curves.png", source.skipped)


def _keep(recipe: TrainingRecipe, path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def _finish(recipe: TrainingRecipe, state: TrainingState, source: PairSource, folder: Path) -> Path:
    weights = folder / "weights.safetensors"
    provenance: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json"),
        "command": " ".join(sys.argv),
        "versions": versions(),
        "steps": state.step,
        "samples": state.samples,
        "gain_db": state.history[-1]["gain_db"] if state.history else None,
    }
    averaged = cast(Network, state.averaged.module)
    generator = torch.Generator(state.generator.device).manual_seed(recipe.seed + 2)  # seen by no step
    intervals = measured_intervals(
        averaged, lambda scale: drawn(source, scale, generator), tuple(recipe.scale_shares), recipe.interval_batches
    )
    save_weights(weights, averaged, intervals, provenance)
    return weights


def _write_curves(history: History, folder: Path) -> None:
    with whole_file(folder / "curves.csv") as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    with whole_file(folder / "curves.png") as partial:
        _plot(history, partial)


def _plot(history: History, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    samples = [row["samples"] for row in history]
    for axes, name, label in zip(figure.subplots(1, 2), ("gain_db", "loss"), ("dB over bicubic", "loss"), strict=True):
        axes.plot(samples, [row[name] for row in history], marker="." if len(history) < 20 else "")
        axes.set(xlabel="captures seen", ylabel=label)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")


@contextmanager
def _board(folder: Path, step: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """TensorBoard curves in the run folder, where tensorboard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda row: None
        return
    with SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:
        yield lambda row: _log(writer, row)


def _log(writer: "SummaryWriter", row: dict[str, float]) -> None:
    for name in ("loss", "learning_rate", "gain_db"):
        writer.add_scalar(name, row[name], int(row["step"]))
