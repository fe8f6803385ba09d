"""Writing shards in this process, or by an executor."""

import pickle
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

import torch

from noise_model.executors import results, stop_asked, unpickled
from simulate.shards import SceneMaker, is_shard, write_shard


def write_shards(maker: SceneMaker, shards: dict[Path, range], executor: Executor | None) -> Generator[int]:
    """Writes shards; yields the number of scenes that each step finished.

    Closing the iterator, or an exception, leaves whole shards only.

    Raises:
        InputError: shards cannot be written; the others are.
        SchedulerLost: as `noise_model.executors.results`.
    """
    if executor is None or len(shards) < 2:
        return _write_in_this_process(maker, shards)
    # Pickled here: handed over as it is, a tensor would travel as a handle to shared memory.
    pickled = pickle.dumps(maker)
    return results(executor, _write, ((pickled, path.absolute(), scenes) for path, scenes in shards.items()))


def _write_in_this_process(maker: SceneMaker, shards: dict[Path, range]) -> Generator[int]:
    with one_thread():
        for path, scenes in shards.items():
            if is_shard(path, len(scenes)):  # another process wrote it meanwhile
                yield len(scenes)
                continue
            for _ in write_shard(path, maker, scenes):
                yield 1


def _write(maker: bytes, path: Path, scenes: range) -> int:
    """Writes a shard, unless another process did meanwhile; the number of its scenes."""
    torch.set_num_threads(1)
    if is_shard(path, len(scenes)):
        return len(scenes)
    steps = write_shard(path, unpickled(maker), scenes)
    for _ in steps:
        if stop_asked():
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
