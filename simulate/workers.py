"""Writing shards in this process, or in several."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from noise_model.interrupts import ignored_signals, stop_at_signals
from simulate.shards import SceneMaker, write_shard


def write_shards(maker: SceneMaker, shards: dict[Path, range], workers: int) -> Generator[int]:
    """Writes shards; yields the number of scenes that each step finished.

    Closing the iterator, or an exception, leaves whole shards only.
    """
    if workers < 2 or len(shards) < 2:
        return _write_in_this_process(maker, shards)
    return _write_in_processes(maker, shards, min(workers, len(shards)))


def _write_in_this_process(maker: SceneMaker, shards: dict[Path, range]) -> Generator[int]:
    with one_thread():
        for path, scenes in shards.items():
            for _ in write_shard(path, maker, scenes):
                yield 1


def _write_in_processes(maker: SceneMaker, shards: dict[Path, range], workers: int) -> Generator[int]:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    # Pickled here: handed over as it is, a tensor would travel as a handle to shared memory.
    arguments = (stop, pickle.dumps(maker))
    with ProcessPoolExecutor(workers, context, _begin_worker, arguments) as pool:
        with ignored_signals():
            tasks = [pool.submit(_work, path, scenes) for path, scenes in shards.items()]
        try:
            for task in as_completed(tasks):
                yield task.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_worker: tuple[Event, SceneMaker]


def _begin_worker(stop: Event, maker: bytes) -> None:
    """Prepares a worker process: Ctrl-C is left to its parent, which sets `stop`; it ends when its parent does."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_at_signals()  # others, for which the parent would take an interrupted task
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker = (stop, pickle.loads(maker))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(path: Path, scenes: range) -> int:
    stop, maker = _worker
    steps = write_shard(path, maker, scenes)
    for _ in steps:
        if stop.is_set():
            steps.close()
            return 0
    return len(scenes)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch uses one thread.

    More threads add numbers in another order: the last bit of a rate can differ, and a count with it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
