"""The report of a calibration: every number and picture that belongs there, in one file that needs no other."""

import base64
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from noise_model.calibration.calibrate import Calibration
from noise_model.calibration.streams import LAGS, Stream, StreamStatistics, gather
from noise_model.estimates import Estimate
from noise_model.forward_model import ForwardModel
from noise_model.sensor import DEAD, HOT, Exposure, Sensor
from spadsr.calibration import figures
from spadsr.calibration.report import ESTIMATES, Used, assumed, estimate_rows, write_calibration
from spadsr.pictures.plots import png

SHAPE = (20, 14)
FRAME = Exposure(10e-6)
FLUX = (5e5, 3e6)


def statistics(name: str, sensor: Sensor, rate: float, seed: int, images: int = 400) -> StreamStatistics:
    rates = torch.full((images, *SHAPE), rate)
    counts = ForwardModel(sensor, FRAME).sample(rates, torch.Generator().manual_seed(seed)).numpy().astype(np.uint16)
    return gather(Stream(name, counts.shape, FRAME, sensor.dead_time, sensor.counter_bits, lambda: iter([counts])))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """As if a sensor had been found exactly: what the pictures say of it is then known."""
    generator = torch.Generator().manual_seed(0)
    dark = 100 * torch.randn(SHAPE, generator=generator).exp()
    mask = torch.where(dark > 1000, HOT, 0).to(torch.int32)
    mask[2, 3] = DEAD
    kernel = np.zeros((5, 5))
    kernel[2, 1] = kernel[2, 3] = kernel[1, 2] = kernel[3, 2] = 2e-3
    sensor = replace(
        Sensor.load("spc3"),
        name="found",
        pde=0.4 + 0.02 * torch.randn(SHAPE, generator=generator),
        dark_count_rate=dark,
        pixel_mask=mask,
        crosstalk=torch.zeros(1, 1),
        afterpulse_probability=0.0,
        measured=True,
    )
    relative = (sensor.pde / sensor.mean_pde).double().numpy()
    rate = dark.double().numpy()
    return Calibration(
        sensor=sensor,
        estimates={
            "dead_time": Estimate(50e-9, 48e-9, 52e-9, True, "from the header"),
            "crosstalk_nearest": Estimate(2e-3, 1.9e-3, 2.1e-3),
            "trap_lifetime": Estimate(100e-9, 100e-9, 100e-9, False, "a <hold-off> sweep would tell"),
            "dark_bulk": Estimate(100.0, 90.0, 110.0),
            "dark_bulk_sigma": Estimate(1.0, 0.9, 1.1),
            "dark_hot_fraction": Estimate(0.01, 0.005, 0.02),
            "dark_hot_median": Estimate(1000.0, 900.0, 1100.0),
            "dark_hot_sigma": Estimate(1.0, 0.9, 1.1),
        },
        dark_low=0.8 * rate,
        dark_high=1.3 * rate,
        pde_low=relative - 0.01,
        pde_high=relative + 0.01,
        shading=np.ones(SHAPE),
        crosstalk=(kernel, np.maximum(kernel - 1e-4, 0), kernel + 1e-4),
        flux=[Estimate(flux, 0.99 * flux, 1.01 * flux) for flux in FLUX],
        autocorrelation=(np.array(LAGS), np.zeros(len(LAGS)), np.full(len(LAGS), 1e-3)),
        darks=(statistics("dark.h5", sensor, 0.0, 1),),
        flats=tuple(statistics(f"flat{i}.h5", sensor, flux, 2 + i) for i, flux in enumerate(FLUX)),
        remarks=("The light's shading is divided out.",),
    )


class Page(HTMLParser):
    """What an HTML file shows, and what it would load."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: dict[str, NDArray[np.uint8]] = {}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "object")
        found = dict(attributes)
        assert "href" not in found
        if tag == "img":
            head, data = (found["src"] or "").split(",")
            assert head == "data:image/png;base64"
            self.pictures[found["alt"] or ""] = pixels(base64.b64decode(data))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def pixels(png: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def written(calibration: Calibration, folder: Path) -> Page:
    used = [
        Used("dark.h5", "dark", (400, *SHAPE), FRAME, "0123456789abcdef" * 4, ("9-bit counter assumed (--bits)",)),
        Used("<flat0>.h5", "flat", (400, *SHAPE), FRAME, "f" * 64),
    ]
    write_calibration(folder / "found.html", calibration, used, "spadsr calibrate dark.h5 --flat '<flat0>.h5'")
    return Page(folder / "found.html")


def test_a_report_holds_everything(calibration: Calibration, tmp_path: Path) -> None:
    page = written(calibration, tmp_path)
    assert list(page.pictures) == [
        "Maps",
        "Dark count rates in order",
        "Spread of the counts",
        "Crosstalk",
        "Memory",
        "Residuals",
    ]
    assert all(np.std(picture) > 5 for picture in page.pictures.values())
    for cell in (
        "Calibration: found",
        "50 ns",
        "48 to 52",
        "from the header",
        "assumed: a <hold-off> sweep would tell",
        "The light's shading is divided out.",
        "400 x 20 x 14",
        "1 x 10 us",
        "0123456789abcdef",
        "<flat0>.h5",
        "dark.h5: 9-bit counter assumed (--bits)",
        "spadsr calibrate dark.h5 --flat '<flat0>.h5'",
        "flat1.h5",
        "3e+06 /s",
    ):
        assert cell in page.words
    assert any("torch" in words and "spadsr" in words for words in page.words)


def test_what_was_not_recorded_is_not_drawn(calibration: Calibration, tmp_path: Path) -> None:
    none = np.empty(0)
    dark_only = replace(calibration, flats=(), flux=[], autocorrelation=(none.astype(np.int64), none, none))
    assert list(written(dark_only, tmp_path).pictures) == ["Maps", "Dark count rates in order"]
    one = replace(calibration, flats=calibration.flats[:1], flux=calibration.flux[:1])
    assert "Residuals" not in written(one, tmp_path).pictures


def test_estimates_in_words_and_units(calibration: Calibration) -> None:
    rows = estimate_rows(calibration.estimates)
    assert all(len(row) == len(ESTIMATES) for row in rows)
    assert rows[0] == ["dead time", "50 ns", "48 to 52", ""]
    assert rows[1] == ["crosstalk, nearest neighbour", "0.2 %", "0.19 to 0.21", ""]
    assert rows[2] == ["trap lifetime", "100 ns", "-", "assumed"]
    assert assumed(calibration.estimates) == ["trap lifetime: assumed; a <hold-off> sweep would tell"]
    assert estimate_rows({"something_new": Estimate(2.0, 1.0, 3.0)}) == [["something new", "2", "1 to 3", ""]]


def test_residuals_are_those_of_photon_noise(calibration: Calibration) -> None:
    for values in figures._residuals(calibration):
        assert stats.kstest(values, "norm").pvalue > 1e-4
    tilted = replace(calibration.flats[0], total=calibration.flats[0].total + np.arange(14) * 40)
    spoilt = next(figures._residuals(replace(calibration, flats=(tilted, calibration.flats[1]))))
    assert stats.kstest(spoilt, "norm").pvalue < 1e-6


def test_the_fitted_spread_is_the_distribution_it_names(calibration: Calibration) -> None:
    fitted = figures._fitted_spread(calibration.estimates)
    assert fitted is not None
    share, rate = fitted
    rng = np.random.default_rng(0)
    hot = rng.random(400_000) < 0.01
    drawn = np.where(hot, 1000.0, 100.0) * np.exp(rng.standard_normal(hot.size))
    for point in (30.0, 100.0, 1000.0):
        assert np.interp(point, rate, share) / 100 == pytest.approx((drawn < point).mean(), abs=3e-3)
    assert figures._fitted_spread({}) is None


def test_expected_memory_of_binary_frames(calibration: Calibration) -> None:
    a, mean = 0.1, 0.3
    binary = replace(calibration.sensor, counter_bits=1, dead_time=0.0, afterpulse_probability=a)
    flat = calibration.flats[0]
    flat = replace(flat, counter_bits=1, total=np.full(SHAPE, round(mean * flat.images)))
    lags = np.array([1, 2, 3])
    p = mean * (1 - a) / (1 - a * mean)
    expected = (a * (1 - p)) ** lags - 1 / flat.images
    found = figures._expected_memory(replace(calibration, sensor=binary, flats=(flat,)), lags)
    assert found == pytest.approx(expected, rel=2e-2)


@pytest.mark.parametrize("draw", [figures.map_panels, figures.dark_curve, figures.kernel])
@pytest.mark.parametrize("shape", [(20, 14), (14, 20), (1, 64), (5, 3)])
def test_any_shape_can_be_drawn(
    calibration: Calibration, draw: Callable[[Calibration], Any], shape: tuple[int, int]
) -> None:
    maps = {name: torch.ones(shape) for name in ("pde", "dark_count_rate")}
    sensor = replace(calibration.sensor, **maps, pixel_mask=None)  # type: ignore[arg-type]
    ones = np.ones(shape)
    even = replace(calibration, sensor=sensor, dark_low=ones, dark_high=ones, pde_low=ones, pde_high=ones)
    assert np.std(pixels(png(draw(even)))) > 0
