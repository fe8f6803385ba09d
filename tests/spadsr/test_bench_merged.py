"""What merged counts are measured by: pixels of unequal frames and moving arrays beside plain sums, and bars."""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from spadsr.bench.merged_quality import PERIODS, MergedQuality, bars_left, mean_of, merged_quality
from spadsr.restoration.restorer import Restorer, in_pixels


class Enlarging:
    """Stands in for a network: what native pixels counted, as a rate, repeated."""

    def answer(self, counts: Tensor, model: ForwardModel, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        counts, model = in_pixels(counts, model)
        rate, sd = model.detection_rate(counts)
        return repeated(rate, scale), repeated(sd, scale), torch.full((len(counts),), 2.0)


def repeated(values: Tensor, scale: int) -> Tensor:
    return values.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)


def kept(frequency: float) -> float:
    """Amplitude that four fine pixels' mean leaves of a wave of so many periods over them."""
    return float(np.sinc(frequency) / np.sinc(frequency / 4))


ENLARGING = cast(Restorer, Enlarging())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:256, :320]
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.uint8(128 + 100 * np.sin(x / 50 + index) * np.cos(y / 60)))
    return folder


def test_unequal_frames_cost_what_their_noise_is(pictures: Path) -> None:
    """Halves are as good as alone; pixels at random have the mean of their own variances; half a pixel is blurred."""
    rows = merged_quality(pictures, ENLARGING, 0.05, 256, None, 0, lambda done, total: None)
    for half in ("half at N = 16", "half at N = 256"):
        differences = [row.merged - row.plain for row in rows if row.case == half]
        assert len(differences) == 3
        assert abs(np.mean(differences)) < 0.5
    mixed = [row for row in rows if "random" in row.case]
    parts = np.array([1, 2, 8, 16])
    expected = -10 * np.log10(np.mean(1 / parts) * np.mean(parts))  # dB, where noise is all of the error
    assert np.mean([row.merged - row.plain for row in mixed]) == pytest.approx(expected, abs=0.5)
    moving = [row for row in rows if row.case.startswith("moving")]
    assert all(abs(row.merged - row.plain) < 0.5 for row in moving)  # these pictures have no finer detail


def test_bars_finer_than_pixels_look_coarser_at_rest_and_are_blurred_away_in_motion() -> None:
    """Bars of frequency f above 1/2 appear at 1 - f; motion over a pixel blurs both."""
    rows = {(bars.case, bars.period): bars for bars in bars_left(ENLARGING, 0.2, 65536, 0)}
    assert {period for _, period in rows} == set(PERIODS)
    for period in PERIODS:
        rest, moving, frequency = rows["at rest", period], rows["moving, places known", period], 1 / period
        false = kept(frequency) * kept(1 - frequency) if frequency > 0.5 else 0
        assert rest.true == pytest.approx(kept(frequency) ** 2, abs=0.03)
        assert rest.false == pytest.approx(false, abs=0.03)
        assert moving.true < 0.9 * rest.true
        assert moving.false <= 0.6 * rest.false


def test_means_over_pictures() -> None:
    rows = [MergedQuality("a", "x", 20, 21), MergedQuality("b", "x", 22, 22), MergedQuality("a", "y", 1, 0)]
    first, second = mean_of(rows)
    assert (first.case, first.merged, first.plain, first.difference, first.error) == ("x", 21, 21.5, -0.5, 0.5)
    assert (second.case, second.difference) == ("y", 1)
    assert np.isnan(second.error)


def test_frames_are_shared_out_evenly(pictures: Path) -> None:
    with pytest.raises(InputError, match="frames 100: expected a multiple of 32"):
        merged_quality(pictures, ENLARGING, 0.05, 100, None, 0, lambda done, total: None)
