"""Benches: what is compared is what is said; the figures themselves depend on the machine."""

import time

import pytest
import torch

from noise_model.sensor import Sensor
from spadsr.bench import sampling_speed as bench


def test_sampling_beside_numpy() -> None:
    threads = torch.get_num_threads()
    first = next(bench.bench_simulate())
    assert first.shape[1:] == Sensor.load("spc3").shape
    assert first.ratio == pytest.approx(first.counts_per_second / first.numpy_per_second)
    assert first.counts_per_second > 1e5
    assert torch.get_num_threads() == threads


def test_medians_leave_out_the_first_run() -> None:
    runs = []

    def job() -> None:
        runs.append(None)
        time.sleep(0.05 if len(runs) == 1 else 0.001)

    [seconds] = bench.interleaved(job)
    assert 0.001 <= seconds < 0.04


def test_jobs_take_turns() -> None:
    order: list[str] = []
    bench.interleaved(lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b"] * (len(order) // 2)
