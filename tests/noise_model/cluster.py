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


@contextmanager
def started_cluster(workers: int) -> Iterator[Cluster]:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        place = folder / "scheduler.json"
        listen = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
        scheduler = _started(held, _command("dask_scheduler", *listen), folder)
        address = _address(place, scheduler)
        join = ["--scheduler-file", str(place), "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        command = _command("dask_worker", *join)
        processes = [_started(held, command, folder) for _ in range(workers)]
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
