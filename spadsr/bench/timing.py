"""Timing of jobs: one once, or several in turn, so that a drift of the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from noise_model.progress import Report, silent

_T = TypeVar("_T")

_REPEATS = 7


def timed(job: Callable[[], _T]) -> tuple[_T, float]:
    """What a job returns, and the seconds that it took."""
    began = time.perf_counter()
    result = job()
    return result, time.perf_counter() - began


def interleaved(*jobs: Callable[[], object], progress: Report = silent) -> list[float]:
    """Median seconds of each job, after one run that is not counted; they take turns, so that all see the same load.

    Args:
        progress: called with the number of runs done and that of all.
    """
    rounds: list[list[float]] = []
    for done in range(_REPEATS + 1):
        rounds.append([])
        for place, job in enumerate(jobs, start=1):
            rounds[-1].append(timed(job)[1])
            progress(done * len(jobs) + place, (_REPEATS + 1) * len(jobs))
    return [statistics.median(seconds) for seconds in zip(*rounds[1:], strict=True)]
