"""Pictures: right pixels in the right place, on one scale, with their origin in the file."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from hardware.captures.capture import Capture, open_capture
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.pictures.sheets import Strip, _rate_bar, contact_sheet, enlarged, in_units, rate_scale, sheet, text_width


def model_of(capture: Capture) -> ForwardModel:
    return ForwardModel(capture.sensor, capture.exposure)


def shades(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).astype(float)


@pytest.mark.parametrize("bits", [1, 9])
@pytest.mark.parametrize("scale", [1, 4])
def test_a_sheet_shows_every_pixel(recorded: Callable[..., Path], tmp_path: Path, bits: int, scale: int) -> None:
    """Panels are drawn in whole screen pixels: each picture pixel is a square of one shade, in place."""
    path = tmp_path / "sheet.png"
    rate = np.random.default_rng(1).random((12 * scale, 6 * scale)).astype(np.float32) * 1e5
    with open_capture(recorded(2, 12, 6, bits=bits)) as capture:
        sheet(path, rate, 0.1 * rate, model_of(capture), counts=capture.read(0, 1)[0], notes={"Seed": "5"})
    zoom = 768 // (12 * scale)
    width = 6 * scale * zoom
    panel = shades(path)[64 : 64 + 12 * scale * zoom, 24 + width + 16 : 24 + 2 * width + 16]
    squares = panel.reshape(12 * scale, zoom, 6 * scale, zoom)
    assert np.ptp(squares, axis=(1, 3)).max() == 0
    assert np.allclose(squares[:, 0, :, 0], 255 * rate_scale(rate)(rate), atol=2)


def test_a_sheet_says_where_it_comes_from(recorded: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    with open_capture(recorded(1, 8, 8)) as capture:
        rate, notes = np.ones((8, 8), np.float32), {"Weights": "abc"}
        sheet(path, rate, None, model_of(capture), counts=capture.read(0, 1)[0], notes=notes)
    with Image.open(path) as picture:
        assert picture.text["Software"].startswith("spadsr ")
        assert picture.text["Weights"] == "abc"


def test_a_sheet_draws_large_answers_as_they_are(recorded: Callable[..., Path], tmp_path: Path) -> None:
    """At x16 a pixel of the page for each of the answer; above 2048, means over a whole number of pixels."""
    random = np.random.default_rng(2)
    with open_capture(recorded(1, 64, 8)) as capture:
        rate = random.random((1024, 128)).astype(np.float32)
        sheet(tmp_path / "a.png", rate, None, model_of(capture))
    column = shades(tmp_path / "a.png")[64 : 64 + 1024, 24 + 96 : 24 + 96 + 128]
    assert np.allclose(column, 255 * rate_scale(rate)(rate), atol=2)
    with open_capture(recorded(1, 150, 2)) as capture:
        rate = random.random((2400, 32)).astype(np.float32)
        sheet(tmp_path / "b.png", rate, None, model_of(capture))
    left = 24 + (max(320, text_width("restored x16, 2400 x 32, drawn 2 x 2 as one", 10) + 16) - 16) // 2
    column = shades(tmp_path / "b.png")[64 : 64 + 1200, left : left + 16]
    assert np.allclose(column, 255 * rate_scale(rate)(rate.reshape(1200, 2, 16, 2).mean(axis=(1, 3))), atol=2)


def test_the_uncertainty_is_legible_beside_bright_things(recorded: Callable[..., Path], tmp_path: Path) -> None:
    """Faint places are told apart by three decades, and a grid at the pitch of the array is not there."""
    uncertainty = np.full((64, 64), 100.0, np.float32)
    uncertainty[:, 16:32], uncertainty[:, 32:] = 1000.0, 1e4
    grid = np.where(np.arange(64) % 4 < 2, 0.5, 1.5)[:, None]
    with open_capture(recorded(1, 16, 16)) as capture:
        rate = np.linspace(0, 1e5, 64 * 64, dtype=np.float32).reshape(64, 64)
        sheet(tmp_path / "a.png", rate, (uncertainty * grid).astype(np.float32), model_of(capture))
    panel = shades(tmp_path / "a.png")[64 : 64 + 768, 24 + 768 + 16 :][:, :768].reshape(64, 12, 64, 12)[:, 6, :, 6]
    faint, middle, bright = panel[8:-8, 4:12], panel[8:-8, 20:28], panel[8:-8, 40:]
    assert max(np.ptp(each) for each in (faint, middle, bright)) <= 2
    assert 100 < bright.mean() - middle.mean() == pytest.approx(middle.mean() - faint.mean(), abs=2)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e9])
def test_flat_pictures_can_be_drawn(recorded: Callable[..., Path], tmp_path: Path, level: float) -> None:
    with open_capture(recorded(1, 8, 8, bits=9)) as capture:
        flat = np.full((16, 16), level, np.float32)
        sheet(tmp_path / "sheet.png", flat, flat, model_of(capture), counts=capture.read(0, 1)[0])
    assert shades(tmp_path / "sheet.png").std() > 5


@pytest.mark.parametrize(
    ("shape", "scale", "size"),
    [((1, 48), 4, (2546, 472)), ((60, 1), 4, (1202, 808)), ((512, 512), 1, (1778, 600)), ((1, 1), 1, (2546, 856))],
)
def test_sheets_of_any_shape_are_legible(
    recorded: Callable[..., Path], tmp_path: Path, shape: tuple[int, int], scale: int, size: tuple[int, int]
) -> None:
    """Headings do not run into each other, and the bar is never shorter than its labels. Nothing was counted."""
    path, flat = tmp_path / "sheet.png", np.zeros((shape[0] * scale, shape[1] * scale), np.float32)
    with open_capture(recorded(1, *shape)) as capture:
        sheet(path, flat, flat, model_of(capture), counts=np.zeros(shape, np.uint8), name="capture.h5")
    with Image.open(path) as picture:
        assert picture.size == size
    page = shades(path)
    assert page[64:-24, -24 - 80 - 18 : -24 - 80].std() > 50  # the bar, from black to white
    assert (page[:, :20] == 255).all()


def test_the_bar_says_what_it_measures(tmp_path: Path) -> None:
    figure = Figure()
    bar = figure.add_axes((0.4, 0.1, 0.05, 0.8))
    ideal = Sensor("ideal", torch.ones(1, 1), torch.zeros(1, 1), 0.0, 1)
    _rate_bar(bar, rate_scale(np.linspace(0, 7e4, 100)[None]), ForwardModel(ideal, Exposure(1e-5, 16)))
    assert bar.get_ylabel() == "photon detection rate, counts/s per native pixel"
    assert [tick.get_text() for tick in bar.get_yticklabels()][:2] == ["0", "5\N{THIN SPACE}k"]
    [other] = bar.child_axes
    assert other.get_ylabel() == "mean counts of one image"
    rate = -math.log(1 - 4 / 16) / 1e-5  # of four counts in sixteen frames
    heights = dict(zip([t.get_text() for t in other.get_yticklabels()], other.get_yticks(), strict=True))
    assert heights["4"] == pytest.approx(rate, rel=1e-3)


def test_the_scale_follows_the_scene() -> None:
    """Linear where brightness is spread out, asinh where bright things are rare; white is hardly ever exceeded."""
    even = np.linspace(1, 100, 10_000).reshape(100, 100)
    assert rate_scale(even)(even).mean() == pytest.approx(0.5, abs=0.02)
    sparse = np.ones((100, 100))
    sparse[40:60, 40:60] = 100
    assert rate_scale(sparse)(1.0) > 2 * rate_scale(sparse, "linear")(1.0)
    assert rate_scale(sparse).vmax == 100
    assert rate_scale(even, "asinh")(0) == 0


def test_enlarged() -> None:
    assert enlarged(np.array([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]


def test_a_contact_sheet_holds_every_strip(tmp_path: Path) -> None:
    """Each panel holds its own picture, enlarged to the largest: small, large and reference of each strip. A pixel that
    outshines a reference leaves the others their shades."""
    random = np.random.default_rng(0)
    lines, outshone = 255 * np.eye(32, 16), np.zeros((32, 16))
    outshone[5, 9] = 1e4
    strips = [
        Strip(
            f"strip {i}",
            {"small": random.random((8, 4)), "large": random.random((32, 16))},
            {"other": lines + outshone},
        )
        for i in range(3)
    ]
    path = tmp_path / "contact.png"
    contact_sheet(strips, path, columns=2)
    page = shades(path)
    pitch = text_width("small", 8) + 4  # headings do not run into each other, nor labels
    labels = [f"{each.label}   white = {in_units(rate_scale(each.rates['large']).vmax)}" for each in strips]
    across = max(3 * pitch, *(text_width(label, 8) for label in labels)) + 16
    assert page.shape == (2 * (32 + 56) + 16, 2 * across + 16)
    for index, strip in enumerate(strips):
        row, column = divmod(index, 2)
        top, left = row * 88 + 28, 16 + column * across
        panels = [page[top : top + 32, left + pitch * place :][:, :16] for place in range(3)]
        scale = rate_scale(strip.rates["large"])
        assert np.allclose(panels[0], 255 * scale(enlarged(strip.rates["small"], 4)), atol=2)
        assert np.allclose(panels[1], 255 * scale(strip.rates["large"]), atol=2)
        assert np.allclose(panels[2], strip.references["other"].clip(max=255), atol=2)
