"""The places of a moving array as a network sees them: closed forms, and what they are when nothing moved."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import PLACES, USER, Exposure, Sensor
from spadsr.networks.measurement import Measurement, measure
from spadsr.networks.phases import PHASES

SIDE = 6


def places(images: Tensor) -> Tensor:
    """(..., 4 H, 4 W) -> (..., 4 4, H, W), written out."""
    return torch.stack([images[..., i::PLACES, j::PLACES] for i in range(PLACES) for j in range(PLACES)], dim=-3)


def capture(bits: int, dead_time: float = 0.0, seed: int = 0, most: int = 9) -> tuple[Tensor, ForwardModel]:
    """Counts and frames on the grid of places: from 0 to `most` frames in each."""
    generator = torch.Generator().manual_seed(seed)
    cycles = torch.randint(0, most + 1, (PLACES * SIDE, PLACES * SIDE), generator=generator)
    counts = (cycles * torch.rand(2, *cycles.shape, generator=generator)).round().long()
    sensor = Sensor("ideal", torch.ones(SIDE, SIDE), torch.zeros(SIDE, SIDE), dead_time, bits)
    return counts, ForwardModel(sensor, Exposure(1e-5, cycles))


def phases_of(measurement: Measurement) -> tuple[Tensor, Tensor]:
    assert measurement.phases is not None
    shares, rates = measurement.phases.split(PHASES // 2, dim=1)
    return shares, rates


def test_rates_and_shares_of_places_without_dead_time() -> None:
    """r = k / (N T): the channels are 16 N_p / N and 16 (N_p / N) (r_p - r), over the mean rate."""
    counts, model = capture(bits=9, most=40)
    assert model.exposure.map is not None
    measurement = measure(counts, model)
    k, n = places(counts).double(), places(model.exposure.map).double()
    share = n / n.sum(dim=0)
    rate = (k.sum(dim=1) / n.sum(dim=0))[:, None] / 1e-5
    of_place = k / n.clamp(min=1) / 1e-5
    shares, rates = phases_of(measurement)
    torch.testing.assert_close(shares, (16 * share).expand(shares.shape).float().clamp(max=8))
    expected = 16 * share * (of_place - rate) / measurement.scale
    torch.testing.assert_close(rates, expected.float().clamp(-8, 8), atol=2e-4, rtol=1e-4)
    assert rates.sum(dim=1).abs().max() < 1e-3


@pytest.mark.parametrize("bits", [1, 9])
def test_the_rest_of_the_input_is_that_of_the_sums(bits: int) -> None:
    counts, model = capture(bits, dead_time=0.0 if bits == 1 else 1e-6)
    assert model.exposure.map is not None
    cycles = places(model.exposure.map).sum(dim=0)
    whole = measure(places(counts).sum(dim=1), replace(model, exposure=replace(model.exposure, cycles=cycles)))
    fine = measure(counts, model)
    for name, value in vars(whole).items():
        if name != "phases":
            torch.testing.assert_close(getattr(fine, name), value)
    assert whole.phases is None


def test_places_of_equal_counts_say_nothing_of_their_rates() -> None:
    """A binary array, 8 frames and 2 counts in each place: N = 128, k = 32."""
    _, model = capture(bits=1)
    cycles = torch.full((PLACES * SIDE, PLACES * SIDE), 8)
    shares, rates = phases_of(
        measure(torch.full((1, *cycles.shape), 2), replace(model, exposure=Exposure(1e-5, cycles)))
    )
    assert shares.eq(1).all()
    assert rates.abs().max() < 1e-5


def test_one_more_count_in_a_place_of_a_binary_array() -> None:
    """The slope of r = -log(1 - k / N) / T is 1 / (N T (1 - k / N)); to first order in a quarter of a count."""
    _, model = capture(bits=1)
    cycles = torch.full((PLACES * SIDE, PLACES * SIDE), 64)
    counts = torch.full((1, *cycles.shape), 16)
    counts[0, 5, 6] += 8  # pixel (1, 1), place (1, 2)
    measurement = measure(counts, replace(model, exposure=Exposure(1e-5, cycles)))
    _, rates = phases_of(measurement)
    k, n = 16 * 16 + 8, 16 * 64
    expected = 16 * (24 - k / 16) / (n * 1e-5 * (1 - k / n)) / measurement.scale[0, 0, 1, 1]
    assert float(rates[0, 6, 1, 1]) == pytest.approx(float(expected), rel=1e-4)
    assert rates[0, :, 0, 0].abs().max() < 1e-5


def test_bad_pixels_have_no_places() -> None:
    counts, model = capture(bits=1)
    assert model.exposure.map is not None
    mask = torch.zeros(SIDE, SIDE, dtype=torch.int32)
    mask[2, 3] = USER
    cycles = model.exposure.map.clone()
    cycles[4:8, 8:12] = 0  # pixel (1, 2) never looked
    counts = counts.masked_fill(cycles == 0, 0)
    masked = ForwardModel(replace(model.sensor, pixel_mask=mask), Exposure(1e-5, cycles))
    phases = measure(counts, masked).phases
    assert phases is not None
    assert phases[:, :, 2, 3].eq(0).all()
    assert phases[:, :, 1, 2].eq(0).all()
    assert phases.isfinite().all()
    assert phases[:, :, 4, 4].abs().sum() > 0


def test_places_without_their_frames() -> None:
    counts, model = capture(bits=1)
    with pytest.raises(InputError, match="need the frames of each place"):
        measure(counts, replace(model, exposure=Exposure(1e-5, 64)))


def test_channels_are_images_of_places() -> None:
    """So that they turn as the image does: pixel_shuffle makes two images (4 H, 4 W) of them."""
    counts, model = capture(bits=9)
    assert model.exposure.map is not None
    phases = measure(counts, model).phases
    assert phases is not None
    shares = F.pixel_shuffle(phases, PLACES)[:, 0]
    whole = F.avg_pool2d(model.exposure.map[None].float(), PLACES, divisor_override=1).clamp(min=1)
    expected = 16 * model.exposure.map / F.interpolate(whole[None], scale_factor=4.0)[0, 0]
    torch.testing.assert_close(shares, expected.expand(shares.shape).clamp(max=8))
