"""Several processes that train one network, started by torchrun, each with its share of every batch.

Gradients are averaged by one all-reduce after the backward pass. The network is small: there is little to gain from
sending its gradients earlier, as DistributedDataParallel does.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from noise_model.errors import InputError

_T = TypeVar("_T")

_PATIENCE = timedelta(minutes=10)  # with the slowest process
_BAD_INPUT = 2  # exit code


@dataclass(frozen=True)
class Team:
    """The processes that train together, as the one of number `rank` sees them; by default one alone."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks for all."""
        return self.rank == 0

    def share(self, exposures: int) -> range:
        """The exposures of a batch that this process makes. Raises InputError where they cannot be shared out."""
        if exposures % self.size:
            raise InputError(
                f"exposures={exposures}: cannot be shared out among {self.size} processes; choose a multiple of "
                f"{self.size} (batch= a multiple of that), or another number of processes"
            )
        each = exposures // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by its mean over all processes: the same to the bit in each of them."""
        if self.size == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        try:
            dist.all_reduce(together)
        except RuntimeError as error:  # the connection broke
            raise self.common(
                InputError(
                    "training: another process of this run ended; its own line says why; resume the run", "resume"
                )
            ) from error
        together /= self.size
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, mean in zip(tensors, torch.split(together, sizes), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def together(self, work: Callable[[], _T]) -> _T:
        """Returns what `work` does. If it fails in any process all end, and the first that failed says why."""
        if self.size == 1:
            return work()
        result, failure = None, None
        try:
            result = work()
        except InputError as error:
            failure = error
        told: list[str | None] = [None] * self.size
        dist.all_gather_object(told, str(failure) if failure else None)
        failed = [rank for rank, words in enumerate(told) if words is not None]
        if failure is not None and failed[0] == self.rank:
            raise failure
        if failed:
            raise SystemExit(_BAD_INPUT)
        return cast(_T, result)

    def common(self, error: Exception, exit_code: int = _BAD_INPUT) -> BaseException:
        """The exception to raise for an error that all processes meet at once: only the first one tells it."""
        return error if self.leads else SystemExit(exit_code)


ALONE = Team()


def leads() -> bool:
    """Whether this process is the only one, or speaks for all that torchrun started."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


def on_this_machine() -> int:
    """How many processes that torchrun started share this machine's cores, with this one; 1 for a process alone."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """Yields the team that torchrun started, or that of a process alone: by gloo between CPUs, by nccl between GPUs.

    Args:
        device: cpu or cuda.

    Raises:
        InputError: the processes do not find each other.
    """
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    try:
        dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=_PATIENCE)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"training: the processes cannot reach each other ({reason}); check the network") from error
    yield Team(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # only without a failure: it would wait for the others


def own_device(device: str) -> str:
    """The name of this process's device: each process of a machine takes another one of its GPUs."""
    local = os.environ.get("LOCAL_RANK") if dist.is_torchelastic_launched() else None
    return f"cuda:{local}" if device == "cuda" and local is not None else device
