"""A Dask scheduler and its workers, as processes of this machine."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


#: Runs a module whose files, and those of the processes that it starts, cannot grow beyond so many bytes.
_LIMITED = (
    "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2);"
    " del sys.argv[1]; name = sys.argv.pop(1); runpy.run_module(name, run_name='__main__', alter_sys=True)"
)


@contextmanager
def started_cluster(workers: int, full: int | None = None) -> Iterator[Cluster]:
    """A scheduler and its workers; with `full` one worker more, whose files cannot grow beyond so many bytes."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        place = folder / "scheduler.json"
        listen = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
        scheduler = _started(held, _command("dask_scheduler", *listen), folder)
        address = _address(place, scheduler)
        join = ["--scheduler-file", str(place), "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        command = _command("dask_worker", *join)
        processes = [_started(held, command, folder) for _ in range(workers)]
        if full is not None:
            limited = [sys.executable, "-c", _LIMITED, str(full), *command[2:]]
            processes.append(_started(held, limited, folder))
        yield Cluster(address, scheduler, processes)


def _address(place: Path, scheduler: subprocess.Popen[bytes]) -> str:
    """What a scheduler writes into its file, once all of it is there."""
    for _ in range(600):
        assert scheduler.poll() is None
        with suppress(FileNotFoundError, json.JSONDecodeError):
            return str(json.loads(place.read_text())["address"])
        time.sleep(0.1)
    raise AssertionError("the scheduler does not start")


def _command(program: str, *options: str) -> list[str]:
    return [sys.executable, "-m", f"distributed.cli.{program}", *options]


def _started(held: ExitStack, command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held.callback(process.wait)
    held.callback(process.kill)
    return process
