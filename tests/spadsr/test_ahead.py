"""Work done ahead: the order of results, how much is in work at once, and how it ends."""

import threading
import time
from contextlib import closing

import pytest

from noise_model.progress import Report
from spadsr.restoration.ahead import in_order


def test_results_come_in_the_order_of_their_jobs_and_no_more_are_in_work_than_asked() -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def work(job: int, report: Report) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.002 * (job % 3))
        with lock:
            at_work -= 1
        return job * job

    assert list(in_order(work, range(20), 3)) == [job * job for job in range(20)]
    assert 1 <= most <= 3
    assert list(in_order(work, [], 3)) == []


def test_what_goes_wrong_is_raised_in_its_turn() -> None:
    def work(job: int, report: Report) -> int:
        if job == 2:
            raise ValueError("two")
        return job

    results = in_order(work, range(5), 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_progress_is_that_of_all_in_work_and_is_told_where_it_is_waited_for() -> None:
    half, told = threading.Barrier(3), list[tuple[int, int]]()
    go = threading.Event()

    def work(job: int, report: Report) -> int:
        report(1, 2)
        half.wait(10)
        go.wait(10)
        return job

    def progress(done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append((done, total))
        if not go.is_set():
            half.wait(10)
            go.set()

    assert list(in_order(work, range(2), 2, progress)) == [0, 1]
    assert told[0][1] == 100
    assert max(done for done, _ in told) <= 100


def test_work_that_nobody_waits_for_ends_at_its_next_report() -> None:
    ended = threading.Event()

    def work(job: int, report: Report) -> int:
        if job == 0:
            return 0
        try:
            while True:
                time.sleep(0.001)
                report(1, 100)
        finally:
            ended.set()

    with closing(in_order(work, range(9), 2)) as results:
        assert next(results) == 0
    assert ended.is_set()
