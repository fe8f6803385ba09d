"""Two processes that train together do what one does, to rounding, and leave together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small_run import CPU, recipe, source_of

from noise_model.errors import InputError
from spadsr.training.distributed import Team
from spadsr.training.state import TrainingState, new_state
from spadsr.training.trainer import Trainer

RECIPE = recipe(steps=100_000, record_every=1)
ENDED = "training: another process of this run ended; its own line says why; resume the run (--resume)"
# Kernels that round differently move the losses of nine steps by up to 3e-5 of them, and weights whose gradients are
# nearly nothing by up to 2e-3; a learning rate 0.1 % off moves the losses by 1e-3, half the captures by a half.
LOSSES_AGREE = 2e-4  # relative
WEIGHTS_AGREE = 5e-3


def restored(folder: Path) -> TrainingState:
    state = new_state(RECIPE, CPU)
    state.load(folder / "checkpoint.pt")
    return state


@contextmanager
def two_processes(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "spadsr", "train"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def lines_of(process: subprocess.Popen[bytes]) -> list[str]:
    """What the run itself says, in the end, without torchrun's report."""
    output, errors = process.communicate()
    assert not output
    return [line for line in errors.decode().splitlines() if line.startswith(("error:", "stopped"))]


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def steps_in(curves: Path) -> int:
    return len(curves.read_text().splitlines()) - 1 if curves.exists() else 0


def worker(parent: int, rank: int) -> int:
    """Number of the process that torchrun started as this one of them."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    wanted = f"RANK={rank}".encode()
    [found] = [int(child) for child in children if wanted in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")]
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_two_processes_train_as_one_stop_together_and_resume(tmp_path: Path) -> None:
    """Both see what one would see; sums are rounded in another order."""
    path, folder = tmp_path / "endless.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(RECIPE.model_dump(mode="json")))
    with two_processes(str(path), "-o", str(folder)) as process:
        wait_for(lambda: steps_in(folder / "curves.csv") >= 4, process)
        process.send_signal(signal.SIGTERM)
        said = lines_of(process)
    first = restored(folder)
    assert first.step >= 4
    assert said == [f"stopped after step {first.step} of 100000; to go on: spadsr train -o {folder} --resume"]
    with two_processes("-o", str(folder), "--resume") as process:
        wait_for(lambda: steps_in(folder / "curves.csv") >= first.step + 4, process)
        os.kill(worker(process.pid, 1), signal.SIGKILL)
        said = lines_of(process)
    last = restored(folder)
    assert said in ([], [f"error: {ENDED}"])  # nothing where torchrun was faster to end it
    assert last.step >= first.step + 3  # the fourth was not yet known to be good
    alone = new_state(RECIPE, CPU)
    list(islice(Trainer(RECIPE, alone, source_of(RECIPE), tmp_path / "alone").steps(), last.step))
    check_same(last, alone)


def check_same(together: TrainingState, alone: TrainingState) -> None:
    assert [row["step"] for row in together.history] == [row["step"] for row in alone.history]
    for mine, yours in zip(together.history, alone.history, strict=True):
        assert mine["loss"] == pytest.approx(yours["loss"], rel=LOSSES_AGREE)
    torch.testing.assert_close(together.network.state_dict(), alone.network.state_dict(), rtol=0, atol=WEIGHTS_AGREE)


class Colleagues:
    """Stands for the other processes, which tell this."""

    def __init__(self, *told: str | None) -> None:
        self.told = told

    def __call__(self, gathered: list[Any], mine: str | None) -> None:
        gathered[:] = [mine if told == "mine" else told for told in self.told]


def refused() -> int:
    raise InputError("no photographs")


def test_one_process_speaks_for_all_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(*told: str | None) -> None:
        monkeypatch.setattr("torch.distributed.all_gather_object", Colleagues(*told))

    gather("mine", None)
    assert Team(0, 2).together(lambda: 7) == 7
    with pytest.raises(InputError, match="no photographs"):
        Team(0, 2).together(refused)
    gather(None, "mine")
    with pytest.raises(InputError, match="no photographs"):
        Team(1, 2).together(refused)
    gather("no photographs", "mine")
    for work in (refused, lambda: 7):
        with pytest.raises(SystemExit) as left:
            Team(1, 2).together(work)
        assert left.value.code == 2


def test_an_error_of_all_is_said_by_the_first() -> None:
    error = InputError("diverged")
    assert Team(0, 2).common(error) is error
    silent = Team(1, 2).common(error)
    assert isinstance(silent, SystemExit)
    assert silent.code == 2
