"""Batches one after the other, made ahead by processes of their own where a GPU would wait for them."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from noise_model.errors import InputError
from noise_model.interrupts import ignored_signals
from spadsr.training.batches import Batch

_MOST_WORKERS = 16  # a GPU trains no faster with more


def batches(make: Callable[[int], Batch], numbers: Sequence[int], workers: int) -> Iterator[Batch]:
    """The batches of these numbers, in their order: the same ones with any number of workers.

    Args:
        make: makes the batch of a number, in memory of the CPU.
        workers: processes that make them ahead. They are copies (fork) of this process, so that all of them share its
            scenes; without any, a batch is made when it is asked for.

    Raises:
        InputError: of `make`; a worker ended; or workers are asked for where processes cannot be copied safely.
    """
    if not workers:
        yield from map(make, numbers)
        return
    if sys.platform != "linux":
        raise InputError(f"workers={workers}: captures are made ahead on Linux only; set workers=0")
    with ignored_signals(), warnings.catch_warnings():
        # PyTorch warns of more workers than cores, Python from 3.12 on of forks beside threads: workers have one thread
        # each and take no lock of this process.
        warnings.simplefilter("ignore")
        loader: DataLoader[Batch | InputError] = DataLoader(
            _Made(make),
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            prefetch_factor=1,  # of each: batches may be large
            multiprocessing_context="fork",
        )
        made = iter(loader)
    try:
        for each in made:
            if isinstance(each, InputError):
                raise each
            yield each
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise InputError(
            "training: a process that makes captures ended; give more memory, or more shared memory (containers have "
            "64 MB of it unless told otherwise), or set workers=0"
        ) from error


def fitting_workers(device: torch.device, processes: int) -> int:
    """How many workers suit a process of a run: on a CPU none, whose cores all train already.

    Args:
        processes: number of those of the run that share this machine's cores.
    """
    if device.type == "cpu" or sys.platform != "linux":  # elsewhere processes cannot be copied safely
        return 0
    return max(0, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) // processes - 1))


class _Made(Dataset[Any]):
    """What DataLoader's workers call: an error that the user has to know of is handed on as it is."""

    def __init__(self, make: Callable[[int], Batch]) -> None:
        self.make = make

    def __getitem__(self, number: int) -> Batch | InputError:
        try:
            return self.make(number)
        except InputError as error:
            return error
