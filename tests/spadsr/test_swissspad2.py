"""The shipped weights on a real scene: few binary frames of a SwissSPAD2, held against the many others of it."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from real_averages import ALL, FEW, Frames, Score, average, binned, hot_pixels, native, others, white

from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

#: Lead, dB: over the best of all Gaussian blurs at x1, over bicubic at x4. What the weights reach, less 0.1 or so. At
#: one and four frames of 0.1 detections a pixel the best blur, whose width only the reference tells, is still ahead.
LEAST_LEADS = {1: {1: -0.6, 4: -0.25, 16: 0.25, 64: 0.2}, 4: {1: 6.8, 4: 2.85, 16: 0.9, 64: 0.3}}


@cache
def _restorer() -> Restorer:
    return load_restorer()


def _score(shared: Path, scale: int, n: int) -> Score:
    every, few = average(shared, ALL), average(shared, n)
    measure = native if scale == 1 else binned
    return measure(few, others(every, few), white(every), _restorer())


@pytest.mark.parametrize("n", FEW)
@pytest.mark.parametrize("scale", [1, 4])
def test_a_real_scene_is_restored_better_than_without_a_network(shared: Path, scale: int, n: int) -> None:
    score = _score(shared, scale, n)
    assert score.lead > LEAST_LEADS[scale][n]
    assert score.ours < score.perfect


def test_the_reference_is_noisy_itself(shared: Path) -> None:
    """By their counting noise alone, 256 frames are 27.8 dB from the true rates. Where the scene is flat, neighbours
    vary 1.3 times as much: pixels are not alike. So a perfect answer scores about 27 dB."""
    every = average(shared, ALL)
    assert -10 * np.log10(every.variance / white(every) ** 2) == pytest.approx(27.8, abs=0.05)
    flat = Frames(every.counts[20:60, 110:180], ALL)  # the background, upper right
    for axis in (0, 1):
        assert np.diff(flat.rate, axis=axis).var() / 2 / flat.variance == pytest.approx(1.3, abs=0.1)


@pytest.mark.parametrize("n", FEW)
def test_the_others_are_the_frames_that_are_left(shared: Path, n: int) -> None:
    """Three pixels of the average of 64, which was altered, contradict that of 256; no others do."""
    every, few = average(shared, ALL), average(shared, n)
    rest = others(every, few)
    assert rest.frames == ALL - n
    assert (rest.counts + few.counts != every.counts).sum() == (3 if n == 64 else 0)


def test_hardly_any_pixel_of_it_is_hot(shared: Path) -> None:
    """So a mask has nothing to do: one pixel of 49,152."""
    assert hot_pixels(average(shared, ALL)).sum() == 1
