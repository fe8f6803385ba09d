"""The shipped weights on real frames of a 64x32 SPC3: a fan (1 to 10) and a plasma ball (11 to 23)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.captures.capture import open_capture
from noise_model.forward_model import ForwardModel
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

FILAMENT_COLUMNS, FILAMENT_ROWS = slice(2, 36), slice(120, 185)  # of the answer at x4


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return load_restorer()


def _frame(shared: Path, number: int) -> tuple[Tensor, ForwardModel]:
    with open_capture(shared / f"data/real/bianlab/input/{number}.tiff") as capture:
        counts = torch.from_numpy(capture.read(0, 1).astype("int64"))
        return counts, ForwardModel(capture.sensor, capture.exposure)


@pytest.mark.parametrize("number", range(1, 24))
def test_a_real_frame_becomes_a_picture_that_explains_it(shared: Path, restorer: Restorer, number: int) -> None:
    """256x128, and simulated again it gives the frame's counts: the total within 10 %, as few counts allow (and some of
    them are hot pixels'), and correlated over neighbourhoods of 4x4 pixels."""
    counts, model = _frame(shared, number)
    rate, sd, _ = restorer.answer(counts, model, 4)
    assert rate.shape == sd.shape == (1, 256, 128)
    assert bool(torch.isfinite(rate).all())
    assert bool((rate >= 0).all())
    assert bool((sd > 0).all())
    assert float(sd.max()) < 5 * float(rate.max())  # saturated pixels too
    again = model.expected_counts(torch.nn.functional.avg_pool2d(rate[None], 4)[0])
    missed = float(again.sum()) / int(counts.sum()) - 1
    assert abs(missed) < 0.1 + 3 / np.sqrt(int(counts.sum()))
    coarse = [torch.nn.functional.avg_pool2d(image.float()[None], 4).flatten() for image in (again, counts)]
    assert float(torch.corrcoef(torch.stack(coarse))[0, 1]) > 0.9


def test_isolated_counts_on_black_are_not_turned_into_light(shared: Path, restorer: Restorer) -> None:
    """Frame 16, upper quarter: dark but for scattered single counts. No pixel of the picture there comes near the rate
    of a single count in a single pixel."""
    counts, model = _frame(shared, 16)
    rate, *_ = restorer.answer(counts, model, 4)
    assert int(counts[0, :16].sum()) > 0
    assert float(rate[0, :64].max()) < 0.5 / model.exposure.count_time


# The filament that enters the plasma ball from the left, in all of its frames


@pytest.mark.parametrize("number", range(11, 24))
def test_the_filament_is_unbroken_and_thin(shared: Path, restorer: Restorer, number: int) -> None:
    """Along the filament no column is darker than a third of the usual one, and half of its columns are no wider (full
    width at half maximum) than 6.5 pixels of the answer, 1.6 native ones."""
    counts, model = _frame(shared, number)
    columns = restorer.answer(counts, model, 4)[0][0, :, FILAMENT_COLUMNS].numpy().T
    crests = [FILAMENT_ROWS.start + int(column[FILAMENT_ROWS].argmax()) for column in columns]
    brightness = np.array([column[crest] for column, crest in zip(columns, crests, strict=True)])
    assert brightness.min() > np.median(brightness) / 3
    assert np.median([_width(column, crest) for column, crest in zip(columns, crests, strict=True)]) < 6.5


def test_dark_notches_beside_the_filament_are_few(shared: Path, restorer: Restorer) -> None:
    """A glow surrounds it. In at most 0.3 of the columns of 13 frames a pixel 6 to 14 beside its crest is below a fifth
    of the median of those 20 to 40 away: ringing, a shortfall. Published pictures of these frames hardly have any."""
    dark = [share for number in range(11, 24) for share in _notches(restorer.answer(*_frame(shared, number), 4)[0][0])]
    assert np.mean(dark) < 0.3


def _width(column: NDArray[np.float32], crest: int) -> float:
    """Full width at half maximum, interpolated between pixels."""
    lower, upper = crest, crest
    while column[lower] > column[crest] / 2:
        lower -= 1
    while column[upper] > column[crest] / 2:
        upper += 1
    half = column[crest] / 2
    left = lower + (half - column[lower]) / (column[lower + 1] - column[lower])
    right = upper - (half - column[upper]) / (column[upper - 1] - column[upper])
    return float(right - left)


def _notches(rate: Tensor) -> list[bool]:
    """For every column of the filament, whether the dark beside it has one."""
    found = []
    for column in rate[:, FILAMENT_COLUMNS].numpy().T:
        crest = FILAMENT_ROWS.start + int(column[FILAMENT_ROWS].argmax())
        beside = np.r_[column[crest - 14 : crest - 5], column[crest + 6 : crest + 15]]
        away = np.r_[column[crest - 40 : crest - 20], column[crest + 20 : crest + 40]]
        found.append(bool(beside.min() < 0.2 * np.median(away)))
    return found
