"""Work done elsewhere: processes of this machine, workers of a scheduler, and what goes away meanwhile."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from noise_model.errors import InputError
from noise_model.executors import SchedulerLost, cluster, local_processes, results, stop_asked
from tests.noise_model.cluster import Cluster, started_cluster


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def failing(number: int) -> int:
    if number % 2:
        raise InputError(f"{number}: odd", "number")
    return number


def ending(mark: Path) -> str:
    """Ends its process the first time."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def waiting(mark: Path) -> bool:
    mark.touch()
    for _ in range(600):
        if stop_asked():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def machines() -> Iterator[Cluster]:
    with started_cluster(workers=2) as started:
        yield started


@pytest.fixture(scope="module", params=["processes", "cluster"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "processes":
        with local_processes(2) as started:
            yield started
    else:
        with cluster(request.getfixturevalue("machines").address) as started:
            yield started


def test_results_come_from_other_processes(executor: Executor) -> None:
    found = list(results(executor, square, [(number,) for number in range(20)]))
    assert sorted(each for each, _ in found) == [number**2 for number in range(20)]
    assert os.getpid() not in {process for _, process in found}


def test_one_failure_does_not_keep_the_others_from_being_done(executor: Executor) -> None:
    done = results(executor, failing, [(number,) for number in range(6)])
    assert sorted(next(done) for _ in range(3)) == [0, 2, 4]
    with pytest.raises(InputError, match=r"[135]: odd \(and 2 more\)") as caught:
        next(done)
    assert caught.value.arguments == ("number",)


def test_a_worker_of_this_machine_that_dies_is_told_of(tmp_path: Path) -> None:
    with local_processes(2) as started, pytest.raises(InputError, match="a worker died"):
        list(results(started, ending, [(tmp_path / "mark",)]))


def test_a_task_whose_worker_dies_is_done_by_another(machines: Cluster, tmp_path: Path) -> None:
    with cluster(machines.address) as executor:
        assert list(results(executor, ending, [(tmp_path / "mark",)])) == ["done"]


def test_tasks_are_asked_to_stop_at_the_end(tmp_path: Path) -> None:
    with local_processes(1) as started:
        task = started.submit(waiting, tmp_path / "mark")
        while not (tmp_path / "mark").exists():
            time.sleep(0.01)
    assert task.result()
    assert not stop_asked()


def test_a_scheduler_that_goes_away(tmp_path: Path) -> None:
    with started_cluster(workers=1) as machines, cluster(machines.address) as executor:
        steps = results(executor, waiting, [(tmp_path / "mark",)])
        began = time.monotonic()
        machines.scheduler.kill()
        with pytest.raises(SchedulerLost, match="the scheduler is gone"):
            list(steps)
        assert time.monotonic() - began < 10


def test_no_scheduler_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(InputError, match="no scheduler answers") as caught, cluster(address):
        pass
    assert caught.value.arguments == ("scheduler",)
    for other in ("no address", "bogus", "tcp://127.0.0.1:99999"):
        with pytest.raises(InputError, match="no scheduler answers"), cluster(other):
            pass


def test_a_file_of_no_scheduler(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json"), cluster(str(tmp_path / "nothing.json")):
        pass
    (tmp_path / "other.json").write_text('{"type": "Worker"}')
    with pytest.raises(InputError, match="no scheduler answers"), cluster(str(tmp_path / "other.json")):
        pass


def test_the_file_of_a_scheduler(machines: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"type": "Scheduler", "address": machines.address}))
    with cluster(str(path)) as executor:
        assert next(results(executor, square, [(3,)]))[0] == 9
