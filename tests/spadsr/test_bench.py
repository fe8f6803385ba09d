"""Benches: what is compared is what is said; the figures themselves depend on the machine."""

import time
from pathlib import Path

import pytest
import torch

from noise_model.sensor import Sensor
from spadsr.bench import motion_speed
from spadsr.bench import sampling_speed as bench
from spadsr.restoration.weights import load_restorer


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


def test_following_a_scene_beside_its_plain_sum(small_weights: Path) -> None:
    measured = motion_speed.bench_motion(load_restorer(small_weights))
    assert measured[0].ratio == 1
    assert len({each.name for each in measured}) == len(measured)
    for each in measured:
        assert each.ratio == pytest.approx(each.frames_per_second / measured[0].frames_per_second)
