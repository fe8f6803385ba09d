"""What is said of a capture unlike those the network was trained for, and that nothing is said of ordinary ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardware.captures.capture import Capture, open_capture
from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from noise_model.errors import Note
from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor
from simulate.pairs import PairRecipe
from spadsr.restoration.restorer import Restorer
from spadsr.restoration.training_range import TrainingRange, trained_for
from spadsr.restoration.weights import load_restorer

Counts = np.ndarray[Any, Any]
Lines = Callable[..., list[str]]

SECONDS, SHAPE = 10e-6, (32, 24)


@pytest.fixture(scope="module")
def restorer(small_weights: Path) -> Restorer:
    """With the range of the default recipe."""
    return replace(load_restorer(small_weights), provenance={"recipe": {"pairs": PairRecipe().model_dump()}})


@pytest.fixture
def lines(restorer: Restorer, tmp_path: Path) -> Lines:
    """lines(counts, ...) is what is said of a capture of these counts (T, H, W)."""

    def said(
        counts: Counts,
        cycles: int = 16,
        bits: int = 1,
        dead_time: float = 0.0,
        change: Callable[[Sensor], Sensor] | None = None,
        **recipe: Any,
    ) -> list[str]:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        with CaptureWriter(path, counts.shape[1:], np.uint16, Settings(SECONDS, cycles, bits, dead_time)) as writer:
            writer.append(counts.astype(np.uint16))
        trained = replace(restorer, provenance={"recipe": {"pairs": PairRecipe(**recipe).model_dump()}})
        with open_capture(path) as capture:
            return _said(trained, capture, change)

    return said


def _said(restorer: Restorer, capture: Capture, change: Callable[[Sensor], Sensor] | None) -> list[str]:
    sensor = capture.sensor if change is None else change(capture.sensor)
    trained = TrainingRange(restorer, ForwardModel(sensor, capture.exposure), calibrated=change is not None)
    for block in capture.blocks(2):
        trained.add(block)
    return trained.warnings()


def binary(x: float, cycles: int = 16, images: int = 5, shape: tuple[int, int] = SHAPE) -> Counts:
    return np.random.default_rng(0).binomial(cycles, -np.expm1(-x), (images, *shape))


def counting(x: float, dead_time: float, cycles: int = 1) -> Counts:
    sensor = Sensor("counting", torch.ones(SHAPE), torch.zeros(SHAPE), dead_time, 9)
    rate, generator = torch.full((5, *SHAPE), x / SECONDS), torch.Generator().manual_seed(0)
    return np.asarray(ForwardModel(sensor, Exposure(SECONDS, cycles)).sample(rate, generator).numpy())


@pytest.mark.parametrize("cycles", [1, 4, 16, 255, 1023, 2000])
@pytest.mark.parametrize("white", [0.1, 0.3, 1.0])
def test_an_ordinary_binary_capture_is_told_nothing(lines: Lines, cycles: int, white: float) -> None:
    assert lines(binary(white, cycles), cycles) == []


@pytest.mark.parametrize(("relative", "white"), [(8.0, 80.0), (17.5, 0.5), (17.5, 80.0), (104.0, 5.0), (208.0, 100.0)])
@pytest.mark.parametrize("cycles", [1, 64])
def test_an_ordinary_counting_capture_is_told_nothing(lines: Lines, relative: float, white: float, cycles: int) -> None:
    dead_time = SECONDS / relative
    assert lines(counting(white, dead_time, cycles), cycles, 9, dead_time) == []


def test_frames_out_of_range(lines: Lines) -> None:
    [said] = lines(binary(0.2, 65536), 65536)
    assert "N = 65536 hardware frames an image; the weights were trained with 1 to 16384 of a binary array" in said
    [said] = lines(binary(0.2, 16), 16, binary_cycles=(64, 128))
    assert "N = 16" in said


def test_kinds_of_array_not_trained_for(lines: Lines) -> None:
    assert lines(binary(0.2), binary_share=0.0) == ["the weights were trained without binary arrays"]
    dead_time = SECONDS / 17.5
    assert lines(counting(2, dead_time), 1, 9, dead_time, binary_share=1.0) == [
        "the weights were trained without counting arrays"
    ]


def test_too_little_light_names_the_image(lines: Lines) -> None:
    counts = binary(0.2)
    counts[3] = 0
    counts[3, 4, 4] = 1
    [said] = lines(counts)
    assert said.startswith("image 3: 0.016 counts a pixel where it is brightest; the weights were trained with 0.1")
    counts[1] = 0
    [said] = lines(counts)
    assert said.startswith("2 of 5 images, worst image 1: 0 counts")
    assert lines(counts[3:4], least_counts=0.01, binary_white=(0.001, 1.0)) == []


def test_a_saturated_region(lines: Lines) -> None:
    counts = binary(0.2)
    counts[2, 8:16, 8:16] = 16
    [said] = lines(counts)
    assert said.startswith(
        "image 2: 100% of the pixels saturated where it is brightest; the weights were trained with 0%"
    )
    dead_time = SECONDS / 8
    [said] = lines(counting(2000, dead_time, 4), 4, 9, dead_time)
    assert said.startswith("5 of 5 images, worst image 0: 100% of the pixels saturated")
    assert lines(counts, binary_white=(0.04, 9.0)) == []


def test_more_counts_than_any_capture_trained_with(lines: Lines) -> None:
    [said] = lines(binary(1.0, 1024), 1024, binary_cycles=(256, 512, 1024), binary_white=(0.01, 0.1))
    assert "counts a pixel where it is brightest; the weights were trained with up to 97.4" in said


def test_dead_time_out_of_range(lines: Lines) -> None:
    dead_time = SECONDS / 3
    [said] = lines(counting(0.5, dead_time, 4), 4, 9, dead_time)
    assert said.startswith("exposure / dead time = 3; the weights were trained with 8 or more")
    dead_time = SECONDS / 6
    assert lines(counting(0.5, dead_time, 4), 4, 9, dead_time) == []
    [said] = lines(counting(20.0, dead_time, 4), 4, 9, dead_time)
    assert "blind for" in said


def test_hot_pixels(lines: Lines) -> None:
    counts = binary(0.05, images=40)
    hot = np.random.default_rng(1).random(SHAPE) < 0.03
    counts[:, hot] = 8
    assert lines(counts) == []
    masked = torch.from_numpy(hot.astype(np.int32) * HOT)
    assert lines(counts, change=lambda sensor: replace(sensor, pixel_mask=masked)) == []
    [said] = lines(counts, change=lambda sensor: sensor, hot_fraction=0.01)
    assert "the weights were trained with up to 1%" in said
    assert isinstance(said, Note)
    assert said.arguments == ("dark", "mask")


def test_a_scene_of_sharp_lines_has_no_hot_pixels(lines: Lines) -> None:
    counts = binary(0.05, images=40)
    counts[:, ::4] = 8
    counts[:, :, ::6] = 12
    assert lines(counts) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sensor: replace(sensor, afterpulse_probability=0.1), "afterpulse probability 0.1; the weights"),
        (lambda sensor: replace(sensor, crosstalk=0.02 * (1 - torch.eye(3))), "crosstalk to a neighbour 0.02"),
        (lambda sensor: replace(sensor, pde=sensor.pde * torch.linspace(0.3, 1, 24)), "spread of the detection"),
        (lambda sensor: replace(sensor, dark_count_rate=torch.full(SHAPE, 5e3)), "dark counts are 2"),
        (lambda sensor: replace(sensor, pixel_mask=(torch.arange(24) < 3).int().expand(SHAPE)), "12.5% of the pixels"),
    ],
)
def test_a_sensor_unlike_those_trained_with(lines: Lines, change: Callable[[Sensor], Sensor], words: str) -> None:
    [said] = lines(binary(0.2, images=1), change=change)
    assert words in said


def test_ordinary_sensors_are_like_those_trained_with(lines: Lines) -> None:
    sensor = Sensor.load("spad512")
    rows, columns = slice(0, SHAPE[0]), slice(0, SHAPE[1])
    known = replace(sensor, pde=sensor.pde[rows, columns], dark_count_rate=sensor.dark_count_rate[rows, columns])
    assert lines(binary(0.2), change=lambda _: known) == []


def test_weights_without_maps_or_masks(lines: Lines) -> None:
    [said] = lines(binary(0.2), change=lambda sensor: sensor, known_share=0)
    assert "without maps of the sensor" in said
    one = torch.zeros(SHAPE, dtype=torch.int32)
    one[0, 0] = 1
    [said] = lines(binary(0.2), change=lambda sensor: replace(sensor, pixel_mask=one), masked_share=0)
    assert "pixels are masked" in said


def test_images_smaller_than_a_window(lines: Lines) -> None:
    [said] = lines(binary(0.2, shape=(5, 40)))
    assert said == "5 x 40 pixels; the weights were trained with 8 x 8 or more"


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"recipe": {}},
        {"recipe": "none"},
        {"recipe": {"pairs": {"binary_share": 7}}},
        {"recipe": {"pairs": PairRecipe().model_dump(), "simulated": "folder"}},
    ],
)
def test_weights_that_do_not_say_are_told_of_once(restorer: Restorer, recorded: Any, provenance: Any) -> None:
    assert trained_for(provenance) is None
    with open_capture(recorded(3, 4, 4)) as capture:
        [said] = _said(replace(restorer, provenance=provenance), capture, None)
    assert "do not say what they were trained for" in said


def test_the_shipped_weights_say_what_they_were_trained_for() -> None:
    assert trained_for(load_restorer().provenance) is not None


def of_map(restorer: Restorer, counts: Counts, cycles: torch.Tensor) -> list[str]:
    sensor = Sensor("binary", torch.ones(SHAPE), torch.zeros(SHAPE), 0.0, 1)
    model = ForwardModel(sensor, Exposure(SECONDS, int(cycles.max())))
    trained = TrainingRange(restorer, model, calibrated=False)
    trained.add(counts, cycles.expand(counts.shape).numpy())
    return trained.warnings()


def test_frames_of_each_pixel(restorer: Restorer) -> None:
    cycles = torch.full(SHAPE, 16)
    cycles[:16] = 400
    assert of_map(restorer, np.random.default_rng(0).binomial(cycles.numpy(), 0.1, (3, *SHAPE)), cycles) == []
    full = np.broadcast_to(cycles.numpy(), (3, *SHAPE)).copy()
    full[:, :16] = 40  # the half of 16 frames is saturated
    assert any("of the pixels saturated" in line for line in of_map(restorer, full, cycles))
    cycles[:, :12] = 0
    [line] = of_map(restorer, np.random.default_rng(0).binomial(cycles.numpy(), 0.1, (3, *SHAPE)), cycles)
    assert "50.0% of the pixels are masked or never looked" in line
    cycles[20, 20] = 100_000
    counts = np.random.default_rng(0).binomial(cycles.numpy(), 0.1, (3, *SHAPE))
    assert any("N = 16 to 100000 hardware frames" in line for line in of_map(restorer, counts, cycles))
