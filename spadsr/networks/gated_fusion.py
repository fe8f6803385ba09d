"""The restoration network: counts of one sensor in, photon detection rate and its uncertainty out, at five scales."""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from spadsr.networks.blocks import ConvolutionBlock
from spadsr.networks.enlargement import Answer, enlarged, possible, zeroed
from spadsr.networks.measurement import SCALES, STATISTICS, Measurement
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.windows import padded, window_offsets

#: Parts that can be left out of the network, to measure what each of them is worth.
Part: TypeAlias = Literal["window_attention", "channel_attention", "gated_fusion", "photon_statistics", "sensor_maps"]

_CHANNELS_OF = {"photon_statistics": (2, 3, 4, 5), "sensor_maps": (6, 7, 8, 9)}  # of the statistics


class GatedFusionConfig(NetworkConfig):
    """Size of the network."""

    kind: Literal["gated_fusion"] = "gated_fusion"

    width: int = Field(default=48, gt=0, le=1024, description="channels")
    groups: int = Field(default=4, gt=0, le=32)
    blocks: int = Field(default=5, gt=0, le=64, description="convolution blocks in a group")
    attention_width: int = Field(default=32, gt=0, le=1024, description="channels inside attention, over all heads")
    heads: int = Field(default=2, gt=0, le=64, description="attention heads")
    window: int = Field(default=8, gt=1, le=32, description="pixels on a side of an attention window")
    without: tuple[Part, ...] = Field(default=(), description="parts left out")

    @property
    def body_parameters(self) -> int:
        """Parameters of the convolution blocks and of the gates between groups."""
        return (18 * self.groups * self.blocks + self.groups**2) * self.width**2

    @field_validator("heads")
    @classmethod
    def _of_equal_width(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("attention_width", heads) % heads:
            raise ValueError(f"attention_width {info.data['attention_width']} is no multiple of it")
        return heads


class GatedFusionTransformer(Network):
    """Groups of convolution and content-adaptive attention at native resolution, fused through gates; a head a scale.

    The body is shared by all scales. The native answer is a gated mixture of what was measured and what the body
    infers; the heads of x2 and x4 add detail to it, interpolated, and those of x8 and x16 to the answer at x4.
    """

    config: GatedFusionConfig
    by_strips = True

    def __init__(self, config: GatedFusionConfig) -> None:
        super().__init__()
        self.config, self.least_side = config, config.window
        width = config.width
        self.stem = nn.Conv2d(STATISTICS, width, 3, padding=1)
        self.groups = nn.ModuleList(Group(config) for _ in range(config.groups))
        self.fusion = GatedFusion(width, config.groups, gated="gated_fusion" not in config.without)
        self.native = zeroed(nn.Conv2d(width, 3, 3, padding=1))
        self.heads = nn.ModuleDict({str(s): zeroed(nn.Conv2d(width, 2 * s * s, 3, padding=1)) for s in SCALES if s > 1})
        self.unseen = [channel for part in config.without for channel in _CHANNELS_OF.get(part, ())]

    def features(self, measurement: Measurement) -> Tensor:
        """(B, C, H, W) what all scales share."""
        height, width = measurement.rate.shape[-2:]
        statistics = padded(self._seen(measurement.statistics), self.config.window)
        features = self.stem(statistics)
        outputs = []
        current = features
        for group in self.groups:
            current = group(current, statistics)
            outputs.append(current)
        fused: Tensor = (features + self.fusion(outputs))[..., :height, :width]
        return fused

    def answers(self, features: Tensor, measurement: Measurement, scales: tuple[int, ...]) -> list[Answer]:
        """(rate over scale, its log variance), each (B, 1, s H, s W) float32, for each of the scales wanted."""
        trust, inferred, spread = self.native(features).float().chunk(3, dim=1)
        gate = torch.sigmoid(trust)
        rate = gate * measurement.rate + measurement.amplitude * inferred
        native = rate, possible(measurement.log_variance + spread, rate, measurement.amplitude)
        answers: dict[int, Answer] = {1: native}
        for s in sorted({4, *scales} if max(scales) > 4 else scales):
            if s > 1:
                detail = F.pixel_shuffle(self.heads[str(s)](features).float(), s)
                answers[s] = enlarged(answers[4 if s > 4 else 1], detail, measurement.amplitude)
        return [answers[s] for s in scales]

    def hidden(self) -> list[nn.Module]:
        """The modules between hidden features, neither the first nor the last ones."""
        return [self.groups, self.fusion]

    def _seen(self, statistics: Tensor) -> Tensor:
        channels = torch.tensor(self.unseen, dtype=torch.long, device=statistics.device)
        return statistics.index_fill(1, channels, 0.0) if self.unseen else statistics


class Group(nn.Module):
    """Residual convolution blocks, then content-adaptive attention."""

    def __init__(self, config: GatedFusionConfig) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ConvolutionBlock(config.width) for _ in range(config.blocks)))
        kinds = {"window_attention", "channel_attention"} - set(config.without)
        self.attention = ContentAdaptiveAttention(config) if kinds else None

    def forward(self, features: Tensor, statistics: Tensor) -> Tensor:
        result: Tensor = self.blocks(features)
        return result if self.attention is None else self.attention(result, statistics)


class ContentAdaptiveAttention(nn.Module):
    """Window attention for detail and channel attention for the whole field, mixed by a gate.

    Both use the same queries, keys and values; the gate, driven by the content and by the photon statistics, chooses
    between them for every pixel and channel.

    Both have the same queries, keys and values; the gate, driven by the content and by the photon statistics, chooses
    between them for every pixel and channel. Works on windows of w x w pixels as rows of (window, head, pixel, depth),
    channels last.
    """

    def __init__(self, config: GatedFusionConfig) -> None:
        super().__init__()
        inner, self.heads, self.window = config.attention_width, config.heads, config.window
        windows, channels = (part not in config.without for part in ("window_attention", "channel_attention"))
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width + STATISTICS, 4 * inner)
        self.position = nn.Parameter(torch.zeros(self.heads, (2 * self.window - 1) ** 2)) if windows else None
        self.temperature = nn.Parameter(torch.ones(self.heads, 1, 1)) if channels else None
        self.out = nn.Linear(inner, config.width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.offsets: Tensor
        self.register_buffer("offsets", window_offsets(self.window), persistent=False)

    def forward(self, features: Tensor, statistics: Tensor) -> Tensor:
        pixels = torch.cat([self.norm(features.permute(0, 2, 3, 1)), statistics.permute(0, 2, 3, 1)], dim=-1)
        q, k, v, gate = self._split(self.project(pixels)).unbind(0)
        mixed = self._mixed(torch.sigmoid(gate), q, k, v)
        result: Tensor = features + self.out(self._joined(mixed, pixels.shape)).permute(0, 3, 1, 2)
        return result

    def _mixed(self, gate: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.temperature is None:
            return self._in_windows(q, k, v)
        if self.position is None:
            return self._across_field(q, k, v)
        return gate * self._in_windows(q, k, v) + (1 - gate) * self._across_field(q, k, v)

    def _split(self, projected: Tensor) -> Tensor:
        """(B, H, W, 4 C) -> (4, B, windows, heads, w w, depth)."""
        batch, height, width, channels = projected.shape
        w, depth = self.window, channels // 4 // self.heads
        cells = projected.reshape(batch, height // w, w, width // w, w, 4, self.heads, depth)
        return cells.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(4, batch, -1, self.heads, w * w, depth)

    def _joined(self, windows: Tensor, shape: torch.Size) -> Tensor:
        """(B, windows, heads, w w, depth) -> (B, H, W, C)."""
        batch, height, width = shape[:3]
        w, depth = self.window, windows.shape[-1]
        cells = windows.reshape(batch, height // w, width // w, self.heads, w, w, depth)
        return cells.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, self.heads * depth)

    def _in_windows(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert self.position is not None
        bias = self.position[:, self.offsets].to(q.dtype)
        similarity = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias
        attended: Tensor = similarity.softmax(dim=-1) @ v
        return attended

    def _across_field(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Channels attend to channels, by the correlation of their values over the whole image."""
        assert self.temperature is not None
        product = (q.transpose(-2, -1) @ k).sum(dim=1, keepdim=True).float()
        length_q, length_k = (t.float().square().sum(dim=(1, 3), keepdim=True) + 1e-6 for t in (q, k))
        similarity = product * torch.rsqrt(length_q.transpose(-2, -1) * length_k) * self.temperature
        return v @ similarity.softmax(dim=-1).to(v.dtype).transpose(-2, -1)


class GatedFusion(nn.Module):
    """Weighs every group's output, per pixel and channel, by a sigmoid gate that sees all of them."""

    def __init__(self, width: int, groups: int, *, gated: bool) -> None:
        super().__init__()
        self.gate = nn.Conv2d(width * groups, width * groups, 1) if gated else None
        self.merge = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        stacked = torch.cat(outputs, dim=1)
        weighed = stacked if self.gate is None else torch.sigmoid(self.gate(stacked)) * stacked
        merged: Tensor = self.merge(sum(weighed.chunk(len(outputs), dim=1)))
        return merged
