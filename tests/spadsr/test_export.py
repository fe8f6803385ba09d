"""Exported files: they answer as the network does at any size, say what they are, and are not left where they err."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.cli.app import app
from spadsr.cli.console import options_of
from spadsr.export import onnx_file as model_export
from spadsr.export.agreement import CheckCapture, check_captures, difference
from spadsr.export.graph import Float32Restorer
from spadsr.export.onnx_file import AGREEMENT, MEANINGS, Exported, export_onnx, inputs_of, sensor_to_export, session
from spadsr.files.describe import describe
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.weights import SHIPPED, load_restorer

onnx: Any = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SIZES = ((1, 64, 32), (3, 37, 51), (1, 128, 96), (1, 1, 1))
KERNEL = torch.tensor([[0.0, 2e-3, 0.0], [1e-3, 0.0, 1e-3], [0.0, 3e-3, 0.0]])  # not the same in all directions


@pytest.fixture(scope="module")
def restorer(small_weights: Path) -> Restorer:
    return load_restorer(small_weights)


@pytest.fixture(scope="module")
def counting() -> Sensor:
    numbers = sensor_to_export(None, 50e-9, 6)
    return replace(numbers, crosstalk=KERNEL, afterpulse_probability=0.02, trap_lifetime=40e-9, measured=True)


@pytest.fixture(scope="module")
def counting_file(tmp_path_factory: pytest.TempPathFactory, restorer: Restorer, counting: Sensor) -> Exported:
    return export_onnx(restorer, counting, 4, tmp_path_factory.mktemp("exported") / "counting.onnx")


def captures(sensor: Sensor, exposure: Exposure) -> list[CheckCapture]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for images, height, width in SIZES:
        dark, pde, bad = torch.rand((3, height, width), generator=generator)
        known = replace(sensor, dark_count_rate=500 * dark, pde=0.3 + 0.1 * pde, pixel_mask=(bad < 0.05).int())
        counts = torch.randint(0, 9 * exposure.cycles, (images, height, width), generator=generator)
        made.append(CheckCapture(counts, ForwardModel(known, exposure), 8 / exposure.count_time, fixed=False))
    return made


def test_agrees_with_the_network_at_any_size(counting_file: Exported, counting: Sensor, restorer: Restorer) -> None:
    running = session(counting_file.path)
    assert 0 < counting_file.difference < AGREEMENT
    for exposure in (Exposure(1e-6, 1), Exposure(10.4e-6, 300)):
        for capture in captures(counting, exposure):
            answers = running.run(None, inputs_of(capture))
            images, height, width = capture.counts.shape
            assert [a.shape for a in answers] == [(images, 1, 4 * height, 4 * width)] * 2 + [(images,)]
            assert difference(answers, capture, restorer, 4) < AGREEMENT


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_weights_can_be_exported(name: str, tmp_path: Path) -> None:
    written = export_onnx(load_restorer(name), sensor_to_export(None, None, 1), 4, tmp_path / "binary.onnx")
    assert written.path.is_file()
    assert written.difference < AGREEMENT


def test_a_difference_is_seen(counting_file: Exported, counting: Sensor, restorer: Restorer) -> None:
    """Each answer counts, and so does one that is not a number."""
    capture = captures(counting, Exposure(10.4e-6, 4))[0]
    exact = Float32Restorer(**vars(restorer))
    rate, uncertainty, factor = exact.network_answer(capture.counts, capture.model, 4)
    right = [rate[:, None].numpy(), uncertainty[:, None].numpy(), factor.numpy()]
    assert difference(right, capture, restorer, 4) == 0
    for place in range(3):
        wrong = [each.copy() for each in right]
        wrong[place].flat[0] += 1e-3 * (capture.white if place < 2 else right[2][0])
        assert difference(wrong, capture, restorer, 4) > AGREEMENT / 100
        wrong[place].flat[0] = np.nan
        assert np.isnan(difference(wrong, capture, restorer, 4))


def test_says_what_it_is(counting_file: Exported, restorer: Restorer) -> None:
    rows = dict(describe(counting_file.path))
    assert rows["weights_sha256"] == restorer.checksum
    assert (rows["scale"], rows["array"], rows["dead_time"]) == ("4", "counting", "5e-08")
    assert rows["license"] == "BSD-3-Clause"
    np.testing.assert_allclose(json.loads(rows["crosstalk"]), KERNEL.tolist())
    assert rows["input counts"].startswith("batch x 1 x height x width: counts of the images")
    assert rows["output rate"].startswith("batch x 1 x 4 height x 4 width: photon detection rate, counts/s")
    assert str(Path(__file__).parents[2]).encode() not in counting_file.path.read_bytes()
    onnx.checker.check_model(str(counting_file.path), full_check=True)


def test_the_page(counting_file: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code runs, and it names every input and output."""
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)) == set(MEANINGS)
    shutil.copy(counting_file.path, tmp_path / "base_x4.onnx")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), found)
    assert found["low"].shape == found["high"].shape == (1, 1, 256, 128)
    assert (found["low"] < found["high"]).all()


def test_a_file_that_disagrees_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counting_file: Exported, counting: Sensor, restorer: Restorer
) -> None:
    """The graph of other weights stands for an exporter that errs."""
    other = onnx.load(str(counting_file.path))
    weights = [each for each in other.graph.initializer if each.name == "network.stem.weight"]
    for each in weights:
        each.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(each), each.name))
    assert len(weights) == 1
    monkeypatch.setattr(model_export, "_traced", lambda *_: other)
    with pytest.raises(InputError, match=r"wrong\.onnx: ONNX Runtime differs from the network"):
        export_onnx(restorer, counting, 4, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("binary", [True, False])
def test_captures_of_the_self_check_reach_every_case(binary: bool) -> None:
    """Odd sizes, several images, an image without a count, a saturated pixel, bad pixels."""
    sensor = sensor_to_export(None, None if binary else 50e-9, 1 if binary else 10)
    made = list(check_captures(sensor, None))
    assert {tuple(c.counts.shape[-2:]) for c in made} >= {(64, 32), (37, 51), (128, 96)}
    assert {len(c.counts) for c in made} >= {1, 3}
    assert any((c.counts.sum(dim=(1, 2)) == 0).any() for c in made)
    assert any((~c.model.sensor.good).any() for c in made)
    full = made[0].model.exposure.cycles * (1 if binary else 0.95 * 17.5)
    assert any((c.counts >= full).any() for c in made)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--sensor"),
        (["--bits", "6"], "--dead-time"),
        (["--bits", "1", "--scale", "3"], "scale 3"),
        (["--bits", "1", "--cycles", "4"], "inputs of an ONNX file"),
        (["--bits", "1", "--format", "bioimageio"], "--count-time and --cycles"),
    ],
)
def test_refusals(small_weights: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    made = ["export", "--weights", str(small_weights), "-o", str(tmp_path / "a.onnx"), *arguments]
    result = CliRunner().invoke(app, made)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception) + options_of(result.exception.arguments)
    assert not list(tmp_path.iterdir())


def test_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, restorer: Restorer) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript.*pip install '\.\[export\]'"):
        export_onnx(restorer, sensor_to_export(None, None, 1), 4, tmp_path / "a.onnx")
