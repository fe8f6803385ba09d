"""The restoration network over several resolutions: counts of one sensor in, rate and its uncertainty out."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from spadsr.networks.enlargement import Answer, enlarged, possible, zeroed
from spadsr.networks.measurement import SCALES, STATISTICS, Measurement
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.phases import PHASES
from spadsr.networks.windows import padded, padded_to

_Width = Annotated[int, Field(ge=4, le=2048)]
_Blocks = Annotated[int, Field(ge=1, le=64)]

_ENLARGED = 2  # resolution, over native, of the features that detail is made of
_CONDITIONS = 64  # hidden channels of what an image as a whole says to all blocks


class MultiResolutionConfig(NetworkConfig):
    """Size of the network."""

    kind: Literal["multi_resolution"] = "multi_resolution"

    widths: tuple[_Width, ...] = Field(
        default=(64, 128, 256), min_length=2, max_length=6, description="channels of each level"
    )
    encoder: tuple[_Blocks, ...] = Field(default=(2, 2, 4), description="blocks of each level on the way down")
    decoder: tuple[_Blocks, ...] = Field(
        default=(2, 2), description="blocks of each level but the lowest on the way up"
    )
    attention: int = Field(default=2, ge=0, le=64, description="layers of attention at the lowest level")
    heads: int = Field(default=4, gt=0, le=64, description="of attention")
    window: int = Field(
        default=16, gt=1, le=64, description="pixels of the lowest level on a side that attend to each other"
    )
    detail: int = Field(default=32, gt=0, le=512, description="channels at twice the native resolution")

    @property
    def block_widths(self) -> list[int]:
        """Channels of all blocks, as they follow each other: down through the levels and up again."""
        down, up = zip(self.widths, self.encoder, strict=True), zip(self.widths[:-1], self.decoder, strict=True)
        return [width for width, count in (*down, *reversed([*up])) for _ in range(count)]

    @property
    def body_parameters(self) -> int:
        """Parameters of the convolution blocks, and of attention at the lowest level."""
        return sum(18 * width**2 for width in self.block_widths) + 4 * self.attention * self.widths[-1] ** 2

    @field_validator("encoder", "decoder")
    @classmethod
    def _one_a_level(cls, blocks: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        levels = len(info.data.get("widths", ())) - (info.field_name == "decoder")
        if len(blocks) != levels:
            raise ValueError(f"expected 1 or more blocks for each of {levels} levels")
        return blocks

    @field_validator("heads")
    @classmethod
    def _of_equal_width(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("widths", (heads,))[-1] % heads:
            raise ValueError(f"{info.data['widths'][-1]} channels are no multiple of it")
        return heads


class MultiResolutionTransformer(Network):
    """An encoder and a decoder over levels of half the resolution each, with one head for each scale.

    The means of an image's statistics (how many photons, which sensor) scale and shift the channels of every block, so
    that one network serves all exposures. Gates fuse the levels, and all pixels of the lowest one attend to each other.
    The native answer is a gated mixture of what was measured and what the body infers; x2 and x4 add detail, made at
    twice the native resolution, to it, and x8 and x16 to the answer at x4.
    """

    config: MultiResolutionConfig
    by_strips = True

    def __init__(self, config: MultiResolutionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.widths[0]
        self.stem = nn.Conv2d(STATISTICS, width, 3, padding=1)
        self.phase_stem = zeroed(nn.Conv2d(PHASES, width, 3, padding=1, bias=False))
        self.body = Body(config)
        self.conditions = Conditions(config.block_widths)
        self.native = zeroed(nn.Conv2d(width, 3, 3, padding=1))
        self.detail = Detail(width, config.detail)
        self.heads = nn.ModuleDict(
            {
                str(s): zeroed(nn.Conv2d(config.detail, 2 * (s // _ENLARGED) ** 2, 3, padding=1))
                for s in SCALES
                if s >= _ENLARGED
            }
        )

    def features(self, measurement: Measurement) -> Tensor:
        """(B, C, H, W) what all scales share."""
        height, width = measurement.rate.shape[-2:]
        multiple = 2 ** (len(self.config.widths) - 1)
        features = self.stem(padded(measurement.statistics, multiple))
        if measurement.phases is not None:
            features = features + self.phase_stem(padded(measurement.phases, multiple))
        conditions = self.conditions(measurement.statistics.mean(dim=(2, 3)))
        result: Tensor = self.body(features, conditions)[..., :height, :width]
        return result

    def answers(self, features: Tensor, measurement: Measurement, scales: tuple[int, ...]) -> list[Answer]:
        """(rate over scale, its log variance), each (B, 1, s H, s W) float32, for each of the scales wanted."""
        trust, inferred, spread = self.native(features).float().chunk(3, dim=1)
        rate = torch.sigmoid(trust) * measurement.rate + measurement.amplitude * inferred
        native = rate, possible(measurement.log_variance + spread, rate, measurement.amplitude)
        answers: dict[int, Answer] = {1: native}
        finer = self.detail(features) if max(scales) >= _ENLARGED else features
        for s in sorted({4, *scales} if max(scales) > 4 else scales):
            if s >= _ENLARGED:
                detail = F.pixel_shuffle(self.heads[str(s)](finer).float(), s // _ENLARGED)
                answers[s] = enlarged(answers[4 if s > 4 else 1], detail, measurement.amplitude)
        return [answers[s] for s in scales]

    def hidden(self) -> list[nn.Module]:
        """The modules between hidden features, neither the first nor the last ones."""
        return [self.body, self.detail]


class Conditions(nn.Module):
    """What an image as a whole says to each block: (B, 10) means of its statistics to (B, 2 width) for each of them.

    They modulate features as in FiLM (Perez et al., AAAI 2018), and not at all before training.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.sizes = [2 * width for width in widths]
        self.first, self.second = nn.Linear(STATISTICS, _CONDITIONS), nn.Linear(_CONDITIONS, _CONDITIONS)
        self.last = nn.Linear(_CONDITIONS, sum(self.sizes))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, means: Tensor) -> list[Tensor]:
        said = self.last(_activated(self.second(_activated(self.first(means)))))
        return list(said.split(self.sizes, dim=1))


class Body(nn.Module):
    """The way down through the levels and up again, (B, C, H, W) to the same shape.

    Height and width are multiples of the lowest level's pixel.
    """

    def __init__(self, config: MultiResolutionConfig) -> None:
        super().__init__()
        widths, lowest = config.widths, config.widths[-1]
        self.encoder = nn.ModuleList(
            Blocks(width, count) for width, count in zip(widths[:-1], config.encoder[:-1], strict=True)
        )
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.lowest = Blocks(lowest, config.encoder[-1])
        self.attention = nn.ModuleList(Attention(lowest, config.heads, config.window) for _ in range(config.attention))
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.fuse = nn.ModuleList(GatedSkip(width) for width in widths[:-1])
        self.decoder = nn.ModuleList(
            Blocks(width, count) for width, count in zip(widths[:-1], config.decoder, strict=True)
        )
        self.fusion = GatedFusion(widths)

    def forward(self, features: Tensor, conditions: list[Tensor]) -> Tensor:
        left = iter(conditions)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            features = blocks(features, left)
            skips.append(features)
            features = down(features)
        features = self._at_lowest(features, left)
        levels = [features]
        for level in reversed(range(len(skips))):
            below = F.pixel_shuffle(self.up[level](features), 2)
            features = self.decoder[level](self.fuse[level](skips[level], below), left)
            levels.append(features)
        result: Tensor = self.fusion(levels[::-1])
        return result

    def _at_lowest(self, features: Tensor, conditions: Iterator[Tensor]) -> Tensor:
        """Blocks and layers of attention in turn."""
        done = 0
        for i, block in enumerate(self.lowest, start=1):
            features = block(features, next(conditions))
            while done < i * len(self.attention) // len(self.lowest):
                features = self.attention[done](features)
                done += 1
        return features


class Blocks(nn.ModuleList):
    """Blocks of a level, one after the other; each takes the next of the conditions."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__(ConditionedBlock(width) for _ in range(count))

    def forward(self, features: Tensor, conditions: Iterator[Tensor]) -> Tensor:
        for block in self:
            features = block(features, next(conditions))
        return features


class ConditionedBlock(nn.Module):
    """Two convolutions with a skip around them; conditions scale and shift the channels between the two."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor, conditions: Tensor) -> Tensor:
        scale, shift = conditions[:, :, None, None].chunk(2, dim=1)
        result: Tensor = features + self.second(_activated(self.first(features) * (1 + scale) + shift))
        return result


class Attention(nn.Module):
    """Content-adaptive attention between all pixels, in windows of equal size where the field is larger than one."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        rows, columns = ((side + self.window - 1) // self.window for side in (height, width))
        whole = padded_to(features, rows, columns)
        batch, channels, tall, wide = whole.shape
        pixels = whole.permute(0, 2, 3, 1).reshape(batch, rows, tall // rows, columns, wide // columns, channels)
        windows = pixels.transpose(2, 3).reshape(batch * rows * columns, -1, channels)
        attended = self.out(self._attended(self.qkv(self.norm(windows))))
        pixels = attended.reshape(batch, rows, columns, tall // rows, wide // columns, channels).transpose(2, 3)
        change = pixels.reshape(batch, tall, wide, channels).permute(0, 3, 1, 2)[..., :height, :width]
        result: Tensor = features + change
        return result

    def _attended(self, qkv: Tensor) -> Tensor:
        windows, pixels, channels = qkv.shape
        q, k, v = qkv.reshape(windows, pixels, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(windows, pixels, channels // 3)


class GatedSkip(nn.Module):
    """A skip to which a gate, per pixel and channel, adds what comes from the level below."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(2 * width, width, 1)

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        result: Tensor = skip + torch.sigmoid(self.gate(torch.cat([skip, below], dim=1))) * below
        return result


class GatedFusion(nn.Module):
    """Adds all levels at native resolution, per pixel and channel weighed by a gate that sees them all."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        width = widths[0]
        self.narrow = nn.ModuleList(nn.Conv2d(coarse, width, 1) for coarse in widths[1:])
        self.gate = nn.Conv2d(width * len(widths), width * (len(widths) - 1), 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels from native resolution down."""
        finest = levels[0]
        coarse = [
            F.interpolate(narrow(level), scale_factor=float(2**i), mode="bilinear", align_corners=False)
            for i, (narrow, level) in enumerate(zip(self.narrow, levels[1:], strict=True), start=1)
        ]
        gates = torch.sigmoid(self.gate(torch.cat([finest, *coarse], dim=1))).chunk(len(coarse), dim=1)
        return finest + sum(gate * level for gate, level in zip(gates, coarse, strict=True))


class Detail(nn.Module):
    """Features at twice the native resolution, (B, width, H, W) -> (B, channels, 2 H, 2 W)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(width, 4 * channels, 3, padding=1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        wide = F.pixel_shuffle(self.widen(features), _ENLARGED)
        return _activated(wide + self.second(_activated(self.first(wide))))


def _activated(features: Tensor) -> Tensor:
    """SiLU: where ReLU is 0, it still learns, or a long training leaves few channels that are not 0 everywhere."""
    return F.silu(features)
