"""A network of the published size, to measure speed against: plain window attention, x4, about 12 M parameters.

Written from the configuration alone (six groups of six layers, 180 channels, windows of 8 x 8, six heads, twice as many
channels in the feed-forward part, a tail of two pixel shuffles); only its cost matters here, so its weights are random.
11.9 M parameters and 26.7 GMAC at 64x32 in matrix products and convolutions, where 11.7 and 28.0 are quoted.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spadsr.network import window_offsets

_WIDTH, _GROUPS, _LAYERS, _WINDOW, _HEADS, _TAIL = 180, 6, 6, 8, 6, 64


class PublishedNetwork(nn.Module):
    """(B, 1, H, W) -> (B, 1, 4 H, 4 W), for H and W that are whole numbers of windows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, _WIDTH, 3, padding=1)
        self.groups = nn.ModuleList(_Group() for _ in range(_GROUPS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.merge = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.tail = nn.Sequential(
            nn.Conv2d(_WIDTH, _TAIL, 3, padding=1),
            nn.LeakyReLU(),
            nn.Conv2d(_TAIL, 4 * _TAIL, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Conv2d(_TAIL, 4 * _TAIL, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Conv2d(_TAIL, 1, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        shallow = self.stem(images)
        pixels = shallow.permute(0, 2, 3, 1)
        for group in self.groups:
            pixels = group(pixels)
        deep = self.merge(self.norm(pixels).permute(0, 3, 1, 2))
        result: Tensor = self.tail(shallow + deep)
        return result


class _Group(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shift=_WINDOW // 2 * (i % 2)) for i in range(_LAYERS))
        self.merge = nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        current = pixels
        for layer in self.layers:
            current = layer(current)
        result: Tensor = pixels + self.merge(current.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return result


class _Layer(nn.Module):
    """Attention in windows, shifted by half a window in every second layer, then a feed-forward part."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2))
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.position = nn.Parameter(torch.zeros(_HEADS, (2 * _WINDOW - 1) ** 2))
        self.offsets: Tensor
        self.register_buffer("offsets", window_offsets(_WINDOW), persistent=False)
        self.forward_part = nn.Sequential(nn.Linear(_WIDTH, 2 * _WIDTH), nn.GELU(), nn.Linear(2 * _WIDTH, _WIDTH))

    def forward(self, pixels: Tensor) -> Tensor:
        shifted = torch.roll(self.norms[0](pixels), (-self.shift, -self.shift), dims=(1, 2))
        attended = torch.roll(self._attention(shifted), (self.shift, self.shift), dims=(1, 2))
        pixels = pixels + attended
        result: Tensor = pixels + self.forward_part(self.norms[1](pixels))
        return result

    def _attention(self, pixels: Tensor) -> Tensor:
        batch, height, width, _ = pixels.shape
        rows, columns, w = height // _WINDOW, width // _WINDOW, _WINDOW
        cells = self.qkv(pixels).reshape(batch, rows, w, columns, w, 3, _HEADS, -1)
        q, k, v = cells.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(3, batch * rows * columns, _HEADS, w * w, -1).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self.position[:, self.offsets].to(q.dtype))
        cells = attended.reshape(batch, rows, columns, _HEADS, w, w, -1).permute(0, 1, 4, 2, 5, 3, 6)
        result: Tensor = self.out(cells.reshape(batch, height, width, _WIDTH))
        return result
