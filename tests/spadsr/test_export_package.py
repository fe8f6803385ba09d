"""BioImage.IO packages pass the test of the bioimageio program, and hold the answers of the network."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure
from spadsr.export.agreement import CheckCapture, difference
from spadsr.export.onnx_file import AGREEMENT, sensor_to_export
from spadsr.restoration.weights import load_restorer

pytest.importorskip("onnxruntime")
pytest.importorskip("bioimageio.core")

PROGRAM = [sys.executable, "-W", "ignore"]


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run([*PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_package(small_weights: Path, tmp_path: Path) -> None:
    array, exposure = ("--bits", "1"), ("--cycles", "64", "--count-time", "1e-5")
    made = ["export", "--format", "bioimageio", *array, *exposure, "-o", "p.zip", "--weights"]
    assert "of white of the network" in run("-m", "spadsr", *made, str(small_weights), folder=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["p.zip"]
    run("-m", "bioimageio.core", "test", "p.zip", folder=tmp_path)
    with zipfile.ZipFile(tmp_path / "p.zip") as package:
        described = yaml.safe_load(package.read("rdf.yaml"))
        arrays = {name: np.load(package.open(f"{name}.npy")) for name in ("counts", "rate", "standard_uncertainty")}
    assert described["format_version"].startswith("0.5")
    assert described["license"] == "BSD-3-Clause"
    restorer, sensor = load_restorer(small_weights), sensor_to_export(None, None, 1)
    assert described["config"]["spadsr"]["weights_sha256"] == restorer.checksum
    counts = torch.from_numpy(arrays["counts"])[:, 0]
    white = 0.2 / 1e-5
    capture = CheckCapture(counts, ForwardModel(sensor.uniform((64, 64)), Exposure(1e-5, 64)), white, fixed=True)
    assert difference([arrays["rate"], arrays["standard_uncertainty"]], capture, restorer, 4) < AGREEMENT
