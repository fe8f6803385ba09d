"""What may happen to a training run: signals, kills, full disks, no memory. It says one line, and can go on."""

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from small_run import CPU, SMALL, quiet, source_of

from noise_model.errors import InputError
from noise_model.files import whole_file
from noise_model.interrupts import noted_signals
from noise_model.owned_folder import owned
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.weights import load_restorer, save_weights
from spadsr.training.distributed import Team
from spadsr.training.recipe import TrainingRecipe
from spadsr.training.run import run_training
from spadsr.training.state import TrainingState, new_state
from spadsr.training.tensorboard_log import tensorboard_log
from spadsr.training.trainer import Trainer

ENDLESS = SMALL | {"steps": 100_000, "record_every": 1}
RECIPE = TrainingRecipe.model_validate(ENDLESS)
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The recipe's file."""
    path = tmp_path / "endless.yaml"
    path.write_text(yaml.safe_dump(ENDLESS))
    return path


def restored(folder: Path) -> TrainingState:
    state = new_state(RECIPE, CPU)
    state.load(folder / "checkpoint.pt")
    return state


def left_alone(steps: int, folder: Path) -> TrainingState:
    """A run of one process, after so many steps."""
    state = new_state(RECIPE, CPU)
    list(islice(Trainer(RECIPE, state, source_of(RECIPE), folder).steps(), steps))
    return state


def same_weights(one: TrainingState, other: TrainingState) -> bool:
    mine, yours = one.averaged.state_dict(), other.averaged.state_dict()
    return all(bool(mine[name].equal(yours[name])) for name in mine)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not happened():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_run_killed_again_and_again_ends_as_one_that_was_left_alone(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five times, at random moments."""
    folder, wait = tmp_path / "run", random.Random(0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums depend on their number
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["spadsr.training.run", "tensorboard.summary", "noise_model.kernels"])
    for start in range(5):
        arguments = (None if start else str(path), ["record_every=4"], folder, "cpu", start > 0, max, max)
        process = processes.Process(target=run_training, args=arguments)
        process.start()
        written = set()
        while len(written) < 4:  # the one that it found, that again, two more
            assert process.is_alive()
            written |= {file.stat().st_mtime_ns for file in folder.glob("checkpoint.pt")}
            time.sleep(0.001)
        time.sleep(wait.uniform(0, 0.2))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    state = restored(folder)
    assert state.step >= 10
    assert same_weights(state, left_alone(state.step, tmp_path / "alone"))
    run_training(None, [f"steps={state.step + 1}"], folder, "cpu", True, quiet, quiet)
    assert load_restorer(folder / "weights.safetensors").provenance["steps"] == state.step + 1
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_all_its_steps_and_says_how_to_go_on(
    tmp_path: Path, path: Path, how: signal.Signals
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "spadsr", "train", str(path), "checkpoint_seconds=3600", "-o", str(folder)]
    with subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for((folder / "curves.csv").exists, process)
        process.send_signal(how)
        _, errors = process.communicate()
    state = restored(folder)
    assert state.step == state.history[-1]["step"] > 0
    expected = f"stopped after step {state.step} of 100000; to go on: spadsr train -o {folder} --resume\n"
    assert (process.returncode, errors.decode()) == (128 + how, expected)
    assert same_weights(state, left_alone(state.step, tmp_path / "alone"))


def test_signals_are_as_before_once_training_is_over() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with noted_signals() as noted:
        assert noted() == 0
        signal.raise_signal(signal.SIGTERM)
        assert noted() == signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Writing beyond so many bytes fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, path: Path) -> None:
    folder = tmp_path / "run"
    run_training(str(path), ["steps=2"], folder, "cpu", False, quiet, quiet)
    before = (folder / "checkpoint.pt").read_bytes()
    with no_file_above(len(before) // 2), pytest.raises(InputError) as caught:
        run_training(None, ["steps=4"], folder, "cpu", True, quiet, quiet)
    assert str(caught.value) == (
        f"{folder / 'checkpoint.pt'}: writing failed (File too large); check the disk and try again"
    )
    assert (folder / "checkpoint.pt").read_bytes() == before
    assert not list(folder.glob(".*"))
    run_training(None, ["steps=4"], folder, "cpu", True, quiet, quiet)


def test_a_full_disk_leaves_the_last_weights(tmp_path: Path) -> None:
    network, path = new_state(RECIPE, CPU).network, tmp_path / "weights.safetensors"
    save_weights(path, network, Intervals(), {})
    before = path.read_bytes()
    with no_file_above(1000), pytest.raises(InputError, match=r"weights.safetensors: writing failed \(File too large"):
        save_weights(path, network, Intervals(), {})
    assert path.read_bytes() == before


def test_a_full_disk_under_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with no_file_above(500), tensorboard_log(tmp_path, 0) as log:
        log(1, {"loss": 1.0})
        with pytest.raises(InputError, match=r"writing failed \(No space left on device\); check the disk"):
            log(2, {name * 300: 1.0 for name in "ab"})


def test_curves_of_a_resumed_run_replace_what_it_does_again(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for start, steps, loss in ((0, 6, 1.0), (3, 8, 2.0)):
        with tensorboard_log(tmp_path, start) as log:
            for step in range(start + 1, steps):
                log(step, {"loss": loss, "gain_db": 0.0})
        time.sleep(1.1)  # files are read in the order of their seconds
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss")]
    assert shown == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0)]


def test_too_large_a_batch_says_what_to_lower(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 TiB of random numbers: the allocator refuses."""
    monkeypatch.setattr("spadsr.training.trainer.training_loss", lambda *_: torch.rand(1 << 42))
    with pytest.raises(
        InputError, match="training: out of memory on cpu; lower batch= and exposures= or native="
    ) as caught:
        run_training(str(path), [], tmp_path / "run", "cpu", False, quiet, quiet)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")])
def test_memory_that_ends_while_training(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    run_training(str(path), ["steps=2"], tmp_path, "cpu", False, quiet, quiet)
    monkeypatch.setattr("spadsr.training.trainer.training_loss", fail)
    with pytest.raises(InputError, match="training: out of memory on cpu; lower batch= and exposures= or native="):
        run_training(None, ["steps=3"], tmp_path, "cpu", True, quiet, quiet)
    assert restored(tmp_path).step == 2


def test_a_run_folder_has_one_training(tmp_path: Path, path: Path) -> None:
    with owned(tmp_path / "run"), pytest.raises(InputError, match="in use by process"):
        run_training(str(path), ["steps=2"], tmp_path / "run", "cpu", False, quiet, quiet)
    run_training(str(path), ["steps=2"], tmp_path / "run", "cpu", False, quiet, quiet)
    assert not list((tmp_path / "run").glob(".*"))


def test_other_errors_are_not_taken_for_it(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("spadsr.training.trainer.training_loss", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run_training(str(path), [], tmp_path, "cpu", False, quiet, quiet)


def test_whole_files_on_a_full_disk_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with no_file_above(10), pytest.raises(InputError, match="a: writing failed"), whole_file(tmp_path / "a") as partial:
        partial.write_bytes(bytes(100))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize(("exposures", "size"), [(1, 2), (4, 3), (8, 16)])
def test_a_batch_that_cannot_be_shared_out(exposures: int, size: int) -> None:
    with pytest.raises(InputError, match=f"exposures={exposures}: cannot be shared out among {size} processes"):
        Team(0, size).share(exposures)


@pytest.mark.parametrize(("exposures", "size"), [(1, 1), (4, 2), (8, 8), (24, 4)])
def test_every_exposure_is_one_process_s(exposures: int, size: int) -> None:
    shares = [Team(rank, size).share(exposures) for rank in range(size)]
    assert [exposure for share in shares for exposure in share] == list(range(exposures))
    assert len({len(share) for share in shares}) == 1
