"""A Dask scheduler and its workers, as processes of this machine."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
        for _ in range(600):
            if place.exists():
                break
            assert scheduler.poll() is None
            time.sleep(0.1)
        join = ["--scheduler-file", str(place), "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]
        command = _command("dask_worker", *join)
        processes = [_started(held, command, folder) for _ in range(workers)]
        yield Cluster(json.loads(place.read_text())["address"], scheduler, processes)


def _command(program: str, *options: str) -> list[str]:
    return [sys.executable, "-m", f"distributed.cli.{program}", *options]


def _started(held: ExitStack, command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    held.callback(process.wait)
    held.callback(process.kill)
    return process
