"""Timing jobs in turn, so that a drift of the machine falls on all of them alike."""

import statistics
import time
from collections.abc import Callable

_REPEATS = 7


def interleaved(*jobs: Callable[[], object]) -> list[float]:
    """Median seconds of each job, after one run that is not counted; they take turns, so that all see the same load."""
    times: list[list[float]] = [[] for _ in jobs]
    for turn in range(_REPEATS + 1):
        for job, taken in zip(jobs, times, strict=True):
            began = time.perf_counter()
            job()
            if turn > 0:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]
