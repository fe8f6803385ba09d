"""Batches made ahead by other processes are those that this one would make; what happens to them is told in a line."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from small_run import SMALL, recipe, run, source_of

from noise_model.errors import InputError
from spadsr.restoration.weights import load_restorer
from spadsr.training.batch_stream import batches, fitting_workers
from spadsr.training.batches import Batch, make_batch

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")


@pytest.fixture(scope="module")
def make() -> Callable[[int], Batch]:
    settled = recipe(pairs={"moving_share": 0.5})
    source = source_of(settled)
    return lambda number: make_batch(source, settled, 4, [2 * number, 2 * number + 1], held_out=False)


def content(batch: Batch) -> list[torch.Tensor]:
    return [*vars(batch.measurement).values(), *batch.truth.values(), *batch.goal.values()]


@linux
def test_other_processes_make_the_same_batches_in_order(make: Callable[[int], Batch]) -> None:
    numbers = [5, 0, 3, 1, 4, 2, 6]
    found, expected = (list(batches(make, numbers, workers)) for workers in (3, 0))
    assert len(found) == len(expected) == len(numbers)
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(content(one), content(other), strict=True))
    assert not torch.equal(content(expected[0])[0], content(expected[1])[0])


@linux
def test_processes_end_with_whom_they_work_for(make: Callable[[int], Batch]) -> None:
    stream = batches(make, range(1000), 2)
    next(stream)
    ours = multiprocessing.active_children()
    assert len(ours) == 2
    stream.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@linux
def test_an_error_of_what_makes_them_is_handed_on(make: Callable[[int], Batch]) -> None:
    def faulty(number: int) -> Batch:
        if number == 2:
            raise InputError("set/shard-2.h5: no such file", "simulated")
        return make(number)

    stream = batches(faulty, range(5), 2)
    assert [next(stream) is not None, next(stream) is not None] == [True, True]
    with pytest.raises(InputError, match=r"^set/shard-2.h5: no such file$") as caught:
        next(stream)
    assert caught.value.arguments == ("simulated",)


@linux
def test_a_process_that_is_killed(make: Callable[[int], Batch]) -> None:
    def fatal(number: int) -> Batch:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return make(number)

    with pytest.raises(
        InputError, match=r"^training: a process that makes captures ended; .*shared memory.*workers=0$"
    ) as caught:
        list(batches(fatal, range(6), 2))
    assert "\n" not in str(caught.value)


@linux
def test_a_fault_of_this_program_stays_one(make: Callable[[int], Batch]) -> None:
    def broken(number: int) -> Batch:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(batches(broken, range(3), 1))


def test_elsewhere_workers_are_refused(make: Callable[[int], Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InputError, match="workers=2: captures are made ahead on Linux only"):
        next(batches(make, range(3), 2))
    assert fitting_workers(torch.device("cuda"), 1) == 0


@linux
def test_how_many_suit_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    assert fitting_workers(torch.device("cpu"), 1) == 0
    assert [fitting_workers(torch.device("cuda"), processes) for processes in (1, 4, 16)] == [11, 2, 0]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(128)))
    assert fitting_workers(torch.device("cuda", 1), 1) == 16


@linux
def test_a_run_with_workers_ends_with_the_same_weights(tmp_path: Path) -> None:
    alone, helped = (load_restorer(run(tmp_path / f"{n}", f"workers={n}").weights) for n in (0, 2))
    theirs = helped.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in alone.network.state_dict().items())
    assert alone.intervals == helped.intervals


@linux
def test_a_signal_to_all_processes_stops_a_run_as_if_it_were_alone(tmp_path: Path) -> None:
    """As Ctrl-C in a terminal and a batch system do."""
    path = tmp_path / "endless.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"steps": 100_000, "workers": 2}))
    command = [sys.executable, "-m", "spadsr", "train", str(path), "-o", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, text=True) as process:
        while not (tmp_path / "run" / "checkpoint.pt").exists():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert errors.splitlines()[-1].startswith("stopped after step ")
    assert "Traceback" not in errors
