"""Evaluation: what it measures, on which pictures, and what it writes."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from noise_model.errors import InputError
from noise_model.executors import local_processes
from noise_model.forward_model import ForwardModel
from spadsr.evaluation.conditions import Condition, conditions_of
from spadsr.evaluation.evaluate import Evaluation, Row, evaluate, scene
from spadsr.evaluation.methods import Answer, methods_named
from spadsr.evaluation.metrics import Radiometry, block_mean
from spadsr.evaluation.output import SCREEN_COLUMNS, markdown, screen_row, write_evaluation
from spadsr.evaluation.summaries import Mean, summarised
from spadsr.restoration.weights import load_restorer

NORMAL = Condition("binary", 4, 0.2, 64)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three smooth pictures of different sizes; one file that is no picture, and one picture that is too small."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, (height, width) in enumerate([(80, 64), (64, 96), (70, 70)]):
        y, x = np.mgrid[:height, :width]
        grey = 128 + 100 * np.sin(x / 15 + index) * np.cos(y / 20)
        cv2.imwrite(str(folder / f"{index}.png"), grey.astype(np.uint8))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    cv2.imwrite(str(folder / "small.png"), np.full((20, 90), 200, np.uint8))
    return folder


def truth_teller(folder: Path) -> tuple[Evaluation, list[tuple[int, int]]]:
    """A run with a method that knows the answer of picture 1 and an sd that is right, and the shapes it was given."""
    seen = []

    def oracle(counts: np.ndarray, model: ForwardModel, scale: int) -> Answer:
        seen.append(counts.shape)
        white = -math.log(1 - 0.2) / model.exposure.count_time
        rate = np.full((counts.shape[0] * scale, counts.shape[1] * scale), 0.5 * white, np.float32)
        return Answer(rate, 0.01 * rate, 2.1)

    return evaluate(folder, [NORMAL], {"oracle": oracle}), seen


def test_a_white_pixel_gives_the_flux() -> None:
    """Within 5 standard errors of 250,000 pixels."""
    for condition in (
        Condition("binary", 4, 0.2, 1),
        Condition("counting", 4, 8.0, 1),
        Condition("counting", 4, 0.3, 1),
    ):
        rate = torch.full((500, 500), condition.white_rate())
        counts = condition.model((500, 500)).sample(rate, torch.Generator().manual_seed(0))
        values = counts.double()
        assert abs(values.mean() - condition.flux) < 5 * values.std() / 500
    assert Condition("binary", 4, 0.2, 1).white_rate() * 10e-6 == pytest.approx(-math.log(0.8), rel=1e-6)


@pytest.mark.parametrize(
    "condition", [Condition("binary", 4, 1.0, 1), Condition("counting", 4, 18, 1), Condition("binary", 4, 0, 1)]
)
def test_impossible_flux_is_refused(condition: Condition) -> None:
    with pytest.raises(InputError, match=f"flux {condition.flux:g}: expected 1e-06 to less than") as caught:
        condition.white_rate()
    assert caught.value.arguments == ("flux",)


def test_impossible_conditions_are_refused() -> None:
    with pytest.raises(InputError, match="scale 3: not available") as scale:
        conditions_of("binary", [4, 3], [0.2], [1])
    with pytest.raises(InputError, match="0 frames: expected 1 or more") as frames:
        conditions_of("binary", [4], [0.2], [1, 0])
    with pytest.raises(InputError, match="magic: no such method") as method:
        methods_named(["bicubic", "magic"], {})
    arguments = [caught.value.arguments for caught in (scale, frames, method)]
    assert arguments == [("scales",), ("frames",), ("methods",)]
    assert len(conditions_of("binary", [1, 4], [0.1, 0.2], [1, 2, 4])) == 12
    assert [*map(str, conditions_of("counting", [4], [2], [1]))] == [
        *map(str, conditions_of("counting", [4], [2.0], [1]))
    ]


@pytest.mark.parametrize(("scale", "size"), [(1, 128), (2, 256), (4, 512), (8, 1024), (16, 1024)])
def test_the_truth_is_the_centre_of_the_picture(scale: int, size: int) -> None:
    """Whole blocks at every scale, at most 128 native pixels a side, and the same mean as what it was cut from."""
    picture = np.random.default_rng(0).random((1300, 1027), dtype=np.float32)
    truth = scene(picture, scale)
    assert truth.shape == (size, size)
    assert all(side % scale == 0 and side // scale <= 128 for side in truth.shape)
    part = size * max(4 // scale, 1)
    top, left = (1300 - part) // 2, (1027 - part) // 2
    assert truth.mean() == pytest.approx(picture[top : top + part, left : left + part].mean(), rel=1e-5)


def test_block_means() -> None:
    assert block_mean(np.array([[1, 3, 0, 0], [5, 7, 0, 4]], np.float32), 2).tolist() == [[4.0, 1.0]]


def test_every_picture_is_measured_and_bad_ones_are_named(pictures: Path) -> None:
    measured, shapes = truth_teller(pictures)
    assert [row.image for row in measured.rows] == ["0.png", "1.png", "2.png"]
    assert shapes == [(20, 16), (16, 24), (16, 16)]
    assert {Path(path).name for path in measured.skipped} == {"broken.png", "small.png"}
    assert "20 x 90" in measured.skipped[str(pictures / "small.png")]
    truth = scene(cv2.imread(str(pictures / "0.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255, 4)
    row = measured.rows[0]
    assert row.psnr == pytest.approx(-10 * math.log10(np.mean((truth - 0.5) ** 2)), abs=1e-3)
    assert row.total_ratio == pytest.approx(0.5 / truth.mean(), rel=1e-4)
    assert row.within_68 == pytest.approx(np.mean(np.abs(truth - 0.5) < 0.005), abs=0.01)
    assert row.within_95 == pytest.approx(np.mean(np.abs(truth - 0.5) < 0.0105), abs=0.01)
    assert row.sharpness == pytest.approx(0.005, rel=1e-4)


def test_the_same_seed_gives_the_same_counts_whatever_else_is_measured(pictures: Path) -> None:
    conditions = conditions_of("counting", [2, 4], [3.0], [1, 4])
    bicubic = methods_named(["bicubic"], {})
    all_of_them = evaluate(pictures, conditions, bicubic)
    one = evaluate(pictures, conditions[-1:], bicubic, limit=2)
    assert [row for row in all_of_them.rows if row.condition == conditions[-1]][:2] == one.rows
    assert evaluate(pictures, conditions[-1:], bicubic, seed=1, limit=2).rows != one.rows


def test_several_processes_measure_the_same(pictures: Path, small_weights: Path) -> None:
    """In the order of the pictures, and with every row counted."""
    methods = methods_named(["bicubic", "tv", "spadsr"], {"spadsr": load_restorer(small_weights)})
    conditions = conditions_of("binary", [2], [0.2], [4, 16])
    alone = evaluate(pictures, conditions, methods)
    seen: list[tuple[int, int]] = []
    with local_processes(2) as executor:
        shared = evaluate(pictures, conditions, methods, progress=lambda *at: seen.append(at), executor=executor)
    assert shared.rows == alone.rows
    assert [total.total_ratio for total in shared.radiometry.values()] == pytest.approx(
        [total.total_ratio for total in alone.radiometry.values()], rel=1e-12
    )
    assert {method: len(seconds) for method, seconds in shared.seconds.items()} == {
        method: len(seconds) for method, seconds in alone.seconds.items()
    }
    assert [done for done, _ in seen] == list(range(1, len(alone.rows) + 1))


def test_progress_counts_rows(pictures: Path) -> None:
    seen: list[tuple[int, int]] = []
    conditions = conditions_of("binary", [4], [0.2], [1, 16])
    evaluate(pictures, conditions, methods_named(["bicubic"], {}), limit=2, progress=lambda *at: seen.append(at))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_network_is_measured_with_its_error_bars(pictures: Path, small_weights: Path) -> None:
    methods = methods_named(["bicubic", "spadsr"], {"spadsr": load_restorer(small_weights)})
    rows = evaluate(pictures, [NORMAL], methods, limit=1).rows
    assert [row.method for row in rows] == ["bicubic", "spadsr"]
    assert rows[0].within_68 is None
    assert rows[1].within_68 is not None
    assert 0 <= rows[1].within_68 <= rows[1].within_95 <= 1


@pytest.mark.parametrize("content", ["nothing", "no picture", "small"])
def test_folders_without_a_picture_are_refused(tmp_path: Path, content: str) -> None:
    if content == "no picture":
        (tmp_path / "a.png").write_bytes(b"none")
    if content == "small":
        cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 20), 9, np.uint8))
    with pytest.raises(InputError, match=str(tmp_path)):
        evaluate(tmp_path, [NORMAL], methods_named(["bicubic"], {}))


def invented() -> Evaluation:
    """Two pictures under one condition: `good` leads `bad` by 3 and 5 dB."""
    result = Evaluation(skipped={"x.png": "cannot be read as an image"})
    for image, low, high in (("a", 20.0, 23.0), ("b", 22.0, 27.0)):
        result.rows.append(Row(image, NORMAL, "bad", low, 0.5, 1.1, None, None, None))
        result.rows.append(Row(image, NORMAL, "good", high, 0.7, 1.0, 0.66, 0.96, 0.05))
    for method, factor in (("bad", 1.1), ("good", 1.0)):
        sums = result.radiometry[NORMAL, method] = Radiometry()
        truth = np.linspace(0, 1, 1000, dtype=np.float32)
        sums.add(factor * truth, truth)
    return result


def test_means_and_their_errors_by_hand() -> None:
    bad, good = summarised(invented())
    assert (bad.psnr.value, good.psnr.value) == (21.0, 25.0)
    assert bad.psnr.error == pytest.approx(1.0)  # sd of 20 and 22 is sqrt 2; over sqrt 2
    assert good.lead is not None
    assert (good.lead.value, good.lead.error) == (4.0, pytest.approx(1.0))
    assert bad.lead is not None
    assert bad.lead.value == -4.0
    assert (good.within_68, bad.within_68) == (0.66, None)
    assert bad.total_ratio == pytest.approx(1.1, rel=1e-4)
    assert (good.worst, bad.worst) == (good.very_worst, bad.very_worst) == (23.0, 20.0)
    assert (good.sharpness, bad.sharpness) == (0.05, None)
    assert bad.worst_tenth == pytest.approx(0.095, abs=1e-3)
    assert screen_row(good) == ["x4  0.2  64", "good", "25.00", "0.700", "+4.00", "+0.00", "0.0", "66/96"]


def test_the_spread_of_coverage_over_pictures() -> None:
    """Shares of 0.00, 0.01, ... 1.00 in 101 pictures: the 10th and 90th percentiles are 0.1 and 0.9."""
    rows = [Row(str(i), NORMAL, "good", 20.0, 0.7, 1.0, i / 100, 0.9, 0.05) for i in range(101)]
    [summary] = summarised(Evaluation(rows, {(NORMAL, "good"): invented().radiometry[NORMAL, "good"]}))
    assert summary.within_68_of_pictures == pytest.approx((0.1, 0.9))
    assert "| 10 to 90 |" in markdown([summary], {})
    bad, _ = summarised(invented())
    assert bad.within_68_of_pictures is None


def test_the_worst_twentieth_and_hundredth_of_the_pictures() -> None:
    rows = [Row(str(i), NORMAL, "good", float(i), 0.7, 1.0, None, None, None) for i in range(200)]
    [summary] = summarised(Evaluation(rows, {(NORMAL, "good"): invented().radiometry[NORMAL, "good"]}))
    assert (summary.worst, summary.very_worst) == (4.5, 0.5)  # means of 0 to 9, and of 0 and 1


def test_the_table_fits_a_narrow_screen() -> None:
    """80 columns, at the longest the cells get in practice; a column takes its text, two spaces and a border."""
    bad, _ = summarised(invented())
    longest = replace(
        bad,
        condition=Condition("binary", 16, 0.05, 1024),
        method="bicubic",
        lead=Mean(-17.5, 1.0),
        total_ratio=0.5,
        worst_tenth=1.7,
        within_68=0.681,
        within_95=0.951,
    )
    widths = [
        max(map(len, column)) for column in zip(SCREEN_COLUMNS, screen_row(bad), screen_row(longest), strict=True)
    ]
    assert sum(widths) + 3 * len(widths) + 1 <= 80


def test_many_curves_and_a_single_picture_can_be_drawn(tmp_path: Path) -> None:
    """Several scales, fluxes and sums: a panel for each scale; one picture has no standard error."""
    evaluation = Evaluation()
    for condition in conditions_of("binary", [2, 4], [0.1, 0.2, 0.4], [1, 4]):
        evaluation.rows.append(Row("a #1, b.png", condition, "bicubic", 20.0, 0.5, 1.0, None, None, None))
        evaluation.radiometry[condition, "bicubic"] = invented().radiometry[NORMAL, "bad"]
    [first, *_] = write_evaluation(evaluation, tmp_path, {"seed": 0})
    assert not (tmp_path / "coverage.png").exists()  # no error bars
    assert (str(first.psnr), first.lead) == ("20.00", None)
    with Image.open(tmp_path / "summary.png") as plot:
        assert plot.size == (2 * 780, 630)
    text = (tmp_path / "rows.csv").read_text()
    assert '"a #1, b.png","binary",2,0.1,1,"bicubic",20.0,0.5,1.0,"","",""\n' in text


def test_coverage_is_drawn_where_there_are_error_bars(tmp_path: Path) -> None:
    write_evaluation(invented(), tmp_path, {"seed": 0})
    with Image.open(tmp_path / "coverage.png") as plot:
        assert plot.size == (780, 630)


def test_markdown_has_a_table_for_every_scale() -> None:
    evaluation = invented()
    other = Condition("binary", 2, 0.2, 64)
    evaluation.rows.append(Row("a", other, "bad", 30.0, 0.9, 1.0, None, None, None))
    evaluation.radiometry[other, "bad"] = evaluation.radiometry[NORMAL, "bad"]
    text = markdown(summarised(evaluation), {"command": "spadsr evaluate", "seed": 0, "skipped": {}})
    assert "- seed: 0" in text
    assert "skipped" not in text
    assert "- command: spadsr evaluate" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## x4, binary array, 2 pictures",
        "## x2, binary array, 1 picture",
    ]
    assert "| 64 | 0.2 | good | 25.00 ± 2.00 | 23.00 | 23.00 | 0.7000 | +4.00 ± 1.00 |" in text


def test_what_is_written(tmp_path: Path) -> None:
    write_evaluation(invented(), tmp_path / "out", {"command": "spadsr evaluate", "seed": 0, "sha256": "abc"})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "rows.csv",
        "summary.md",
        "summary.png",
        "coverage.png",
        "evaluation.json",
    }
    with (tmp_path / "out" / "rows.csv").open() as file:
        lines = file.readlines()
    comments = [line for line in lines if line.startswith("#")]
    rows = list(csv.DictReader(lines[len(comments) :]))
    assert {"# command: spadsr evaluate\n", "# seed: 0\n", "# sha256: abc\n"} <= set(comments)
    assert any(line.startswith("# versions: ") and "torch" in line for line in comments)
    assert rows[0]["within_68"] == ""
    assert len(rows) == 4
    assert rows[3]["method"] == "good"
    assert float(rows[3]["psnr"]) == 27.0
    made = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert made["sha256"] == "abc"
    assert made["skipped"] == {"x.png": "cannot be read as an image"}
    assert {"spadsr", "torch", "numpy"} <= made["versions"].keys()
    assert len(made["tenths"][0]["percent"]) == 10
    with Image.open(tmp_path / "out" / "summary.png") as plot:
        assert plot.size == (780, 630)
        assert np.asarray(plot.convert("L")).std() > 10
        assert plot.text["Software"].startswith("spadsr ")
        assert json.loads(plot.text["Comment"])["sha256"] == "abc"


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        write_evaluation(invented(), tmp_path / "file", {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
