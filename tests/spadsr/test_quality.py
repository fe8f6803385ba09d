"""Methods side by side: the same counts for all, what each takes, and what is written."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.bench.quality import OURS, OURS_ENLARGED, Comparison, compare, distinct_names, up_to
from spadsr.bench.quality_tables import FIGURES, cost_table, quality_tables, write_comparison
from spadsr.evaluation.baselines import enlarge
from spadsr.evaluation.conditions import Condition, conditions_of
from spadsr.evaluation.evaluate import evaluate
from spadsr.evaluation.methods import Answer, methods_named
from spadsr.evaluation.summaries import summarised
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork
from spadsr.restoration.intervals import Intervals
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import load_restorer, save_weights


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(2):
        y, x = np.mgrid[:64, : 64 + 16 * index]
        grey = 128 + 100 * np.sin(x / 15 + index) * np.cos(y / 20)
        cv2.imwrite(str(folder / f"{index}.png"), grey.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, small_weights: Path) -> dict[str, Restorer]:
    """A peer that answers up to x4, through its weight file, and ours."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("peer") / "plain.safetensors"
    small = WindowAttentionConfig(width=12, groups=1, layers=2, heads=2, window=4)
    save_weights(path, WindowAttentionNetwork(small), Intervals(), {})
    return {"plain": load_restorer(path), OURS: load_restorer(small_weights)}


def compared(pictures: Path, networks: dict[str, Restorer], conditions: list[Condition]) -> Comparison:
    return compare(pictures, conditions, ["bicubic", "tv"], networks, 0, None, lambda done, total: None)


def test_all_methods_see_the_same_counts(pictures: Path, networks: dict[str, Restorer]) -> None:
    """Each row is what that method scores when it is measured alone."""
    conditions = conditions_of("binary", [4], [0.2], [4, 64])
    rows = compared(pictures, networks, conditions).evaluation.rows
    assert list(dict.fromkeys(row.method for row in rows)) == ["bicubic", "tv", "plain", OURS]
    for name in ("tv", "plain"):
        alone = evaluate(pictures, conditions, methods_named([name], networks)).rows
        assert [row for row in rows if row.method == name] == alone


def test_what_each_takes(pictures: Path, networks: dict[str, Restorer]) -> None:
    costs = compared(pictures, networks, [Condition("binary", 4, 0.2, 4)]).costs
    assert (costs["tv"].parameters, costs["tv"].gmac) == (None, None)
    assert costs["plain"].parameters == sum(part.numel() for part in networks["plain"].network.parameters())
    assert 0.001 < (costs["plain"].gmac or 0) < 0.1
    assert all(cost.seconds > 0 for cost in costs.values())


def test_beyond_x4_a_network_that_ends_there_is_enlarged(pictures: Path, networks: dict[str, Restorer]) -> None:
    rows = compared(pictures, networks, [Condition("binary", 8, 0.2, 64)]).evaluation.rows
    assert list(dict.fromkeys(row.method for row in rows)) == ["bicubic", "tv", "plain", OURS, OURS_ENLARGED]
    told = {row.method: row.within_68 is not None for row in rows}
    assert told == {"bicubic": False, "tv": False, "plain": False, OURS: True, OURS_ENLARGED: False}


def test_enlarging_an_answer() -> None:
    def ones(counts: np.ndarray, model: ForwardModel, scale: int) -> Answer:
        wide = np.kron(counts, np.ones((scale, scale), int)).astype(np.float32)
        return Answer(wide, wide)

    counts, model = np.arange(12).reshape(3, 4), ForwardModel(Sensor.load("spc3").uniform((3, 4)), Exposure(1e-5))
    at = {scale: up_to(4, ones)(counts, model, scale) for scale in (2, 4, 16)}
    assert at[2].rate.shape == (6, 8)
    assert at[4].uncertainty is not None
    assert np.array_equal(at[16].rate, enlarge(at[4].rate, 4))
    assert at[16].uncertainty is None


def test_names_of_weight_files(tmp_path: Path) -> None:
    files = [tmp_path / "light.safetensors", tmp_path / "large" / "weights.safetensors"]
    assert distinct_names(files) == {"light": files[0], "large": files[1]}
    for wrong in ([files[0], tmp_path / "light" / "weights.safetensors"], [tmp_path / "spadsr.safetensors"]):
        with pytest.raises(InputError, match="is taken"):
            distinct_names(wrong)


def test_what_is_written(pictures: Path, networks: dict[str, Restorer], tmp_path: Path) -> None:
    conditions = [*conditions_of("binary", [4], [0.2], [4, 64]), *conditions_of("counting", [2], [0.2], [1])]
    done = compared(pictures, networks, conditions)
    summaries = write_comparison(done, tmp_path, {"command": "x", "seed": 0, "sha256": {"plain": "abc"}})
    assert summaries == summarised(done.evaluation)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "quality.md", "quality.csv", "rows.csv", "summary.md", "summary.png", "coverage.png", "evaluation.json"
    }  # fmt: skip
    text = (tmp_path / "quality.md").read_text()
    assert all(said in text for said in ("command: x", "seed: 0", "plain abc", "torch", *FIGURES))
    with (tmp_path / "quality.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == len(summaries) == 12
    assert float(rows[0]["psnr"]) == pytest.approx(summaries[0].psnr.value, abs=1e-4)
    assert {row["parameters"] for row in rows if row["method"] == "tv"} == {""}


def test_tables_have_a_column_for_every_n(pictures: Path, networks: dict[str, Restorer]) -> None:
    done = compared(pictures, networks, conditions_of("binary", [4], [0.1, 0.2], [4, 64]))
    tables = quality_tables(summarised(done.evaluation))
    assert len(tables) == 2 * len(FIGURES)
    for title, table in tables:
        assert "x4, binary, white 0." in title
        assert [row[0] for row in table] == ["N", "bicubic", "tv", "plain", OURS]
        assert table[0][1:] == ["4", "64"]
    assert [row[0] for row in cost_table(done.costs)] == ["method", "bicubic", "tv", "plain", OURS]
