"""The shipped weights on real frames of a 64x32 SPC3: a fan (1 to 10) and a plasma ball (11 to 23)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hardware.capture import open_capture
from noise_model.response import expected_counts
from spadsr.restorer import Restorer, load_restorer


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return load_restorer()


@pytest.mark.parametrize("number", range(1, 24))
def test_a_real_frame_becomes_a_picture_that_explains_it(shared: Path, restorer: Restorer, number: int) -> None:
    """256x128, and simulated again it gives the frame's counts: the total within 10 %, as few counts allow (and some of
    them are hot pixels'), and correlated over neighbourhoods of 4x4 pixels."""
    with open_capture(shared / f"data/real/bianlab/input/{number}.tiff") as capture:
        counts, exposure, sensor = (
            torch.from_numpy(capture.read(0, 1).astype("int64")),
            capture.exposure,
            capture.sensor(),
        )
    rate, sd = restorer.restore(counts, exposure, sensor, 4)
    assert rate.shape == sd.shape == (1, 256, 128)
    assert bool(torch.isfinite(rate).all())
    assert bool((rate >= 0).all())
    assert bool((sd > 0).all())
    again = expected_counts(torch.nn.functional.avg_pool2d(rate[None], 4)[0], exposure, sensor)
    missed = float(again.sum()) / int(counts.sum()) - 1
    assert abs(missed) < 0.1 + 3 / np.sqrt(int(counts.sum()))
    coarse = [torch.nn.functional.avg_pool2d(image.float()[None], 4).flatten() for image in (again, counts)]
    assert float(torch.corrcoef(torch.stack(coarse))[0, 1]) > 0.9


def test_isolated_counts_on_black_are_not_turned_into_light(shared: Path, restorer: Restorer) -> None:
    """Frame 16, upper quarter: dark but for scattered single counts. No pixel of the picture there comes near the rate
    of a single count in a single pixel."""
    with open_capture(shared / "data/real/bianlab/input/16.tiff") as capture:
        counts, exposure, sensor = (
            torch.from_numpy(capture.read(0, 1).astype("int64")),
            capture.exposure,
            capture.sensor(),
        )
    rate, _ = restorer.restore(counts, exposure, sensor, 4)
    assert int(counts[0, :16].sum()) > 0
    assert float(rate[0, :64].max()) < 0.5 / exposure.count_time
