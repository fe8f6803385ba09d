"""What a published generator of such data gets wrong, shown to be right here: each by a moment that the mistake would
shift by far more than the 4.5 standard errors allowed."""

import math

import pytest
import torch
from laws_by_hand import CROSS, SIGMAS, binary, check_moments, counting, rates, seeded

from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor

FRAME = 20e-9  # s, a binary frame


@pytest.mark.parametrize(("photons", "too_dark"), [(0.2, 0.05), (0.4, 0.09), (0.8, 0.17)])
def test_photons_are_lost_before_they_can_pile_up(photons: float, too_dark: float) -> None:
    """PDE after the draw of the bit would make white 5, 9 and 17 % too dark."""
    exposure = Exposure(FRAME, 256)
    counts = ForwardModel(binary(), exposure).sample(rates(0.5 * photons, exposure), seeded()).double()
    right, wrong = -math.expm1(-0.5 * photons), -0.5 * math.expm1(-photons)
    assert 1 - wrong / right == pytest.approx(too_dark, abs=0.006)
    error = counts.std().item() / math.sqrt(counts.numel())
    assert abs(counts.mean().item() - 256 * right) < SIGMAS * error < 256 * (right - wrong) / 10


@pytest.mark.parametrize("sensor", [binary, counting])
@pytest.mark.parametrize("mean", [0.3, 4.0])
def test_dark_counts_have_shot_noise(sensor: type, mean: float) -> None:
    """Fano factor 1; 0.0 for a fraction that is added to every image."""
    exposure = Exposure(1e-6, 1000)
    dark = torch.full((400, 500), mean / (1000 * exposure.count_time))
    counts = ForwardModel(sensor(dark_count_rate=dark), exposure).sample(torch.zeros(400, 500), seeded())
    check_moments(counts.numpy(), mean, mean, slack=0.01)


def test_no_afterpulse_comes_without_an_avalanche_before() -> None:
    exposure = Exposure(FRAME, 1000)
    assert ForwardModel(binary(afterpulse_probability=0.5), exposure).sample(torch.zeros(400, 500), seeded()).max() == 0


@pytest.mark.parametrize("x", [2.0, 40.0])
def test_no_afterpulse_comes_within_the_dead_time(x: float) -> None:
    """Traps that empty in a twentieth of the dead time change nothing, though every second avalanche fills one."""
    exposure = Exposure(875e-9)
    quick = counting(afterpulse_probability=0.5, trap_lifetime=2.5e-9)
    counts = ForwardModel(quick, exposure).sample(rates(x, exposure), seeded()).double()
    without = ForwardModel(counting(), exposure).sample(rates(x, exposure), seeded(1)).double()
    assert counts.max() <= 18
    assert counts.mean().item() == pytest.approx(without.mean().item(), abs=SIGMAS * without.std().item() / 300)


@pytest.mark.parametrize("cycles", [1, 100])
def test_an_avalanche_needs_an_armed_pixel(cycles: int) -> None:
    """However many neighbours and traps there are, a binary pixel counts no more than its frames."""
    sensor = binary((20, 20), afterpulse_probability=0.5, crosstalk=0.1 * CROSS)
    exposure = Exposure(FRAME, cycles)
    assert ForwardModel(sensor, exposure).sample(rates(3.0, exposure, (500, 20, 20)), seeded()).max() <= cycles


@pytest.mark.parametrize("bright", [1, 2, 4])
@pytest.mark.parametrize("x", [0.1, 0.5])
def test_crosstalk_grows_with_the_neighbours_that_fire(bright: int, x: float) -> None:
    """A dark pixel between `bright` lit ones counts c times all their counts, as a Poisson number."""
    c, cycles, trials = 0.003, 100, 100_000
    exposure, sensor = Exposure(FRAME, cycles), binary((3, 3), crosstalk=c * CROSS)
    rate = torch.zeros(trials, 3, 3)
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 1))[:bright]:
        rate[:, row, column] = x / FRAME
    counts = ForwardModel(sensor, exposure).sample(rate, seeded())[:, 1, 1].numpy()
    p = -math.expm1(-x)
    mean = bright * c * cycles * p
    check_moments(counts, mean, mean + bright * c**2 * cycles * p * (1 - p))


@pytest.mark.parametrize("sensor", [binary((8, 8)), counting((8, 8))], ids=["binary", "counting"])
def test_a_frame_is_not_normalised(sensor: Sensor) -> None:
    """Twice the light gives twice the counts; a dark image stays dark, whatever else is in the batch."""
    exposure = Exposure(1e-6, 64)
    flux = torch.tensor([0.0, 0.01, 0.02, 0.2])[:, None, None, None].expand(4, 2000, 8, 8) / exposure.count_time
    counts = ForwardModel(sensor, exposure).sample(flux, seeded()).double()
    means = counts.mean(dim=(1, 2, 3))
    assert means[0] == 0
    assert (means[2] / means[1]).item() == pytest.approx(2, rel=0.02)
    dimmed = flux.clone()
    dimmed[3] = 0
    assert torch.equal(ForwardModel(sensor, exposure).sample(dimmed, seeded())[:3].double(), counts[:3])


def test_dead_time_narrows_the_counts() -> None:
    """Fano factor 1 / (1 + load)^2, a tenth at a load of 2.16, and a ceiling."""
    exposure = Exposure(10.4e-6)
    counts = ForwardModel(counting(), exposure).sample(rates(450.0, exposure), seeded()).double()
    assert counts.max() <= 208
    assert (counts.var() / counts.mean()).item() == pytest.approx((1 + 450 / 208) ** -2, rel=0.03)


@pytest.mark.parametrize("sensor", [binary, counting])
def test_pixels_differ_as_their_pde_does(sensor: type) -> None:
    """A map of 4 % spread comes back from 20,000 images of 64 frames, 0.4 % each: correlation above 0.99."""
    pde = 0.5 * (1 + 0.04 * torch.randn(16, 16, generator=seeded(7)))
    exposure = Exposure(1e-6, 64)
    counts = ForwardModel(sensor((16, 16), pde=pde), exposure).sample(rates(0.05, exposure, (20_000, 16, 16)), seeded())
    pattern = counts.double().mean(dim=0)
    assert torch.corrcoef(torch.stack([pattern.flatten(), pde.double().flatten()]))[0, 1] > 0.99
    assert (pattern.std() / pattern.mean()).item() == pytest.approx((pde.std() / pde.mean()).item(), rel=0.1)
