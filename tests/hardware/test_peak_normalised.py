"""Counts come back out of frames that were stretched to 255."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hardware.captures.capture import open_capture
from hardware.parsing.peak_normalised import largest_count, recover
from hardware.settings import Settings
from noise_model.sensor import Exposure


def stretched(counts: np.ndarray[Any, Any], dtype: type) -> np.ndarray[Any, Any]:
    """round(255 k / M), in the arithmetic of `dtype`."""
    scaled = counts.astype(dtype) / dtype(counts.max()) * dtype(255)
    levels: np.ndarray[Any, Any] = np.floor(scaled + dtype(0.5)).astype(np.uint8)
    return levels


@given(largest=st.integers(6, 64), seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_counts_are_recovered_exactly(largest: int, seed: int, dtype: type) -> None:
    counts = np.random.default_rng(seed).integers(0, largest + 1, (64, 32))
    counts[0, :2] = largest, largest - 1  # neighbouring counts leave no coarser comb
    levels = stretched(counts, dtype)
    assert largest_count(np.unique(levels)) == largest
    np.testing.assert_array_equal(recover(levels, largest), counts)


@given(hnp.arrays(np.uint8, (16, 8), elements=st.integers(0, 255)))
def test_whatever_is_recovered_explains_every_level(levels: np.ndarray[Any, Any]) -> None:
    largest = largest_count(np.unique(levels))
    if largest is not None:
        assert np.abs(recover(levels, largest) * (255 / largest) - levels).max() < 0.501


@given(mean=st.floats(1, 100), seed=st.integers(0, 2**32 - 1))
def test_ordinary_counts_are_left_alone(mean: float, seed: int) -> None:
    counts = np.random.default_rng(seed).poisson(mean, (64, 32)).clip(0, 255).astype(np.uint8)
    counts[5, 5] = 255  # a hot pixel that fills its counter
    assert largest_count(np.unique(counts)) is None


def test_two_levels_are_a_binary_frame(save: Any) -> None:
    frame = np.eye(8, dtype=np.uint8)
    with open_capture(save("a.tif", 255 * frame)) as capture:
        assert (capture.settings.counter_bits, capture.exposure.cycles) == (1, 1)
        np.testing.assert_array_equal(next(capture.blocks())[0], frame)


def test_a_stack_is_never_taken_for_a_peak_normalised_frame(save: Any) -> None:
    frames = np.stack([np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)] * 2)
    with open_capture(save("a.tif", frames)) as capture:
        np.testing.assert_array_equal(next(capture.blocks()), frames)


def test_options_replace_the_public_camera(save: Any) -> None:
    frame = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)
    with open_capture(save("a.tif", frame), cycles=16, counter_bits=1, count_time=1e-6) as capture:
        assert capture.settings == Settings(1e-6, 16, counter_bits=1, dead_time=0)
        assert capture.settings.saturation_value == 16
        np.testing.assert_array_equal(next(capture.blocks()).ravel(), np.arange(16))


@pytest.mark.parametrize("number", range(1, 24))
def test_the_public_frames_hold_counts_of_a_dead_time_limited_camera(shared: Path, number: int) -> None:
    with open_capture(shared / f"data/real/bianlab/input/{number}.tiff") as capture:
        counts = next(capture.blocks())
        assert capture.shape == (1, 64, 32)
        assert (capture.exposure, capture.settings.dead_time) == (Exposure(875e-9), 50e-9)
        assert capture.settings.counter_bits == 9
        assert 6 <= counts.max() <= 18  # exposure / dead time is 17.5
        assert f"counts 0 to {counts.max()} recovered" in capture.assumptions[0]
