"""A training run of seconds, for tests of what goes into one and what comes out."""

from pathlib import Path
from typing import Any

import torch
import yaml

from spadsr.training.pair_source import PairSource, pair_source
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.run import FinishedRun, run_training

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "steps": 6,
    "batch": 4,
    "exposures": 2,
    "native": 16,
    "warm_up": 2,
    "ema": 0.9,
    "record_every": 3,
    "checkpoint_seconds": 0,
    "interval_batches": 2,
    "bfloat16": False,
    "network": {
        "widths": [8, 16],
        "encoder": [1, 1],
        "decoder": [1],
        "attention": 1,
        "heads": 2,
        "window": 4,
        "detail": 4,
    },
    "scenes": {"drawn": 3, "drawn_size": 256},
}


def quiet(done: int, total: int) -> None:
    """Progress that nobody is told of."""


def recipe(**changes: Any) -> TrainingRecipe:
    return TrainingRecipe.model_validate(SMALL | changes)


def source_of(settled: TrainingRecipe) -> PairSource:
    return pair_source(settled, quiet)


def run(folder: Path, *overrides: str, resume: bool = False) -> FinishedRun:
    """Trains by the small recipe, or goes on with the run in the folder."""
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(SMALL))
    done = run_training(None if resume else str(path), list(overrides), folder, "cpu", resume, quiet, quiet)
    assert done is not None
    return done
