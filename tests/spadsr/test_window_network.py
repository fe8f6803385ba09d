"""The plain window-attention network: sizes, where it starts, what sees what, and that our training runs on it."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from small_network import at_random, measured
from torch.utils.flop_counter import FlopCounterMode

from noise_model.errors import InputError
from spadsr.networks.measurement import Measurement
from spadsr.networks.window_attention import (
    LIGHT,
    PUBLISHED,
    AttentionLayer,
    WindowAttentionConfig,
    WindowAttentionNetwork,
    wrapped_apart,
)

SMALL = WindowAttentionConfig(width=12, groups=2, layers=2, heads=3, window=4)
TAILED = SMALL.model_copy(update={"tail": 8})
SCALES = (4, 2, 1)


def random_network(config: WindowAttentionConfig) -> WindowAttentionNetwork:
    return at_random(WindowAttentionNetwork, config)


def random_layer(config: WindowAttentionConfig, *, shifted: bool) -> AttentionLayer:
    torch.manual_seed(0)
    layer = AttentionLayer(config, shifted=shifted).eval()
    torch.nn.init.normal_(layer.position)
    return layer


@pytest.mark.parametrize(("config", "millions", "gmac"), [(PUBLISHED, 11.9, 26.8), (LIGHT, 0.924, 2.17)])
def test_the_sizes(config: WindowAttentionConfig, millions: float, gmac: float) -> None:
    """Of the large one 11.7 M parameters and 28.0 GMAC are quoted, of the kind it is one of 11.9 M. By hand, with C
    channels, L layers and 2048 pixels: 8 C^2 L a pixel in matrices, 128 C L in attention, the rest in convolutions."""
    network = WindowAttentionNetwork(config).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(measured(64, 32), (4,))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, rel=0.01)


@pytest.mark.parametrize("config", [SMALL, TAILED], ids=["direct", "tail"])
@pytest.mark.parametrize("size", [(64, 32), (13, 21), (4, 4), (1, 1), (3, 70)])
def test_every_scale_at_every_size(config: WindowAttentionConfig, size: tuple[int, int]) -> None:
    answers = random_network(config)(measured(*size, batch=2), SCALES)
    for scale, answer in zip(SCALES, answers, strict=True):
        for part in answer:
            assert part.shape == (2, 1, scale * size[0], scale * size[1])
            assert part.dtype == torch.float32
            assert part.isfinite().all()
    for scale, (rate, log_variance) in zip(SCALES, answers, strict=True):
        torch.testing.assert_close(rate, F.avg_pool2d(answers[0][0], 4 // scale))
        torch.testing.assert_close(log_variance, F.avg_pool2d(answers[0][1], 4 // scale))


def test_other_scales_are_refused() -> None:
    with pytest.raises(InputError, match="scale 8"):
        random_network(SMALL)(measured(8, 8), (8, 4))


@pytest.mark.parametrize("config", [SMALL, TAILED], ids=["direct", "tail"])
def test_the_gradient_reaches_every_parameter(config: WindowAttentionConfig) -> None:
    network = random_network(config)
    answers = network(measured(16, 16), SCALES)
    sum(part.square().sum() for answer in answers for part in answer).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("config", [SMALL, TAILED], ids=["direct", "tail"])
def test_training_starts_from_half_the_interpolated_measurement(config: WindowAttentionConfig) -> None:
    measurement = measured(12, 20)
    [(rate, log_variance)] = WindowAttentionNetwork(config)(measurement, (4,))
    start = F.interpolate(measurement.rate / 2, scale_factor=4.0, mode="bicubic", align_corners=False)
    torch.testing.assert_close(rate, start)
    torch.testing.assert_close(F.avg_pool2d(log_variance, 4), measurement.log_variance)


def test_images_of_a_batch_do_not_mix() -> None:
    network, both = random_network(SMALL), measured(9, 13, batch=2)
    rate = network(both, (4,))[0][0]
    for at in range(2):
        alone = Measurement(**{name: part[at : at + 1] for name, part in vars(both).items() if part is not None})
        torch.testing.assert_close(network(alone, (4,))[0][0], rate[at : at + 1], atol=1e-5, rtol=1e-5)


def test_one_window_is_plain_attention() -> None:
    """Softmax of the scaled products and the position's bias, head by head, written out."""
    layer, pixels = random_layer(SMALL, shifted=False), torch.randn(2, 4, 4, 12)
    q, k, v = layer.qkv(pixels).reshape(2, 16, 3, 3, 4).permute(2, 0, 3, 1, 4)
    place = [(row, column) for row in range(4) for column in range(4)]
    bias = torch.tensor(
        [[[h[(a - c + 3) * 7 + (b - d + 3)] for c, d in place] for a, b in place] for h in layer.position.tolist()]
    )
    weights = torch.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / 2 + bias, dim=-1)
    plain = layer.out(torch.einsum("bhij,bhjd->bihd", weights, v).reshape(2, 4, 4, 12))
    apart = wrapped_apart(4, 4, 4, pixels.device)
    torch.testing.assert_close(layer._attention(pixels, apart), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_pixel_sees_its_window_only(shifted: bool) -> None:
    """The windows are cut at the edges of the image: what lies at the opposite edge is no neighbour."""
    layer, (height, width), shift = random_layer(SMALL, shifted=shifted), (8, 12), 2 * shifted
    pixels = torch.randn(1, height, width, 12)
    apart = wrapped_apart(height, width, 4, pixels.device)
    before = layer(pixels, apart)
    rows, columns = ((torch.arange(side) + shift) // 4 for side in (height, width))
    for row, column in [(0, 0), (7, 11), (0, 11), (3, 5), (1, 6)]:
        changed = pixels.clone()
        changed[0, row, column] += torch.randn(12)
        touched = (layer(changed, apart) - before)[0].abs().amax(dim=-1) > 1e-7
        window = (rows == rows[row])[:, None] & (columns == columns[column])
        assert torch.equal(touched, window), (row, column)


def test_sizes_that_cannot_be() -> None:
    for wrong in ({"width": 0}, {"heads": 7}, {"window": 1}, {"kind": "multi_resolution"}):
        with pytest.raises(ValidationError):
            WindowAttentionConfig(**wrong)
