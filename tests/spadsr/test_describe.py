"""What `spadsr info` says of each kind of file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.estimates import Estimate
from noise_model.sensor import Sensor
from simulate.dataset import SimulatedSet
from simulate.recipe import SimulationRecipe
from simulate.scenes import ProceduralScenes
from simulate.shards import SceneMaker
from spadsr.files.describe import as_data, describe
from spadsr.provenance import Provenance
from spadsr.restoration.result_writer import CHECKS, ResultWriter


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path, mask = tmp_path / "a.h5", np.eye(4, dtype=np.uint32)
    settings = Settings(10.4e-6, 8, 9, 5e-8, frame_time=1e-4, corrected=True)
    with CaptureWriter(path, (4, 4), "u1", settings, pixel_mask=mask, notes={"laser": "off"}) as writer:
        writer.append(np.full((3, 4, 4), 2, np.uint8), image_key=2)
    return path


def test_a_capture(capture: Path) -> None:
    rows = dict(describe(capture))
    assert rows["images"] == "3 images of 4 x 4"
    assert rows["exposure"] == "8 x 10.4 us"
    assert rows["array"] == "counting, 9 bits"
    assert rows["counts in the first block"] == "mean 2, largest 2"
    assert (rows["masked pixels"], rows["image keys"], rows["laser"]) == ("4", "3 darks", "off")
    assert "dead-time corrected" in rows["warning"]


def test_assumptions_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 4, 4), np.uint8))
    assert ("assumed", "binary array assumed") in describe(tmp_path / "a.npy")


def test_folders_of_images_and_what_they_do_not_say(tmp_path: Path) -> None:
    for number in (1, 2):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), np.ones((4, 4), np.uint8))
    rows = describe(tmp_path, cycles=1, counter_bits=1, count_time=1e-6)
    assert ("images", "2 images of 4 x 4") in rows
    assert "assumed" not in dict(rows)


def test_losses_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with CaptureWriter(path, (4, 4), "u1", Settings(1e-6)) as writer:
        writer.append(np.ones((3, 4, 4), np.uint8), sequence_number=np.array([0, 1, 9]))
    assert dict(describe(path))["images lost"] == "7"


def test_a_result(capture: Path) -> None:
    path = capture.with_name("a.sr.h5")
    made = Provenance("default", "ab" * 32, {"name": "spc3"}, versions={"torch": "2.11"})
    figures = dict.fromkeys(CHECKS, np.full(1, 1.5)) | {"residual": np.ones((1, 4, 4), np.float32)}
    with (
        open_capture(capture) as opened,
        ResultWriter(path, settings=opened.settings, notes={}, source="a.h5", scale=2, provenance=made) as writer,
    ):
        writer.append(np.ones((1, 8, 8), np.float32), np.ones((1, 8, 8), np.float32), np.ones(1, np.float32), figures)
    rows = dict(describe(path))
    assert rows["images"] == "1 image of 8 x 8, counts/s per native pixel"
    assert (rows["scale"], rows["made from"], rows["sensor"]) == ("x2", "a.h5", "spc3")
    assert rows["physics check"] == "chi-squared per pixel 1.50"
    assert rows["model"] == "default (sha256 abababababab)"


def test_weights(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float16)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"recipe": "smoke"})
    rows = dict(describe(tmp_path / "a.safetensors"))
    assert (rows["tensors"], rows["parameters"], rows["recipe"]) == ("2", "17", "smoke")
    assert rows["sha256"] == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    metadata = {"made": json.dumps({"by": {"steps": 12000, "rates": [0.123456, 2], "from": None}}), "size": "{3"}
    save_file(tensors, tmp_path / "a.safetensors", metadata=metadata)
    assert list(describe(tmp_path / "a.safetensors"))[-3:] == [
        ("made.by.steps", "12000"),
        ("made.by.rates", "0.1235, 2"),
        ("size", "{3"),
    ]
    (tmp_path / "b.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="not a safetensors file"):
        describe(tmp_path / "b.safetensors")


def test_a_simulated_set(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"kind": "spadsr pairs", "seed": 7})
        file["counts/b3"] = np.zeros((2, 64, 32), np.uint16)
    rows = dict(describe(tmp_path / "a.h5"))
    assert (rows["seed"], rows["counts/b3"]) == ("7", "uint16 2 x 64 x 32")


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("words")
    for path, words in ((tmp_path / "a.doc", "expected one of"), (tmp_path, "directory"), (tmp_path / "no", "no such")):
        with pytest.raises(InputError, match=words):
            describe(path)


def test_shipped_weights_and_sensors_by_name() -> None:
    assert dict(describe("tiny"))["format"] == "spadsr weights"
    rows = dict(describe("spc3"))
    assert (rows["name"], rows["array"], rows["dead time"]) == ("spc3", "counting, 9 bits", "50 ns")
    assert as_data(describe("spc3"))["pixels"] == [64, 32]


def test_a_sensor_file(tmp_path: Path) -> None:
    """With what calibration found, and how well."""
    estimate = Estimate(54.0, 50.0, 58.0)
    mask = torch.eye(4, 6, dtype=torch.int32)
    made = Sensor(
        "mine", torch.ones(4, 6), torch.ones(4, 6), 0.0, 1, pixel_mask=mask, estimates={"dark_rate": estimate}
    )
    made.save(tmp_path / "mine.yaml")
    rows = dict(describe(tmp_path / "mine.yaml"))
    assert rows["pixels"] == "4 x 6, maps of one array"
    assert (rows["array"], rows["bad pixels"]) == ("binary", "4")
    assert rows["dark rate"] == "54, 95 % within 50 to 58"
    (tmp_path / "other.yaml").write_text("a: 1")
    with pytest.raises(InputError, match=r"other\.yaml"):
        describe(tmp_path / "other.yaml")


def test_the_folder_of_a_simulated_set(tmp_path: Path) -> None:
    recipe = SimulationRecipe(
        shape=(8, 4), bit_depths=(1,), white_detections=(0.2,), count_time=20e-9, squared_share=0.5
    )
    maker = SceneMaker(ProceduralScenes(0), recipe, recipe.sensor(Sensor.load("spc3")), 0)
    assert list(SimulatedSet(tmp_path, maker, 2).write())[-1] == 2
    rows = dict(describe(tmp_path))
    assert (rows["scenes"], rows["recipe.shape"]) == ("2", "8, 4")
    assert as_data(describe(tmp_path))["files"]["bytes"] == (tmp_path / "shard-00000.h5").stat().st_size
