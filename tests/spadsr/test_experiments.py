"""Experiments: what they write, who they say has won, what they refuse, and what they find on drawn and real data."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from command import Said

from hardware.captures.capture import open_capture
from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.experiments import left_out, micrographs, nuclei, rotation, splits, spot
from spadsr.experiments.experiment import OURS, Experiment, Measure, Outcome, Panel, Row, Task
from spadsr.experiments.figure import drawn
from spadsr.experiments.matching import matched, together
from spadsr.experiments.moving import counted, seen
from spadsr.experiments.registry import EXPERIMENTS
from spadsr.experiments.table import cells, checksums, who_won, write_outcome
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer

QUALITY = Measure("PSNR", "dB", tie=0.2, digits=1)
ERROR = Measure("error", "px", more=False)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return load_restorer()


@pytest.fixture
def no_bm3d(monkeypatch: pytest.MonkeyPatch) -> None:
    """BM3D takes longer than all else."""
    monkeypatch.setattr("spadsr.experiments.experiment.find_spec", lambda name: None)


def rows(measure: Measure, **values: dict[int, float]) -> list[Row]:
    return [Row(n, method, {measure: value}) for method, curve in values.items() for n, value in curve.items()]


# Who won


def test_the_sentence_names_who_won_where_and_by_how_much() -> None:
    planted = rows(QUALITY, tv={1: 20.0, 4: 21.0, 16: 25.0}, bicubic={1: 10.0, 4: 22.0}, spadsr={1: 21, 4: 25, 16: 24})
    said = who_won(planted, QUALITY)
    assert said == (
        "PSNR: spadsr wins at N = 1, 4 by 1.0 to 3.0 dB over tv or bicubic; tv wins at N = 16 by 1.0 dB over spadsr"
    )


def test_the_sentence_says_that_ours_lost_where_it_did() -> None:
    assert who_won(rows(ERROR, tv={1: 0.4}, spadsr={1: 0.6}), ERROR) == "error: tv wins at N = 1 by 0.20 px over spadsr"
    assert "spadsr wins" in who_won(rows(ERROR, tv={1: 0.6}, spadsr={1: 0.4}), ERROR)


def test_nobody_wins_within_a_tie() -> None:
    assert (
        who_won(rows(QUALITY, tv={4: 20.0}, spadsr={4: 20.2}), QUALITY) == "PSNR: nobody wins at N = 4 (within 0.2 dB)"
    )
    assert "spadsr wins" in who_won(rows(QUALITY, tv={4: 20.0}, spadsr={4: 20.3}), QUALITY)


def test_what_was_not_measured_is_not_compared() -> None:
    assert who_won(rows(QUALITY, spadsr={1: 20.0}), QUALITY) == "PSNR: not compared"
    assert who_won(rows(QUALITY, spadsr={1: float("nan")}, tv={1: 3.0}), QUALITY) == "PSNR: not compared"


# What is written


def outcome() -> Outcome:
    planted = rows(QUALITY, tv={1: 20.0, 4: 21.0}, spadsr={1: 21.0, 4: float("nan")})
    picture = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    marked = Panel(picture, marks=np.array([[2.0, 3.0]]))
    return Outcome(planted, {"N = 1": {"tv": Panel(picture), OURS: marked}}, ["nobody won"], {"repeats": 3})


def test_rows_become_csv_a_picture_and_a_record(tmp_path: Path) -> None:
    table, picture, record = write_outcome(
        "some", outcome(), tmp_path, {"command": "spadsr experiment some", "seed": 7}
    )
    with table.open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["frames"], line["method"], line["psnr_db"]) for line in lines[:2]] == [
        ("1", "tv", "20.0"),
        ("4", "tv", "21.0"),
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(record.read_text())
    assert (found["seed"], found["repeats"], found["said"]) == (7, 3, ["nobody won"])
    assert found["rows"][3] == {"condition": "", "frames": 4, "method": OURS, "PSNR, dB": None}


def test_a_table_has_a_column_for_the_condition_only_where_there_are_some() -> None:
    assert cells(outcome().rows)[0] == ["N", "method", "PSNR, dB"]
    assert cells([Row(1, "tv", {ERROR: 1.0}, "fan")]) == (
        ["condition", "N", "method", "error, px"],
        [["fan", "1", "tv", "1.00"]],
    )


def test_checksums_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums(tmp_path) == {"inner/a": known}
    assert checksums(tmp_path / "inner" / "a") == {"a": known}


# Matching


def test_detections_are_matched_as_many_as_can_be() -> None:
    """The nearest pair first would leave the other two alone."""
    found = matched(np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.1], [0.0, 3.9]]), reach=2.0)
    assert (found.found, found.false, found.missed) == (2, 0, 0)
    assert found.pairs.tolist() == [[0, 0], [1, 1]]


def test_what_is_beyond_reach_is_false_and_missed() -> None:
    found = matched(np.array([[0.0, 0.0], [50.0, 50.0]]), np.array([[0.0, 3.0]]), reach=5.0)
    assert (found.found, found.false, found.missed, found.f1) == (1, 1, 0, pytest.approx(2 / 3))
    assert found.rms == pytest.approx(3.0)
    assert matched(np.empty((0, 2)), np.empty((0, 2)), 1.0).f1 == 1
    both = together([found, matched(np.empty((0, 2)), np.array([[1.0, 1.0]]), 1.0)])
    assert (both.found, both.false, both.missed, both.count_error) == (1, 1, 1, 0)


# Scenes that move


def test_parts_of_an_exposure_add_up_to_what_all_of_it_counts() -> None:
    """Means of many draws, within 5 standard errors; a scene that brightens from 0 to 1."""
    model = ForwardModel(Sensor("ideal", torch.ones(32, 32), torch.zeros(32, 32), 0.0, 1), Exposure(1.0, 64))

    def scene(time: float) -> np.ndarray:
        return np.full((128, 128), 0.5 + time / 64, np.float32)

    parts = counted(scene, 0.2, model, 4, torch.Generator().manual_seed(0), parts=16)
    assert parts.shape == (16, 32, 32)
    assert seen(scene, 64, 1.0).mean() == pytest.approx(0.5)
    means = parts.mean(axis=(1, 2))
    expected = 4 * (1 - np.exp(-0.2 * (np.arange(16) + 0.5) / 16))
    assert np.abs(means - expected).max() < 5 * (4 * 0.2 / 1024) ** 0.5


def test_the_angle_of_a_fan_and_the_place_of_a_spot_are_found_in_pictures_without_noise() -> None:
    assert rotation.angle_of(rotation.fan(0.4, 0.0)) == pytest.approx(0.4, abs=1e-3)
    turned = rotation.fan(0.4, 0.1 / (2 * np.pi * rotation.TURNS))
    assert rotation.angle_of(turned) == pytest.approx(0.5, abs=1e-3)
    assert spot.centre_of(spot.spot(0.001, 0.0)) == pytest.approx(spot.place_at(0.001), abs=0.1)


def test_frames_for_equal_quality_lie_between_those_measured() -> None:
    curve = [Row(n, "tv", {rotation.PSNR: value}) for n, value in ((1, 10.0), (4, 14.0), (16, 18.0), (64, 15.0))]
    assert rotation.frames_needed(curve, "tv", 16.0) == pytest.approx(8)
    assert rotation.frames_needed(curve, "tv", 9.0) == 1
    assert rotation.frames_needed(curve, "tv", 19.0) is None


# Every experiment, small


@pytest.mark.usefixtures("no_bm3d")
@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_every_experiment_runs_on_a_drawn_scene_twice_the_same(experiment: Experiment, restorer: Restorer) -> None:
    task = Task(None, experiment.frames[1:2], restorer)
    first, second = experiment.run(task), experiment.run(task)
    assert len({row.method for row in first.rows}) >= 3  # ours beside two others, at least
    assert [(row.method, row.values) for row in first.rows] == [(row.method, row.values) for row in second.rows]
    assert any("wins" in each for each in first.said)
    drawn(first)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_every_experiment_says_what_it_takes_and_where_that_is(experiment: Experiment) -> None:
    assert experiment.shows[0].islower() or experiment.shows.startswith("Fourier")
    assert experiment.seconds <= 60
    if experiment.data:
        refused = str(experiment.data.refused(Path("x"), "nothing there"))
        assert refused.startswith("x: nothing there; expected ")
        assert experiment.data.source in refused


def test_the_list_names_all(spadsr: Callable[..., Said]) -> None:
    said = spadsr("experiment")
    assert said.code == 0
    for each in EXPERIMENTS.values():
        assert f"{each.name}: {each.shows}" in said.out
        assert each.data is None or (each.data.source in said.out and each.data.sha256 in said.out)


@pytest.mark.usefixtures("no_bm3d")
def test_the_command_writes_and_tells(spadsr: Callable[..., Said], tmp_path: Path, small_weights: Path) -> None:
    said = spadsr("experiment", "leftout", "--frames", "64", "--weights", small_weights, "-o", tmp_path, "--seed", 3)
    assert (said.code, said.err) == (0, "")
    found = json.loads((tmp_path / "leftout.json").read_text())
    assert all(each in said.out for each in found["said"])
    assert (found["seed"], found["data"], found["data_sha256"]) == (3, "drawn", {})
    assert found["command"].startswith("spadsr experiment leftout")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["nothing"], "nothing: no such experiment; choose from"),
        (["rotation", "--data", "somewhere"], "rotation takes no data"),
        (["nuclei", "--data", "nowhere"], "nowhere: there is no such file or folder; expected a folder of micrographs"),
        (["nuclei", "--frames", "0"], "0 frames: expected 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(spadsr: Callable[..., Said], arguments: list[str], wrong: str) -> None:
    said = spadsr("experiment", *arguments)
    assert said.code == 2
    assert wrong in said.err


@pytest.mark.parametrize("command", [["experiment", "leftout"], ["evaluate", "pictures"]])
def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_measured(
    spadsr: Callable[..., Said], tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "inner"):
        said = spadsr(*command, "-o", output)
        assert said.code == 2
        assert "is no folder; choose another" in " ".join(said.err.split())
        assert said.err.count("\n") < 4


@pytest.mark.parametrize(
    ("name", "missing"), [("flow", "no .rtdc or .zip file in it"), ("fpm", "there is no bloodsmear_red.mat in it")]
)
def test_folders_of_other_experiments_are_refused(
    spadsr: Callable[..., Said], tmp_path: Path, name: str, missing: str
) -> None:
    (tmp_path / "1.jpg").touch()
    said = spadsr("experiment", name, "--data", tmp_path, "-o", tmp_path / "out")
    assert said.code == 2
    assert missing in " ".join(said.err.split())
    assert not (tmp_path / "out").exists()


# Frames left out


def test_a_prediction_that_is_right_is_as_good_as_chance_lets_be_seen(restorer: Restorer) -> None:
    """And one that is off by a known step has that as its error."""
    counts, one = left_out._drawn(0)
    [split, *_] = splits.splits_of(splits.Images(counts, one), [4])[4]
    light = counts.mean(axis=0)
    assert split.error(light + 1.0) == pytest.approx(1.0, rel=0.1)
    assert split.error(split.others / split.left) == pytest.approx(split.noise * (2 / split.judged.sum()) ** 0.5)


def test_pixels_that_move_and_hot_ones_are_not_judged() -> None:
    rng, steady = np.random.default_rng(0), np.full((32, 32), 4.0)
    steady[5, 5] = 60
    counts = rng.poisson(np.broadcast_to(steady, (40, 32, 32)))
    counts[:20, 16:20] = rng.poisson(12, (20, 4, 32))
    known = ForwardModel(
        Sensor("SPC3", torch.ones(32, 32), torch.zeros(32, 32), 1e-9, 9, measured=False), Exposure(1e-5)
    )
    [split, *_] = splits.splits_of(splits.Images(counts, known), [4])[4]
    assert not split.judged[16:20].any()
    assert not split.judged[5, 5]
    assert split.judged.mean() > 0.75


@pytest.mark.usefixtures("no_bm3d")
def test_a_recording_says_which_of_its_sums_is_best(
    spadsr: Callable[..., Said], recorded: Callable[..., Path], small_weights: Path, tmp_path: Path
) -> None:
    path = recorded(12, 32, 32)
    said = spadsr("evaluate", path, "--left-out", "--frames", "1,4,9", "--weights", small_weights, "-o", tmp_path)
    assert said.code == 0
    assert "is best" in said.out
    assert said.err.startswith("note: too few images for sums of 9")
    found = json.loads((tmp_path / "leftout.json").read_text())
    assert {row["frames"] for row in found["rows"]} == {16, 64}  # 16 hardware frames an image
    assert list(found["data_sha256"]) == [path.name]


def test_options_that_say_nothing_are_refused(spadsr: Callable[..., Said], recorded: Callable[..., Path]) -> None:
    path = recorded(4, 32, 32)
    said = spadsr("evaluate", path, "--left-out", "--flux", "0.3")
    assert (said.code, "--flux" in said.err) == (2, True)
    said = spadsr("evaluate", path, "--last", "3")
    assert (said.code, "--last" in said.err) == (2, True)
    said = spadsr("evaluate", path, "--left-out", "--frames", "3")
    assert said.code == 2
    assert "4 images: too few" in said.err
    said = spadsr("evaluate", path, "--left-out", "--frames", "1,0")
    assert (said.code, "sums of 0 images: expected 1 or more" in said.err) == (2, True)


def test_a_recording_without_a_count_predicts_nothing() -> None:
    known = ForwardModel(Sensor("even", torch.ones(8, 8), torch.zeros(8, 8), 0.0, 1), Exposure(1e-5))
    with pytest.raises(InputError, match="no counts at all"):
        splits.splits_of(splits.Images(np.zeros((9, 8, 8), np.int64), known), [1])


def test_a_folder_without_all_averages_is_refused(tmp_path: Path, restorer: Restorer) -> None:
    cv2.imwrite(str(tmp_path / "average256_left.png"), np.full((64, 64), 128, np.uint8))
    with pytest.raises(InputError, match=r"there is no average004_left.png; expected .*spclowlight"):
        left_out.run(Task(tmp_path, (4,), restorer))


# Nuclei


def test_annotations_in_both_layouts_are_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    light, labels = (
        rng.integers(0, 255, (160, 192, 3)).astype(np.uint8),
        rng.integers(0, 900, (160, 192)).astype(np.uint16),
    )
    for folder in ("beside", "apart/images", "apart/annotations"):
        (tmp_path / folder).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "beside/2.jpg"), light)
    cv2.imwrite(str(tmp_path / "beside/2_labels.png"), labels)
    cv2.imwrite(str(tmp_path / "apart/images/2.jpg"), light)
    (tmp_path / "apart/annotations/2").write_text("\n".join(" ".join(map(str, line)) for line in labels))
    [one], [other] = (list(micrographs.read_micrographs(tmp_path / folder)) for folder in ("beside", "apart"))
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.light, other.light)
    assert one.light.shape == one.labels.shape == (64, 96)


def test_annotations_that_fit_no_picture_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.jpg"), np.full((160, 192), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "1_labels.png"), np.ones((160, 160), np.uint16))
    with pytest.raises(InputError, match=r"25600 labels for 160 x 192 pixels of 1\.jpg; expected"):
        list(micrographs.read_micrographs(tmp_path))
    (tmp_path / "1_labels.png").unlink()
    with pytest.raises(InputError, match="1 JPEG pictures in it, none of them with an annotation"):
        list(micrographs.read_micrographs(tmp_path))


def test_a_nucleus_counts_once_and_an_area_by_its_overlap() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[12:18, 2:8] = 1, 2
    micrograph = micrographs.Micrograph((labels > 0).astype(np.float32), labels)
    found = micrograph.found(np.array([[4, 4], [5, 5], [15, 15]]))
    assert (found.found, found.false, found.missed) == (1, 2, 1)
    assert micrograph.dice(labels > 0) == 1
    assert micrograph.dice(labels == 1) == pytest.approx(2 / 3)
    assert micrograph.dice(labels > 5) == 0


def test_nuclei_with_an_outline_of_their_own_are_apart() -> None:
    labels = np.zeros((24, 24), np.int32)
    labels[2:10, 2:10], labels[2:10, 10:18] = 1, 5  # they touch
    micrograph = micrographs.Micrograph((labels > 0).astype(np.float32), labels)
    assert micrograph.apart(labels).f1 == 1
    together = micrograph.apart((labels > 0).astype(np.int32))
    assert (together.found, together.false, together.missed) == (0, 1, 2)
    assert np.array_equal(nuclei.outlines(labels > 0) > 0, labels > 0)


# Real data, and what is asked of it


def best(outcome: Outcome, measure: Measure, frames: int, condition: str = "") -> tuple[float, dict[str, float]]:
    """Of ours, and of each other method."""
    taken = {r.method: r.values[measure] for r in outcome.rows if (r.frames, r.condition) == (frames, condition)}
    return taken.pop(OURS), taken


@pytest.mark.usefixtures("no_bm3d")
def test_a_real_frame_predicts_the_others(shared: Path, restorer: Restorer) -> None:
    with open_capture(shared / "data/real/bianlab/input", last=9) as capture:  # of the fan
        found = left_out.left_out(capture, Task(None, (1,), restorer))
    ours, others = best(found, left_out.PSNR, 1)
    assert ours > others["plain counts"] + 4.0
    assert ours > others["tv"] + 0.8
    assert 0.8 < found.facts["judged_pixels"] < 0.95


@pytest.mark.usefixtures("no_bm3d")
def test_frames_of_a_swissspad2_predict_the_others(shared: Path, restorer: Restorer) -> None:
    found = left_out.run(Task(shared / "data/real/swissspad2", (1, 4, 16, 64), restorer))
    for frames in (1, 4, 16, 64):
        ours, others = best(found, left_out.PSNR, frames, "4x4 pixels as one, x4")
        assert ours > others["tv"] + 0.8


@pytest.mark.usefixtures("no_bm3d")
def test_real_nuclei_are_covered(shared: Path, restorer: Restorer) -> None:
    found = nuclei.run(Task(shared / "data/applications/nuclei", (4,), restorer))
    ours, others = best(found, nuclei.DICE, 4)
    assert ours >= 0.71
    assert ours >= max(others.values()) + 0.07
    ours, others = best(found, nuclei.PSNR, 4)
    assert ours >= max(others.values()) + 2.5


@pytest.mark.usefixtures("no_bm3d")
def test_a_fan_is_seen_at_a_higher_rate_and_farther_along_its_motion(restorer: Restorer) -> None:
    found = rotation.run(Task(None, (4, 16, 64), restorer))
    ours, others = best(found, rotation.PSNR, 4, "fan")
    assert ours >= 17.3
    assert others["tv"] < 15
    assert rotation.frames_needed([row for row in found.rows if row.condition == "fan"], "tv", ours) >= 3 * 4  # type: ignore[operator]
    ours, others = best(found, rotation.PSNR, 64, "fan")
    assert others[rotation.ALONG] > ours
