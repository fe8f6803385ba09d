"""Frames of each pixel: a map of one number is that number, and pixels of different numbers are as if alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from noise_model.errors import InputError
from noise_model.forward_model import ForwardModel
from noise_model.sensor import HOT, Exposure, Sensor

SECONDS, SHAPE = 10e-6, (12, 10)
KERNEL = torch.tensor([[1e-3, 6e-3, 1e-3], [6e-3, 0.0, 6e-3], [1e-3, 6e-3, 1e-3]])
KINDS = {"binary": (1, 0.0), "counting": (9, 1e-6), "counting without dead time": (6, 0.0)}


def sensor(kind: str, crosstalk: Tensor = KERNEL) -> Sensor:
    bits, dead_time = KINDS[kind]
    generator = torch.Generator().manual_seed(1)
    pde = 0.5 + 0.02 * torch.randn(SHAPE, generator=generator)
    dark = 300 * torch.rand(SHAPE, generator=generator)
    return Sensor(kind, pde, dark, dead_time, bits, 0.01, 2 * dead_time, crosstalk=crosstalk)


def model(kind: str, cycles: int | Tensor, **changes: Tensor) -> ForwardModel:
    return ForwardModel(replace(sensor(kind), **changes), Exposure(SECONDS, cycles))  # type: ignore[arg-type]


def rates(images: int = 3) -> Tensor:
    x = torch.linspace(0.05, 0.8, SHAPE[0])[:, None].expand(images, *SHAPE)
    return x / SECONDS


def halves(low: int, high: int) -> Tensor:
    return torch.cat([torch.full((6, 10), low), torch.full((6, 10), high)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cycles", [1, 100])
def test_a_map_of_one_number_is_that_number(kind: str, cycles: int) -> None:
    one, same = model(kind, cycles), model(kind, torch.full(SHAPE, cycles))
    torch.testing.assert_close(same.expected_counts(rates()), one.expected_counts(rates()), rtol=1e-6, atol=0)
    counts = one.sample(rates(), torch.Generator().manual_seed(0))
    assert same.sample(rates(), torch.Generator().manual_seed(0)).equal(counts)
    for mapped, plain in zip(same.detection_rate(counts), one.detection_rate(counts), strict=True):
        torch.testing.assert_close(mapped, plain, rtol=1e-6, atol=1e-3)  # of 1e4 counts/s and more
    for mapped, plain in zip(same.moments(rates()), one.moments(rates()), strict=True):
        np.testing.assert_allclose(mapped, plain, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_each_half_is_as_if_alone(kind: str) -> None:
    both = model(kind, halves(12, 300))
    counts = both.sample(rates(), torch.Generator().manual_seed(0))
    for part, cycles in ((slice(0, 5), 12), (slice(7, 12), 300)):  # the rows between see neighbours of the other half
        alone = model(kind, cycles)
        expected, inverse = alone.expected_counts(rates()), alone.detection_rate(counts)
        torch.testing.assert_close(both.expected_counts(rates())[:, part], expected[:, part], rtol=1e-6, atol=0)
        for mapped, plain in zip(both.detection_rate(counts), inverse, strict=True):
            torch.testing.assert_close(mapped[:, part], plain[:, part], rtol=2e-5, atol=1.0)
        for mapped, plain, bound in zip(both.moments(rates()), alone.moments(rates()), (1e-4, 0.02, 0.05), strict=True):
            np.testing.assert_allclose(mapped[:, part], plain[:, part], rtol=bound)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments(kind: str) -> None:
    """Means and variances of every pixel within five standard errors, of all together within four."""
    cycles = torch.randint(0, 40, SHAPE, generator=torch.Generator().manual_seed(3))
    mapped, images = model(kind, cycles), 4000
    assert 0 in cycles
    counts = mapped.sample(rates(1).expand(images, *SHAPE), torch.Generator().manual_seed(0)).double().numpy()
    mean, variance, fourth = (moment[0] for moment in mapped.moments(rates(1)))
    np.testing.assert_allclose(mapped.expected_counts(rates(1))[0].numpy(), mean, rtol=2e-3, atol=1e-9)
    looked = cycles.numpy() > 0
    assert (counts[:, ~looked] == 0).all()
    assert (mean[~looked] == 0).all()
    off = (counts.mean(axis=0) - mean)[looked] / np.sqrt(variance[looked] / images)
    spread = np.sqrt(np.maximum(fourth - variance**2, 1e-12)[looked] / images)
    wide = (counts.var(axis=0) - variance)[looked] / spread
    for deviation in (off, wide):
        assert np.abs(deviation).max() < 5
        assert abs(deviation.mean()) * np.sqrt(deviation.size) < 4


@given(seed=st.integers(0, 1000), most=st.integers(1, 3000), bright=st.floats(1e-3, 30))
@settings(max_examples=20, deadline=None)
def test_counts_are_never_above_the_frames_of_their_pixel(seed: int, most: int, bright: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    cycles = torch.randint(0, most + 1, SHAPE, generator=generator)
    counts = model("binary", cycles).sample(torch.full((2, *SHAPE), bright / SECONDS), generator)
    assert counts.dtype == torch.int32
    assert ((counts >= 0) & (counts <= cycles)).all()
    assert (counts <= sensor("binary").saturation_value(cycles)).all()


def test_the_inverse_is_right_on_average_whatever_the_frames() -> None:
    cycles = torch.randint(100, 600, SHAPE, generator=torch.Generator().manual_seed(3))
    mapped = model("binary", cycles)
    counts = mapped.sample(rates(1).expand(3000, *SHAPE), torch.Generator().manual_seed(0))
    rate, sd = mapped.detection_rate(counts)
    off = (rate.mean(dim=0) / rates(1)[0] - 1).numpy()
    assert np.abs(off).mean() < 0.01
    pulls = ((rate - rates(1)) / sd).std(dim=0)[4:]  # of a few counts in all, no standard deviation is known well
    assert 0.8 < pulls.min() <= pulls.max() < 1.2


def test_a_pixel_that_never_looked_is_not_good() -> None:
    cycles = halves(4, 8)
    cycles[2, 3] = 0
    mask = torch.zeros(SHAPE, dtype=torch.int32)
    mask[8, 1] = HOT
    mapped = model("binary", cycles, pixel_mask=mask)
    assert (~mapped.good).nonzero().tolist() == [[2, 3], [8, 1]]
    rate, sd = mapped.detection_rate(torch.zeros(1, *SHAPE))
    assert rate.isfinite().all()
    assert sd.isfinite().all()
    assert (mapped.exposure.least_cycles, mapped.exposure.most_cycles) == (4, 8)
    assert (mapped.exposure.frames, Exposure(1e-5, torch.tensor([[4, 0], [4, 4]])).frames) == ("4 to 8", "4")


def test_nothing_looked() -> None:
    blind = model("binary", torch.zeros(SHAPE, dtype=torch.int64))
    assert not blind.good.any()
    assert (blind.exposure.least_cycles, blind.exposure.most_cycles) == (0, 0)
    assert (blind.sample(rates(), torch.Generator().manual_seed(0)) == 0).all()
    for moment in blind.moments(rates()):
        assert (moment == 0).all()


def test_a_map_has_no_law_of_its_own() -> None:
    with pytest.raises(InputError, match="cycles is a map; expected one number for all pixels"):
        model("binary", halves(4, 8)).law()
