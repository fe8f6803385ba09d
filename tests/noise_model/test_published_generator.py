"""What the published generator gets wrong, each shown beside the noise model: why no data of it are used."""

import math

import numpy as np
import pytest
import torch
from laws_by_hand import CROSS, SIGMAS, binary, counting, rates, seeded
from published_generator import DARK_SUBFRAMES, SUBFRAME, sample, stretched

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure

PERFECT = {"afterpulsing": 0.0, "crosstalk": 0.0, "dark_counts": 0.0}


def flat(photons: float, shape: tuple[int, int] = (20, 20)) -> np.ndarray:
    return np.full(shape, photons)


@pytest.mark.parametrize(("photons", "too_dark"), [(0.2, 0.048), (0.4, 0.091), (0.8, 0.165)])
def test_its_white_is_too_dark(photons: float, too_dark: float) -> None:
    """By 5, 9 and 17 %: photons that pile up in a sub-frame are thrown away before half of them are not detected."""
    frames, exposure = 1000, Exposure(SUBFRAME, 1000)
    theirs = sample(flat(photons), frames, np.random.default_rng(0), **PERFECT)
    ours = ForwardModel(binary(), exposure).sample(rates(0.5 * photons, exposure), seeded()).double().mean().item()
    error = theirs.std() / math.sqrt(theirs.size) / ours
    assert abs(1 - theirs.mean() / ours - too_dark) < SIGMAS * error < too_dark / 2


def test_its_dark_counts_have_almost_no_shot_noise() -> None:
    """Fano factor frames / 60,000 where counts have 1."""
    frames, mean = 150, 3.0
    dark = sample(
        flat(0, (60, 60)), frames, np.random.default_rng(1), **PERFECT | {"dark_counts": mean * DARK_SUBFRAMES / frames}
    )
    assert dark.mean() == pytest.approx(mean, abs=SIGMAS * math.sqrt(mean * frames / DARK_SUBFRAMES / dark.size))
    assert dark.var() / dark.mean() == pytest.approx(frames / DARK_SUBFRAMES, rel=SIGMAS * math.sqrt(2 / dark.size))
    assert (dark % 1 != 0).mean() > 0.9  # fractions of a count


def test_its_afterpulses_come_within_the_dead_time() -> None:
    """Two counts in a sub-frame of 20 ns, from one photon."""
    counts = sample(flat(20.0, (60, 60)), 1, np.random.default_rng(2), **PERFECT | {"afterpulsing": 0.1})
    assert counts.max() >= 2
    exposure = Exposure(SUBFRAME)
    ours = counting(afterpulse_probability=0.1, trap_lifetime=100e-9)
    assert ForwardModel(ours, exposure).sample(rates(10.0, exposure), seeded()).max() == 1


def test_its_crosstalk_does_not_know_the_neighbours() -> None:
    """A dark pixel counts as many among bright neighbours as in the dark."""
    c, cycles, trials = 0.02, 100, 300
    surrounded = flat(1e9, (3, 3))
    surrounded[1, 1] = 0
    rng = np.random.default_rng(3)
    settings = PERFECT | {"crosstalk": c}
    bright = [sample(surrounded, cycles, rng, **settings)[1, 1] for _ in range(trials)]
    dark = sample(flat(0, (1, trials)), cycles, rng, **settings)
    error = math.sqrt(2 * c * (1 - c) * cycles / trials)
    assert abs(np.mean(bright) - dark.mean()) < SIGMAS * error < c * cycles / 3
    exposure, sensor = Exposure(SUBFRAME, cycles), binary((3, 3), crosstalk=c * CROSS)
    light = torch.from_numpy(np.where(surrounded > 0, 14 / SUBFRAME, 0)).float().expand(trials, 3, 3)
    ours = ForwardModel(sensor, exposure).sample(light, seeded())[:, 1, 1].double()
    assert ours.mean().item() > 3 * np.mean(bright)


def test_its_pixels_know_no_dead_time() -> None:
    """In 20 us a pixel that is blind for 50 ns after each avalanche counts 400 at the most."""
    exposure = Exposure(1000 * SUBFRAME)
    assert sample(flat(20.0, (4, 4)), 1000, np.random.default_rng(4), **PERFECT).min() > 430
    assert ForwardModel(counting(), exposure).sample(rates(1e5, exposure), seeded()).max() <= 400


def test_its_images_do_not_tell_bright_from_dim() -> None:
    scene = np.linspace(0, 0.2, 64).reshape(8, 8)
    dim, bright = (sample(level * scene, 400, np.random.default_rng(5), **PERFECT) for level in (1, 3))
    assert bright.mean() > 2 * dim.mean()
    assert stretched(bright).max() == stretched(dim).max() == 1
    assert stretched(bright).mean() == pytest.approx(stretched(dim).mean(), rel=0.15)
