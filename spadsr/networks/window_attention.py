"""Plain shifted-window attention for super-resolution x4, as in published work on single-photon arrays.

It is written from the published configuration alone, to be trained and measured beside our network on equal terms.

Published work on single-photon arrays uses this kind of network; it is written from its configuration alone. Groups of
attention layers in windows (Liu et al., ICCV 2021), a convolution and a skip around each group, and pixel shuffles at
the end (Liang et al., ICCV workshops 2021). Input, start and answer are those of our own network.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from noise_model.errors import InputError
from spadsr.networks.measurement import STATISTICS, Measurement
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.windows import padded

SCALE = 4


class WindowAttentionConfig(NetworkConfig):
    """Size of the plain window-attention network; the defaults are those of the light one."""

    kind: Literal["window_attention"] = "window_attention"

    width: int = Field(default=60, gt=0, le=1024, description="channels")
    groups: int = Field(default=4, gt=0, le=32)
    layers: int = Field(default=6, gt=0, le=64, description="attention layers in a group; every second one is shifted")
    heads: int = Field(default=6, gt=0, le=64, description="attention heads")
    window: int = Field(default=8, gt=1, le=32, description="pixels on a side of an attention window")
    mlp_ratio: float = Field(default=2.0, gt=0, le=16, description="channels of the feed-forward part, over width")
    tail: int = Field(
        default=0, ge=0, le=512, description="channels between two pixel shuffles by 2; 0: one shuffle by 4"
    )

    @property
    def body_parameters(self) -> int:
        """Parameters of the attention layers."""
        return int(self.groups * self.layers * (4 + 2 * self.mlp_ratio) * self.width**2)

    @field_validator("heads")
    @classmethod
    def _of_equal_width(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("width", heads) % heads:
            raise ValueError(f"width {info.data['width']} is no multiple of it")
        return heads


LIGHT = WindowAttentionConfig()

#: 11.7 M parameters and 28.0 GMAC at 64x32 are quoted for it.
PUBLISHED = WindowAttentionConfig(width=180, groups=6, tail=64)


class WindowAttentionNetwork(Network):
    """Plain window attention: adds detail to the interpolated measurement at x4; x2 and x1 are block means of that."""

    config: WindowAttentionConfig
    scales = (1, 2, SCALE)

    def __init__(self, config: WindowAttentionConfig) -> None:
        super().__init__()
        self.config, self.least_side = config, config.window
        width = config.width
        self.stem = nn.Conv2d(STATISTICS, width, 3, padding=1)
        self.groups = nn.ModuleList(LayerGroup(config) for _ in range(config.groups))
        self.norm = nn.LayerNorm(width)
        self.merge = nn.Conv2d(width, width, 3, padding=1)
        self.tail = _tail(width, config.tail)

    def forward(self, measurement: Measurement, scales: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Answers as of `Network.forward`.

        Raises:
            InputError: a scale other than 1, 2 and 4.
        """
        if not set(scales) <= set(self.scales):
            raise InputError(f"scale {max(scales)}: this network answers at 1, 2 and 4")
        height, width = measurement.rate.shape[-2:]
        detail, spread = self.tail(self._features(measurement.statistics)).float().chunk(2, dim=1)
        detail, spread = (part[..., : SCALE * height, : SCALE * width] for part in (detail, spread))
        base = F.interpolate(measurement.rate, scale_factor=float(SCALE), mode="bicubic", align_corners=False)
        size = base.shape[-2:]
        rate = 0.5 * base + F.interpolate(measurement.amplitude, size=size, mode="nearest") * detail
        log_variance = F.interpolate(measurement.log_variance, size=size, mode="nearest") + spread
        return [(F.avg_pool2d(rate, SCALE // s), F.avg_pool2d(log_variance, SCALE // s)) for s in scales]

    def hidden(self) -> list[nn.Module]:
        """The modules between hidden features, neither the first nor the last ones."""
        return [self.groups, self.merge]

    def _features(self, statistics: Tensor) -> Tensor:
        shallow = self.stem(padded(statistics, self.config.window))
        pixels = shallow.permute(0, 2, 3, 1)
        apart = wrapped_apart(pixels.shape[1], pixels.shape[2], self.config.window, pixels.device)
        for group in self.groups:
            pixels = group(pixels, apart)
        result: Tensor = shallow + self.merge(self.norm(pixels).permute(0, 3, 1, 2))
        return result


class LayerGroup(nn.Module):
    """Attention layers and a convolution with a skip around them, on (B, H, W, C)."""

    def __init__(self, config: WindowAttentionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(AttentionLayer(config, shifted=i % 2 == 1) for i in range(config.layers))
        self.merge = nn.Conv2d(config.width, config.width, 3, padding=1)

    def forward(self, pixels: Tensor, apart: Tensor) -> Tensor:
        current = pixels
        for layer in self.layers:
            current = layer(current, apart)
        result: Tensor = pixels + self.merge(current.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return result


class AttentionLayer(nn.Module):
    """Attention in windows, or in windows shifted by half their side, then a feed-forward part, on (B, H, W, C)."""

    def __init__(self, config: WindowAttentionConfig, *, shifted: bool) -> None:
        super().__init__()
        width, inner = config.width, round(config.width * config.mlp_ratio)
        self.heads, self.window, self.shift = config.heads, config.window, config.window // 2 if shifted else 0
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.position = nn.Parameter(torch.zeros(config.heads, (2 * config.window - 1) ** 2))
        self.offsets: Tensor
        self.register_buffer("offsets", window_offsets(config.window), persistent=False)
        wider, back = nn.Linear(width, inner), nn.Linear(inner, width)
        self.mlp = nn.Sequential(wider, nn.GELU(), back)
        for layer in (self.qkv, self.out, wider, back):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, pixels: Tensor, apart: Tensor) -> Tensor:
        """The pixels after attention; `apart` as of `wrapped_apart`."""
        shifted = torch.roll(self.norms[0](pixels), (-self.shift, -self.shift), dims=(1, 2))
        attended = torch.roll(self._attention(shifted, apart), (self.shift, self.shift), dims=(1, 2))
        pixels = pixels + attended
        result: Tensor = pixels + self.mlp(self.norms[1](pixels))
        return result

    def _attention(self, pixels: Tensor, apart: Tensor) -> Tensor:
        """The windows of an image go to the attention as if they were heads: a mask for them all serves the batch."""
        batch, height, width, channels = pixels.shape
        w, rows, columns = self.window, height // self.window, width // self.window
        cells = self.qkv(pixels).reshape(batch, rows, w, columns, w, 3, self.heads, channels // self.heads)
        q, k, v = cells.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch, -1, w * w, channels // self.heads).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(apart).to(q.dtype))
        cells = attended.reshape(batch, rows, columns, self.heads, w, w, -1).permute(0, 1, 4, 2, 5, 3, 6)
        result: Tensor = self.out(cells.reshape(batch, height, width, channels))
        return result

    def _bias(self, apart: Tensor) -> Tensor:
        """What is added to similarities: the bias of each displacement, (windows x heads, w w, w w)."""
        bias = self.position[:, self.offsets].expand(apart.shape[0], -1, -1, -1)
        if self.shift:
            bias = bias.masked_fill(apart[:, None], float("-inf"))
        return bias.flatten(0, 1)


def window_offsets(window: int) -> Tensor:
    """Index (w^2, w^2) of the displacement between each two pixels of a window of w x w."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    place = torch.stack([rows.flatten(), columns.flatten()], dim=1)
    shift = place[:, None, :] - place[None, :, :] + window - 1
    return shift[..., 0] * (2 * window - 1) + shift[..., 1]


def wrapped_apart(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """Mask (windows, w w, w w) of pixels in a window that come from opposite edges of an image rolled by half a window.

    They are no neighbours and must not see each other.
    """
    bottom = torch.arange(height, device=device) >= height - window // 2
    right = torch.arange(width, device=device) >= width - window // 2
    part = 2 * bottom.long()[:, None] + right.long()
    cells = part.reshape(height // window, window, width // window, window).transpose(1, 2).flatten(2).flatten(0, 1)
    return cells[:, :, None] != cells[:, None, :]


def _tail(width: int, between: int) -> nn.Sequential:
    """The enlargement (B, C, H, W) -> (B, 2, 4 H, 4 W).

    Its last convolution starts at zero, so that training starts from the interpolated measurement.
    """
    last = nn.Conv2d(between, 2, 3, padding=1) if between else nn.Conv2d(width, 2 * SCALE**2, 3, padding=1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    if not between:
        return nn.Sequential(last, nn.PixelShuffle(SCALE))
    doubled = [(nn.Conv2d(between, 4 * between, 3, padding=1), nn.PixelShuffle(2)) for _ in range(2)]
    first = (nn.Conv2d(width, between, 3, padding=1), nn.LeakyReLU())
    return nn.Sequential(*first, *doubled[0], *doubled[1], last)
