"""Where work is done: in processes of this machine, or on the workers of a Dask scheduler."""

import logging
import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from noise_model.config_files import read_config
from noise_model.errors import InputError
from noise_model.interrupts import ignored_signals, stop_at_signals

_T = TypeVar("_T")

_PATIENCE = 5.0  # s, in which a scheduler has to answer
_EXPECTED = "expected one that runs, such as tcp://host:8786 (`dask scheduler`), or its file"
_RETRIES = 3  # of a task whose worker died


class SchedulerLost(Exception):  # noqa: N818  # not an error of the input
    """The scheduler went away while it had work: the message is one line.

    A note (`add_note`) may say how far the work came, and how to go on.
    """

    exit_code = 3


@contextmanager
def local_processes(workers: int) -> Iterator[Executor]:
    """Yields an executor of processes of this machine, with one thread each.

    They are spawned: a script that asks for them needs its `if __name__ == "__main__"`. At the end of the block, or of
    this process, however it ends, tasks are asked to stop (`stop_asked`), those that wait are dropped, and the
    processes end.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _begin_worker, (stop,)) as pool:
        try:
            yield pool
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def cluster(scheduler: str) -> Iterator[Executor]:
    """Yields an executor of the workers of a Dask scheduler; what they have not begun is dropped at the end.

    The workers import this package, and see files under the same paths as this process.

    Args:
        scheduler: its address, such as tcp://host:8786, or the JSON file that it writes.

    Raises:
        InputError: Dask is not installed, or no scheduler answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise InputError("a scheduler needs Dask; install the extra `cluster`", "scheduler") from error
    for library in ("distributed", "tornado"):  # what they lose is told of here
        logging.getLogger(library).propagate = False
        logging.getLogger(library).addHandler(logging.NullHandler())
    address = _reached(scheduler)
    connect: Any = distributed.Client  # which has no types
    try:
        client = connect(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(f"{scheduler}: no scheduler of Dask answers there; {_EXPECTED}", "scheduler") from error
    pool = _Cluster(client, scheduler)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)
        client.close(timeout=1)


def _reached(scheduler: str) -> str:
    """The address of a scheduler, where something listens: a client that finds nothing there would wait to the end."""
    address = scheduler
    if scheduler.endswith(".json"):
        address = str(read_config(Path(scheduler), "file of a scheduler").get("address"))
    try:
        place = urlsplit(address if "://" in address else f"tcp://{address}")
        if not place.hostname or not place.port:
            raise ValueError(address)
        socket.create_connection((place.hostname, place.port), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise InputError(f"{scheduler}: no scheduler answers; {_EXPECTED}", "scheduler") from error
    return address


def results(executor: Executor, function: Callable[..., _T], arguments: Iterable[tuple[Any, ...]]) -> Generator[_T]:
    """Yields what `function` returns for each of the arguments, as they are done.

    What a task raises does not keep the others from being done.

    Raises:
        InputError: what a task raised, at the end; the first if there are several, and how many they are.
        SchedulerLost: the scheduler went away.
    """
    with ignored_signals():  # by processes that are started now
        waiting = {executor.submit(function, *each) for each in arguments}
    failures: list[InputError] = []
    while waiting:
        done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
        if isinstance(executor, _Cluster):
            executor.expect_scheduler()
        for task in done:
            try:
                yield task.result()
            except InputError as error:
                failures.append(error)
            except _died(executor) as error:
                raise InputError("a worker died, out of memory perhaps; try again with fewer", "workers") from error
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise InputError(f"{failures[0]}{more}", *failures[0].arguments) from failures[0]


@lru_cache(maxsize=1)
def unpickled(pickled: bytes) -> Any:
    """What `pickle` made bytes of: for what all tasks share and is large, which a process then takes apart once."""
    return pickle.loads(pickled)


def stop_asked() -> bool:
    """Whether this process should end what it does, and leave it undone."""
    return _stop is not None and _stop.is_set()


class _Cluster(Executor):
    def __init__(self, client: Any, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._pool = client.get_executor(pure=False, retries=_RETRIES)

    def submit(self, function: Callable[..., _T], /, *arguments: Any, **named: Any) -> Future[_T]:
        task: Future[_T] = self._pool.submit(function, *arguments, **named)
        return task

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._client.status == "running":
            self._pool.shutdown(wait=wait)

    def expect_scheduler(self) -> None:
        if self._client.status != "running":
            raise SchedulerLost(f"{self._scheduler}: the scheduler is gone")


def _died(executor: Executor) -> type[Exception]:
    """What a task raises whose worker died, on a cluster each time that it was tried."""
    if not isinstance(executor, _Cluster):
        return BrokenExecutor
    from distributed.scheduler import KilledWorker

    return KilledWorker


_stop: Event | None = None


def _begin_worker(stop: Event) -> None:
    """Prepares a worker process: Ctrl-C is left to its parent, which sets `stop`; it ends when its parent does."""
    global _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_at_signals()  # others, for which the parent would take an interrupted task
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch  # takes long to load, and the command line needs only the names above

    torch.set_num_threads(1)
    _stop = stop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
