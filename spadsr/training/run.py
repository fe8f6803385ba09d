"""A training run from its beginning, or from its last checkpoint, to its weights."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from noise_model.errors import InputError, out_of_memory
from noise_model.owned_folder import owned
from noise_model.progress import Report, silent
from spadsr.restoration.restorer import usable_device
from spadsr.training.distributed import Team, joined, own_device
from spadsr.training.pair_source import pair_source
from spadsr.training.recipe import load_recipe
from spadsr.training.state import new_state
from spadsr.training.teacher import Teacher
from spadsr.training.trainer import CHECKPOINT, RECIPE, FinishedRun, Trainer


def run_training(
    recipe: str | None,
    overrides: list[str],
    output: Path,
    device: str,
    resume: bool,
    preparing: Report,
    training: Report,
    measuring: Report = silent,
) -> FinishedRun | None:
    """Trains by a recipe file (see `load_recipe`), or goes on with the run in a folder by the recipe kept there.

    Args:
        output: the run folder.
        preparing, training, measuring: called with the number of scenes, of steps, and of batches for the intervals,
            that are done, and that of all.

    Returns:
        What the run wrote; None in all processes of a team but the first.

    Raises:
        InputError: a bad recipe, no photographs, a run that is there already (without `resume`) or is not (with it);
            another process that writes to the folder; training diverged; memory or the disk is full; another process of
            this run ended.
        Interrupted: by Ctrl-C or SIGTERM while training; a checkpoint is written.
    """
    with _memory_errors(device), ExitStack() as held:
        with joined(device) as team:
            place = own_device(device)

            def ready() -> Trainer:
                if team.leads:
                    held.enter_context(owned(output))
                return _trainer(recipe, overrides, output, place, resume, preparing, team)

            trainer = team.together(ready)
            trainer.run(training)
        return trainer.finish(measuring) if team.leads else None


def _trainer(
    recipe: str | None,
    overrides: list[str],
    folder: Path,
    device: str,
    resume: bool,
    preparing: Report,
    team: Team,
) -> Trainer:
    """A trainer that is ready to run. Arguments and errors as of `run_training`."""
    if not resume and (folder / CHECKPOINT).exists():
        raise InputError(f"{folder}: holds a run already; resume it, or choose another folder", "resume", "output")
    if resume and not (folder / RECIPE).exists():
        raise InputError(f"{folder}: no run to resume; start without resuming", "resume")
    if resume and recipe is not None:
        raise InputError(f"{recipe}: a run goes on by its own recipe, {folder / RECIPE}; leave {recipe} out", "resume")
    settled = load_recipe(folder / RECIPE if resume else recipe, overrides)
    for each in settled.of_stages():
        team.share(each.exposures)
    place = usable_device(device)
    state = new_state(settled, place)
    if resume:
        state.load(folder / CHECKPOINT)
        if state.step > settled.steps:
            raise InputError(f"{folder}: {state.step} steps are done; give as many or more, not steps={settled.steps}")
    elif settled.start is not None:
        state.begin_with(settled.start)
    teacher = Teacher(settled.teacher, place, settled.bfloat16) if settled.teacher else None
    return Trainer(settled, state, pair_source(settled, preparing), folder, teacher, team)


@contextmanager
def _memory_errors(device: str) -> Iterator[None]:
    """Turns errors of memory into an InputError that says what to lower."""
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"training: out of memory on {device}; lower batch= and exposures= or native=, those of stages too, or "
            "share the batch out among more processes (scenes.photos and scenes.drawn are kept in memory as well)"
        ) from error
