"""Work done ahead, in threads: several jobs at once, whose results are handed on in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from noise_model.progress import Report, silent

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_PERIOD = 0.1  # s, between reports


class _Halted(Exception):  # noqa: N818  # not an error
    """Nobody waits for this work any longer."""


def in_order(
    work: Callable[[_Job, Report], _Result], jobs: Iterable[_Job], at_once: int, progress: Report = silent
) -> Iterator[_Result]:
    """The results of jobs, in their order, while `at_once` of those that follow are worked on.

    Work that nobody waits for any longer ends at its next report.

    Args:
        work: called in a thread with a job and a report, which it calls with hundredths done and their number.
        progress: called in the thread that waits with hundredths done of the jobs not handed on yet, and those of one.
    """
    halted, remaining = Event(), iter(jobs)
    begun: deque[tuple[Future[_Result], list[int]]] = deque()

    def worked(job: _Job, done: list[int]) -> _Result:
        def report(part: int, total: int) -> None:
            if halted.is_set():
                raise _Halted
            done[0] = 100 * part // max(total, 1)

        report(0, 1)
        return work(job, report)

    with ThreadPoolExecutor(at_once, "ahead") as threads:

        def begin() -> None:
            for job in remaining:
                done = [0]
                begun.append((threads.submit(worked, job, done), done))
                if len(begun) == at_once:
                    break

        try:
            begin()
            while begun:
                while not wait([begun[0][0]], _PERIOD).done:
                    progress(sum(done[0] for _, done in begun), 100)
                result = begun.popleft()[0].result()
                begin()
                yield result
        finally:
            halted.set()
