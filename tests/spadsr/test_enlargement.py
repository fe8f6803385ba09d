"""The enlargement of answers: interpolation without ringing, and a limit to the uncertainty."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small_network import SMALL, measured

from spadsr.networks.enlargement import limited_bicubic
from spadsr.networks.measurement import SCALES
from spadsr.networks.multi_resolution import MultiResolutionTransformer


def test_interpolation_is_bicubic_where_a_picture_is_smooth() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    slope = (0.3 * rows + 0.7 * columns + 1)[None, None]
    bicubic = F.interpolate(slope, size=(48, 80), mode="bicubic", align_corners=False)
    inner = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(limited_bicubic(slope, torch.Size((48, 80)))[inner], bicubic[inner])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([2, 4]), st.integers(0, 1000))
def test_interpolation_stays_within_the_pixels_around(height: int, width: int, factor: int, seed: int) -> None:
    """Of the 3x3 around each, however much one outshines the others: nothing negative, nothing brighter."""
    image = torch.randn((1, 1, height, width), generator=torch.Generator().manual_seed(seed)).mul(3).exp()
    larger = limited_bicubic(image, torch.Size((factor * height, factor * width)))[0, 0]
    for row, column in np.ndindex(larger.shape):
        r, c = row // factor, column // factor
        around = image[0, 0, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
        assert around.min() <= larger[row, column] <= around.max()


@given(st.floats(-30, 30), st.integers(0, 1000))
def test_no_answer_is_less_certain_than_rates_can_vary(bias: float, seed: int) -> None:
    """Whatever the spread: at most twice the sum of the answer and what surrounds it; below that it is left alone."""
    network, measurement = MultiResolutionTransformer(SMALL), measured(6, 9, seed=seed)
    assert network.native.bias is not None
    torch.nn.init.constant_(network.native.bias[2], bias)
    for rate, log_variance in network(measurement, SCALES):
        size = rate.shape[-2:]
        around, spread = (
            F.interpolate(part, size=size, mode="bilinear", align_corners=False)
            for part in (measurement.amplitude, measurement.log_variance + bias)
        )
        most = 2 * torch.log(2 * (rate.abs() + around))
        assert (log_variance <= most + 1e-5).all()
        if size == measurement.rate.shape[-2:]:
            torch.testing.assert_close(log_variance, torch.minimum(spread, most))
