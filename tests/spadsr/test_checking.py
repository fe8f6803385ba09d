"""A sensor checked against captures: what is looked at, what is said, and what is refused."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from command import Said

from hardware.captures.capture import open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, Exposure, Sensor
from spadsr.calibration.check import _examined

SHAPE = (16, 12)


def array(name: str = "spc3") -> Sensor:
    """An array of 16 x 12 pixels, with maps of its own."""
    preset = Sensor.load(name)
    maps = {field: getattr(preset, field)[: SHAPE[0], : SHAPE[1]] for field in ("pde", "dark_count_rate")}
    return replace(preset, measured=True, **maps)


def scene(sensor: Sensor) -> torch.Tensor:
    """Photon rates that get brighter to the right."""
    return torch.logspace(4.5, 6.5, sensor.shape[1]).expand(sensor.shape)


def record(path: Path, sensor: Sensor, images: int = 300, rate: torch.Tensor | None = None, **header: Any) -> Path:
    exposure = Exposure(10.4e-6)
    rates = (scene(sensor) if rate is None else rate).expand(images, *sensor.shape)
    counts = ForwardModel(sensor, exposure).sample(rates, torch.Generator().manual_seed(1)).numpy().astype(np.uint16)
    key = header.pop("image_key", None)
    mask = header.pop("pixel_mask", None)
    known = Settings(exposure.count_time, exposure.cycles, sensor.counter_bits, sensor.dead_time)
    with CaptureWriter(path, sensor.shape, np.uint16, replace(known, **header), pixel_mask=mask) as writer:
        if key is None:
            writer.append(counts)
        else:
            for kind in np.unique(key):
                writer.append(counts[key == kind], image_key=int(kind))
    return path


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The file of the array."""
    array().save(tmp_path / "sensor.yaml")
    return tmp_path / "sensor.yaml"


class Page(HTMLParser):
    """What an HTML file shows, and what it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words, self.pictures, self.open = "", [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        assert tag not in ("script", "link", "iframe")
        assert "href" not in found
        if tag == "img":
            head, data = (found["src"] or "").split(",")
            assert head == "data:image/png;base64"
            bytes_there = np.frombuffer(base64.b64decode(data), np.uint8)
            self.pictures.append(cv2.imdecode(bytes_there, cv2.IMREAD_COLOR))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_right_sensor_explains_a_capture(spadsr: Callable[..., Said], tmp_path: Path, known: Path) -> None:
    capture = record(tmp_path / "scene.h5", array())
    said = spadsr("calibrate", "--check", capture, "--sensor", known)
    assert said.code == 0, said.err
    assert "The sensor explains the capture" in said.out
    assert said.err == ""
    page = Page(tmp_path / "scene.check.html")
    assert "scene.h5 under spc3" in page.words
    assert "The sensor explains the capture" in page.words
    assert f"spadsr calibrate --check {capture}" in page.words
    assert "300 x 16 x 12" in page.words
    assert len(page.pictures) == 2
    assert all(np.std(picture) > 0 for picture in page.pictures)
    first = (tmp_path / "scene.check.html").read_bytes()
    assert spadsr("calibrate", "--check", capture, "--sensor", known).out == said.out
    assert (tmp_path / "scene.check.html").read_bytes() == first


def test_a_wrong_sensor_does_not(spadsr: Callable[..., Said], tmp_path: Path) -> None:
    replace(array(), dead_time=0.0).save(tmp_path / "wrong.yaml")
    capture = record(tmp_path / "scene.h5", array())
    said = spadsr("calibrate", "--check", capture, "--sensor", tmp_path / "wrong.yaml", "-o", tmp_path / "it.html")
    assert said.code == 0, said.err
    assert "The sensor does not explain the capture" in said.out
    assert "its dead time is too short" in said.out
    assert "the file says a dead time of 50 ns, the sensor 0 s" in said.err
    assert "does not explain" in Page(tmp_path / "it.html").words


def test_a_moving_scene_is_rejected_and_told_so(spadsr: Callable[..., Said], tmp_path: Path, known: Path) -> None:
    bright = torch.linspace(0.7, 1.3, 300)[:, None, None] * scene(array())
    said = spadsr("calibrate", "--check", record(tmp_path / "a.h5", array(), rate=bright), "--sensor", known)
    assert "The scene or its light changed: motion, flicker and drift" in said.out


def test_a_preset_stands_for_its_kind(spadsr: Callable[..., Said], tmp_path: Path) -> None:
    said = spadsr("calibrate", "--check", record(tmp_path / "a.h5", array()), "--sensor", "spc3")
    assert said.code == 0
    assert "spc3 is a preset: its numbers were checked, with uniform maps" in said.err


def test_single_bits_are_summed(tmp_path: Path) -> None:
    sensor = array("spad512")
    with open_capture(record(tmp_path / "bits.h5", sensor, 100)) as capture:
        counts, exposure, run, kind = _examined(capture)
        bits = capture.read(0, 96)
    assert counts.tolist() == bits.reshape(6, 16, *SHAPE).sum(axis=1).tolist()
    assert (exposure.cycles, run, kind) == (16, 6, "scene")


def test_a_long_capture_is_looked_at_in_stretches(tmp_path: Path) -> None:
    path, images = tmp_path / "long.h5", 10_000
    counts = np.broadcast_to(np.arange(images, dtype=np.uint16)[:, None, None], (images, 2, 2))
    with CaptureWriter(path, (2, 2), np.uint16, Settings(1e-3, 1, 14, 5e-8)) as writer:
        writer.append(counts)
    with open_capture(path) as capture:
        seen, _, run, _ = _examined(capture)
    assert run == 250
    assert len(seen) == 2000
    starts = seen[::run, 0, 0].astype(int)
    assert (starts[0], starts[-1]) == (0, images - run)
    assert np.ptp(np.diff(starts)) <= 1
    assert (np.diff(seen[:, 0, 0].astype(int).reshape(-1, run), axis=1) == 1).all()


def test_images_of_one_kind_are_looked_at(tmp_path: Path) -> None:
    key = np.array([1] * 30 + [2] * 50 + [3] * 20)
    with open_capture(record(tmp_path / "a.h5", array(), 100, image_key=key)) as capture:
        counts, _, run, kind = _examined(capture)
        assert (len(counts), run, kind) == (30, 30, "flat")
        assert counts.tolist() == capture.read(0, 30).tolist()


def test_pixels_that_either_masks_are_left_out(spadsr: Callable[..., Said], tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint32)
    mask[2, 3] = DEAD
    sensor = array()
    broken = torch.ones(SHAPE)
    broken[2, 3], broken[4, 5] = 0, 0
    own = torch.zeros(SHAPE, dtype=torch.int32)
    own[4, 5] = DEAD
    replace(sensor, pixel_mask=own).save(tmp_path / "masked.yaml")
    rate = scene(sensor) * broken * torch.where(torch.arange(300)[:, None, None] % 2 == 0, 1.0, broken)
    capture = record(tmp_path / "a.h5", sensor, rate=rate, pixel_mask=mask)
    said = spadsr("calibrate", "--check", capture, "--sensor", tmp_path / "masked.yaml")
    assert "The sensor explains the capture" in said.out


@pytest.mark.parametrize(
    ("header", "sensor", "words"),
    [
        ({"corrected": True}, "spc3", "corrected for dead time by the camera"),
        ({"background_subtracted": True}, "spc3", "background was subtracted by the camera"),
        ({}, "spad512", "a binary array"),
        ({}, "other.yaml", "a counting array of 8 x 8 pixels, but a.h5 is from a counting array of 16 x 12"),
        ({}, "absent.yaml", "no such sensor file"),
        ({"image_key": np.full(20, 3)}, "spc3", "every image as invalid"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    spadsr: Callable[..., Said], tmp_path: Path, header: dict[str, Any], sensor: str, words: str
) -> None:
    small = replace(array(), pde=torch.ones(8, 8), dark_count_rate=torch.zeros(8, 8))
    small.save(tmp_path / "other.yaml")
    capture = record(tmp_path / "a.h5", array(), 20, **header)
    before = sorted(tmp_path.iterdir())
    name = tmp_path / sensor if sensor.endswith(".yaml") else sensor
    refused(spadsr("calibrate", "--check", capture, "--sensor", name), words)
    assert sorted(tmp_path.iterdir()) == before


def test_a_check_needs_a_sensor_and_a_report(spadsr: Callable[..., Said], tmp_path: Path) -> None:
    capture = record(tmp_path / "a.h5", array(), 5)
    refused(spadsr("calibrate", "--check", capture), "--check needs --sensor")
    refused(spadsr("calibrate", "--check", capture, "--sensor", "spc3", "-o", "out.yaml"), "ends in .html")
    refused(spadsr("calibrate", "--check", tmp_path / "no.h5", "--sensor", "spc3"), "no.h5")


def refused(said: Said, words: str) -> None:
    assert said.code == 2, said.err
    assert said.out == ""
    assert re.fullmatch(r"error: .*\n", said.err), said.err
    assert words in said.err
