"""The simulated camera: its counts are those of the noise model, its clock and its losses as asked for."""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardware.camera import Block, Camera, CameraError
from hardware.cameras import simulated
from hardware.cameras.registry import open_camera
from hardware.cameras.simulated import moving_scene
from hardware.settings import Settings
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor


def taken(camera: Camera, settings: Settings, blocks: int) -> list[Block]:
    with camera:
        camera.configure(settings)
        return list(itertools.islice(camera.blocks(), blocks))


def counts(address: str, settings: Settings, blocks: int) -> np.ndarray[Any, Any]:
    return np.concatenate([block.counts for block in taken(open_camera(address), settings, blocks)]).astype(float)


def test_counts_of_even_light_have_the_law_of_the_noise_model() -> None:
    settings = Settings(1e-5, cycles=4, counter_bits=6, frame_time=2e-4)
    camera = counts("simulated:spc3,flux=300000,even=1,seed=5", settings, 40)
    sensor, exposure = Sensor.load("spc3"), Exposure(1e-5, 4)
    rate = torch.full((len(camera), *sensor.shape), 3e5)
    drawn = ForwardModel(sensor, exposure).sample(rate, torch.Generator().manual_seed(99)).numpy().astype(float)
    pixels, images = math.prod(sensor.shape), len(camera)
    error = np.sqrt((camera.var(0) + drawn.var(0)) / images)
    chi2 = (((camera.mean(0) - drawn.mean(0)) / error) ** 2).sum()
    assert abs(chi2 - pixels) < 5 * math.sqrt(2 * pixels)
    assert camera.var(0).mean() == pytest.approx(drawn.var(0).mean(), rel=5 * math.sqrt(4 / (images * pixels)))


def test_the_dark_counts_only_dark_counts() -> None:
    settings = Settings(1e-3, cycles=1, counter_bits=9, frame_time=1e-3)
    dark = counts("simulated:spc3,flux=0,even=1", settings, 30).mean()
    sensor = Sensor.load("spc3")
    expected = float((sensor.dark_count_rate * 1e-3).mean())
    assert dark == pytest.approx(expected, rel=0.1)  # afterpulsing, crosstalk and a few hot pixels


def test_a_binary_sensor_stays_binary() -> None:
    with open_camera("simulated:spad512") as camera:
        applied = camera.configure(Settings(1e-5, cycles=3, counter_bits=8, dead_time=50e-9, frame_time=0.5))
        assert (applied.counter_bits, applied.dead_time, applied.saturation_value) == (1, 0, 3)
        block = next(iter(camera.blocks()))
        assert block.counts.shape[1:] == (512, 512)
        assert block.counts.max() <= 3


def test_a_calibrated_sensor_file(tmp_path: Path) -> None:
    mask = torch.zeros(6, 5, dtype=torch.int32)
    mask[1, 2] = 2
    small = Sensor("mine", torch.full((6, 5), 0.4), torch.full((6, 5), 90.0), 0.0, 1, pixel_mask=mask)
    small.save(tmp_path / "mine.yaml")
    with open_camera(f"simulated:{tmp_path / 'mine.yaml'}") as camera:
        assert camera.shape == (6, 5)
        assert camera.pixel_mask is not None
        assert camera.pixel_mask[1, 2] == 2
        camera.configure(Settings(1e-5))
        assert camera.identity()["description"] == "simulated: mine"


def test_images_come_as_fast_as_the_period_says() -> None:
    settings = Settings(1e-6, counter_bits=8, frame_time=1e-5)  # 100,000 images/s
    blocks = taken(open_camera("simulated:spc3"), settings, 30)
    images = sum(len(block.counts) for block in blocks[1:])
    # Never early; how late depends on what else runs here.
    assert 0.9e-5 * images <= blocks[-1].host_time - blocks[0].host_time < 3e-5 * images
    assert blocks[-1].stop == 30 * len(blocks[0].counts)


@pytest.mark.parametrize(("period", "told"), [(1e-5, "repeated"), (2e-2, "when it is due")])
def test_it_says_whether_images_are_repeated(period: float, told: str) -> None:
    with open_camera("simulated:spc3") as camera:
        camera.configure(Settings(5e-6, counter_bits=8, frame_time=period))
        assert told in camera.identity()["images"]


def test_a_sum_of_images_does_not_repeat_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images drawn ahead are many, however few there are in a block: here ten."""
    monkeypatch.setattr(simulated.time, "monotonic", iter([0.0, 1.0, *np.linspace(1, 2, 1000)]).__next__)  # slow
    with open_camera("simulated:spc3") as camera:
        camera.configure(Settings(5e-6, counter_bits=8, frame_time=1e-3))
        assert camera.identity()["images"] == "4090 images, drawn before the start and repeated"


@pytest.mark.parametrize(("loss", "tolerance"), [(0.2, 0.06), (0.02, 0.03)])  # five standard deviations
def test_a_share_of_images_is_lost(loss: float, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "MEMORY_TIME", 100.0)  # none is lost for what else runs here
    settings = Settings(1e-6, counter_bits=8, frame_time=1e-5)
    blocks = taken(open_camera(f"simulated:spc3,loss={loss},seed=2"), settings, 60)
    share = sum(block.lost for block in blocks) / blocks[-1].stop
    assert share == pytest.approx(loss, abs=tolerance)
    assert share > 0


def test_a_receiver_that_is_late_loses_images() -> None:
    with open_camera("simulated:spc3") as camera:
        camera.configure(Settings(1e-6, counter_bits=8, frame_time=1e-4))
        blocks = camera.blocks()
        next(blocks)
        time.sleep(1.6)
        late = [next(blocks) for _ in range(3)]
    lost = sum(block.lost for block in late)
    assert lost > 10_000
    assert late[-1].first == 100 + 200 + lost


def test_the_scene_drifts_and_comes_round() -> None:
    rates = moving_scene((64, 32), 2e4, 8.0, even=False, seed=1)
    start, moved, around = rates(np.array([0.0, 0.5, 4.0]))
    np.testing.assert_allclose(moved, np.roll(start, -4, axis=1), rtol=1e-6)  # 0.5 s of 8 pixels/s
    np.testing.assert_array_equal(around, start)
    assert start.mean() == pytest.approx(2e4, rel=1e-3)
    assert start.max() / start.min() > 10


def test_settings_no_camera_has() -> None:
    with open_camera("simulated") as camera, pytest.raises(CameraError, match="cannot apply"):
        camera.configure(Settings(1e-5, cycles=65535))
