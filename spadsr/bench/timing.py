"""Timing of jobs: one once, or several in turn, so that a drift of the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_REPEATS = 7


def timed(job: Callable[[], _T]) -> tuple[_T, float]:
    """What a job returns, and the seconds that it took."""
    began = time.perf_counter()
    result = job()
    return result, time.perf_counter() - began


def interleaved(*jobs: Callable[[], object]) -> list[float]:
    """Median seconds of each job, after one run that is not counted; they take turns, so that all see the same load."""
    rounds = [[timed(job)[1] for job in jobs] for _ in range(_REPEATS + 1)]
    return [statistics.median(seconds) for seconds in zip(*rounds[1:], strict=True)]
