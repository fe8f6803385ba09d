"""What docs/limits.md says of the shipped weights, and that its pictures are there."""

import re
from functools import cache
from pathlib import Path

import limits_cases as cases
import numpy as np
import pytest
from make_limits import DOCS, answer_to, block_coverage, draw

from spadsr.evaluation.metrics import block_mean
from spadsr.restoration.hot_pixels import AS_COUNTED, LEFT_OUT
from spadsr.restoration.restored import Restored
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer


@cache
def _restorer() -> Restorer:
    return load_restorer()


def _inside(case: cases.Case, answer: Restored) -> float:
    error = np.abs(answer.rate - case.truth)[case.region]
    return float(np.mean(error <= answer.uncertainty[case.region]))


def _mean(case: cases.Case) -> tuple[float, float]:
    """Of the answer and the truth, where the figures are taken."""
    return float(answer_to(case, _restorer()).rate[case.region].mean()), float(case.truth[case.region].mean())


def test_the_page_has_every_case_and_picture() -> None:
    page = (DOCS / "limits.md").read_text()
    pictures = {f"limits_{make().name}.png" for make in cases.CASES}
    assert set(re.findall(r"images/(limits_\w+\.png)", page)) == pictures
    assert pictures == {path.name for path in (DOCS / "images").glob("limits_*.png")}
    assert sum((DOCS / "images" / name).stat().st_size for name in pictures) < 1_500_000
    assert all(f"\n| {label} |" in page for label in cases.CONTROLS)


def test_bars_below_the_native_pitch_are_invented_and_nothing_shows_it() -> None:
    case = cases.gratings()
    answer = answer_to(case, _restorer())
    assert _inside(case, answer) < 0.3
    assert answer.check.chi_squared < 1.5


def test_stars_of_one_pixel_alone_vanish_on_an_unknown_sensor_and_those_that_touch_are_shown_as_counted() -> None:
    case = cases.points()
    answer = answer_to(case, _restorer())
    assert answer.hot is not None
    native = case.region[:: cases.SCALE, :: cases.SCALE]
    rate, truth = (block_mean(each, cases.SCALE)[native] for each in (answer.rate, case.truth))
    alone, touching = (answer.hot[native] == kind for kind in (LEFT_OUT, AS_COUNTED))
    assert rate[alone].mean() < 0.05 * truth.mean()
    assert rate[touching].mean() == pytest.approx(truth.mean(), rel=0.15)
    assert np.mean(answer.hot[native] > 0) > 0.9  # infer says so
    off = answer.check.chi_squared - 1
    assert abs(off) < 3 * answer.check.spread  # the physics check does not: it leaves them out


def test_stars_of_one_pixel_stay_on_a_known_sensor() -> None:
    kept, truth = _mean(cases.points(calibrated=True))
    assert kept > 0.6 * truth


def test_stars_that_optics_blur_stay_on_an_unknown_sensor() -> None:
    kept, truth = _mean(cases.points(blur=1.0))
    assert kept > 0.6 * truth


def test_saturated_rates_are_a_lower_limit() -> None:
    answer, truth = _mean(cases.saturated())
    assert answer < 0.9 * truth


def test_neither_uncertainty_nor_check_knows_of_motion() -> None:
    still, moved = ((case, answer_to(case, _restorer())) for case in (cases.moving(speed=0), cases.moving()))
    assert _inside(*moved) < _inside(*still) - 0.1
    assert moved[1].check.chi_squared < 1.5


def test_unknown_crosstalk_adds_its_part_and_known_crosstalk_none() -> None:
    """1 + 4 x 0.03 x 1.16 = 1.14 times the rate, nearly."""
    answer, truth = _mean(cases.crosstalk())
    assert answer / truth == pytest.approx(1.13, abs=0.03)
    answer, truth = _mean(cases.crosstalk(calibrated=True))
    assert answer / truth == pytest.approx(1, abs=0.02)


def test_errors_of_neighbours_go_together() -> None:
    """Block means are far less sure than independent errors would make them."""
    found = block_coverage(_restorer(), 16)
    assert found[1][0] > 0.6
    assert found[4][0] < 0.45
    assert found[16][0] < found[4][0]
    assert all(same > 0.65 for _, same in found.values())


@pytest.mark.xfail(
    reason="80.2 %: these photographs are smoother than those that intervals were measured on", strict=True
)
def test_intervals_are_not_far_too_wide() -> None:
    assert block_coverage(_restorer(), 16)[1][0] < 0.8


def test_a_case_is_drawn(tmp_path: Path) -> None:
    case = cases.gratings()
    draw(case, answer_to(case, _restorer()), tmp_path / "case.png")
    assert (tmp_path / "case.png").read_bytes().startswith(b"\x89PNG")
