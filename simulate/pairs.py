"""Training pairs in memory: scenes in, counts and the rates to restore out."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor

from noise_model.forward_model import ForwardModel
from noise_model.sensor import USER, Exposure, Sensor
from noise_model.sensor_file import SensorStatistics
from simulate.moving import sample_moving

_T = TypeVar("_T")

# Frames of a binary array; those with most to learn are drawn more often.
_BINARY_CYCLES = (1, 1, 2, 4, 4, 8, 16, 16, 32, 64, 64, 128, 128, 256, 256, 512, 1024, 4096, 16384)
_MOST_DIFFERENCE = 64.0  # between the frames of two pixels of one capture
_DRIFT, _TREMBLING = (0.2, 8.0), (0.01, 0.5)  # native pixels, of an array that moves
_MOST_BLIND = 0.1  # share of pixels that never looked


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("expected the lower end first")
    return ends


_End = Annotated[float, Field(ge=1e-9, le=1e9)]
_Range = Annotated[tuple[_End, _End], AfterValidator(_in_order)]
_Some = Annotated[tuple[_T, ...], Field(min_length=1, max_length=256)]
_Cycles = Annotated[int, Field(ge=1, le=1 << 20)]
_Ratio = Annotated[float, Field(ge=1, le=1e6)]
_Chance = Annotated[float, Field(ge=0, le=0.5)]
_ToNeighbour = Annotated[float, Field(ge=0, le=0.1)]


class PairRecipe(BaseModel):
    """The ranges and choices that captures are drawn from.

    Rates are in detections per hardware frame (x = r T); ranges are drawn log-uniformly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    binary_share: float = Field(default=0.75, ge=0, le=1, description="binary arrays; the rest count")
    binary_cycles: _Some[_Cycles] = _BINARY_CYCLES
    binary_white: _Range = (0.04, 1.0)
    counting_cycles: _Some[_Cycles] = (1, 1, 2, 4, 8, 16, 32, 64, 256, 1024)
    counting_white: _Range = (0.2, 80.0)
    least_counts: float = Field(default=0.1, gt=0, le=1e6, description="of a white pixel, over all frames")
    relative_exposure: _Some[_Ratio] = Field(default=(8.0, 17.5, 17.5, 40.0, 104.0), description="T / dead time")
    afterpulse_probability: _Some[_Chance] = (0.0, 0.0, 0.005, 0.01, 0.02)
    crosstalk: _Some[_ToNeighbour] = Field(default=(0.0, 0.0, 1e-3, 3e-3), description="nearest neighbours")
    pde_spread: _Range = (0.005, 0.06)
    dark_bulk: _Range = (1e-6, 3e-3)
    hot_fraction: float = Field(default=0.08, ge=0, le=1, description="the share is drawn up to this, mostly far less")
    hot_median: _Range = (1e-4, 0.3)
    touching_share: float = Field(default=0.2, ge=0, le=1, description="sensors half of whose hot pixels touch another")
    known_share: float = Field(default=0.4, ge=0, le=1, description="sensors whose maps the network is told")
    masked_share: float = Field(default=0.15, ge=0, le=1, description="sensors with dead pixels in their mask")
    dead_fraction: float = Field(default=0.03, ge=0, le=1, description="the most of them")
    mapped_share: float = Field(default=0.12, ge=0, le=1, description="captures with a number of frames for each pixel")
    moving_share: float = Field(
        default=0.12, ge=0, le=1, description="captures of an array that moves, with its places"
    )
    starred_share: float = Field(default=0.06, ge=0, le=1, description="captures with points of light added")
    star_fraction: _Range = Field(default=(1e-3, 1e-2), description="points over native pixels")
    star_flux: _Range = Field(default=(0.3, 30.0), description="that of so many white native pixels")
    star_sigma: _Range = Field(default=(0.1, 1.2), description="Gaussian, native pixels")


@dataclass(frozen=True)
class Pair:
    """A batch of captures with their true rates.

    Attributes:
        counts: (B, H, W) int32; of an array that moves (B, 4 H, 4 W), on the grid of its places, as the frames of its
            exposure then are.
        targets: scale s -> (B, s H, s W) photon detection rate, counts/s per native pixel area; where the sensor is not
            known, together with the counts that look like photons.
        model: how they were taken, as far as that is known: one exposure, sensors with maps (B, H, W).
    """

    counts: Tensor
    targets: dict[int, Tensor]
    model: ForwardModel

    def to(self, device: torch.device) -> "Pair":
        """The same pair on a device."""
        targets = {scale: target.to(device) for scale, target in self.targets.items()}
        return Pair(self.counts.to(device), targets, self.model.to(device))


def draw_pair(scenes: Tensor, scale: int, recipe: PairRecipe, draws: "Draws") -> Pair:
    """Draws captures of scenes at random flux by random sensors, with one exposure.

    Args:
        scenes: (B, s H, s W) relative flux, 1 = white.
        scale: resolution of the scenes over that of the sensor; targets come at it and at each smaller power of two.
        draws: the only source of randomness.
    """
    if draws.uniform() < recipe.starred_share:
        scenes = _with_stars(scenes, scale, recipe, draws)
    targets = targets_of(scenes, scale)
    shape = targets[1].shape
    model, dark = _draw_model(shape, recipe, draws)
    sensor, exposure = model.sensor, model.exposure
    low, high = recipe.binary_white if sensor.binary else recipe.counting_white
    low = max(low, recipe.least_counts / exposure.most_cycles)
    white = draws.log_uniform_map((low, high), (shape[0], 1, 1)) / exposure.count_time
    rates = {s: target * white for s, target in targets.items()}
    if recipe.moving_share > 0 and exposure.map is None and draws.uniform() < recipe.moving_share:
        path = _path(exposure.most_cycles, draws)
        counts, cycles = sample_moving(model, rates[scale], scale, path, draws.generator)
        model = replace(model, exposure=replace(exposure, cycles=cycles))
    else:
        counts = model.sample(rates[1], draws.generator)
    if draws.uniform() < recipe.known_share:
        return Pair(counts, rates, model)
    # Without knowing the sensor, one cannot tell ordinary dark counts, afterpulses and crosstalk from photons; hot
    # pixels one can.
    apparent = {s: model.apparent_rate(rate, dark) for s, rate in rates.items()}
    return Pair(counts, apparent, replace(model, sensor=_unknown(sensor)))


def targets_of(scenes: Tensor, scale: int) -> dict[int, Tensor]:
    """Block means (B, t H, t W) of scenes (B, s H, s W) for t = s, s / 2, ..., 1."""
    targets = {scale: scenes}
    while scale > 1:
        scenes = F.avg_pool2d(scenes[:, None], 2)[:, 0]
        scale //= 2
        targets[scale] = scenes
    return targets


class Draws:
    """Random numbers that follow from a seed.

    Attributes:
        generator: of all of them, on the CPU.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self) -> float:
        """A random number between 0 and 1."""
        return float(torch.rand((), generator=self.generator))

    def choice(self, options: tuple[_T, ...]) -> _T:
        """One of the options, each equally likely."""
        return options[int(self.uniform() * len(options))]

    def log_uniform(self, ends: tuple[float, float]) -> float:
        """A random number between two ends, equally likely in every decade."""
        return float(ends[0] * (ends[1] / ends[0]) ** self.uniform())

    def log_uniform_map(self, ends: tuple[float, float], shape: tuple[int, ...]) -> Tensor:
        """Random numbers (`shape`) between two ends, equally likely in every decade."""
        u = torch.rand(shape, generator=self.generator)
        return ends[0] * (ends[1] / ends[0]) ** u


def _with_stars(scenes: Tensor, scale: int, recipe: PairRecipe, draws: Draws) -> Tensor:
    """Scenes with points of light added, all of one size.

    The smallest look like hot pixels where the sensor is not known.
    """
    shape, native = scenes.shape, scenes[0].numel() // scale**2
    count = max(1, round(native * draws.log_uniform(recipe.star_fraction)))
    flux = scale**2 * draws.log_uniform_map(recipe.star_flux, (shape[0], count))
    place = torch.rand(shape[0], count, generator=draws.generator) * scenes[0].numel()
    stars = torch.zeros(shape[0], scenes[0].numel()).scatter_add_(1, place.long(), flux)
    return scenes + _blurred(stars.view(shape), scale * draws.log_uniform(recipe.star_sigma))


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, H, W) after a Gaussian blur, dark beyond the edges."""
    reach = int(3 * sigma) + 1
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    kernel = kernel / kernel.sum()
    across = F.conv2d(images[:, None], kernel.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(across, kernel.view(1, 1, -1, 1), padding=(reach, 0))[:, 0]


def _draw_model(shape: torch.Size, recipe: PairRecipe, draws: Draws) -> tuple[ForwardModel, float]:
    """A sensor for each capture of a batch in one exposure, and the dark rate of ordinary pixels.

    Sensors have maps of their own and common numbers. Time is measured in exposures of one frame.
    """
    binary = draws.uniform() < recipe.binary_share
    statistics = SensorStatistics(
        pde_mean=0.5,
        pde_spread=draws.log_uniform(recipe.pde_spread),
        dark_bulk=draws.log_uniform(recipe.dark_bulk),
        hot_fraction=recipe.hot_fraction * draws.uniform() ** 3,
        hot_median=draws.log_uniform(recipe.hot_median),
        hot_sigma=1.9,
        hot_ceiling=2.0 if binary else 20.0,
    )
    pde, dark = statistics.draw(tuple(shape), draws.generator)
    if recipe.touching_share > 0 and draws.uniform() < recipe.touching_share:
        dark = _with_touching(dark, statistics, draws)
    dead_time = 0.0 if binary else 1 / draws.choice(recipe.relative_exposure)
    sensor = Sensor(
        name="drawn",
        pde=pde,
        dark_count_rate=dark,
        dead_time=dead_time,
        counter_bits=1 if binary else 9,
        afterpulse_probability=draws.choice(recipe.afterpulse_probability),
        trap_lifetime=2 * dead_time,
        crosstalk=_kernel(draws.choice(recipe.crosstalk)),
    )
    if draws.uniform() < recipe.masked_share:
        sensor = _with_dead_pixels(sensor, recipe.dead_fraction, draws)
    cycles = draws.choice(recipe.binary_cycles if binary else recipe.counting_cycles)
    exposure = Exposure(count_time=1.0, cycles=cycles)
    if recipe.mapped_share > 0 and draws.uniform() < recipe.mapped_share:
        exposure = replace(exposure, cycles=_cycles_map(sensor.shape, cycles, draws))
    return ForwardModel(sensor, exposure), statistics.dark_bulk


def _with_touching(dark: Tensor, statistics: SensorStatistics, draws: Draws) -> Tensor:
    """Dark rates (B, H, W) in which half of the hot pixels have a neighbour about as hot."""
    chosen = torch.rand(dark.shape, generator=draws.generator) < 0.5
    fewer = dark.masked_fill(~chosen | (dark <= statistics.dark_bulk), 0)
    beside = torch.roll(fewer, draws.choice(((0, 1), (1, 0), (1, 1))), dims=(-2, -1))
    as_hot = beside * draws.log_uniform_map((1 / 3, 3.0), tuple(dark.shape))
    return torch.maximum(dark, as_hot.clamp(max=statistics.hot_ceiling))


def _cycles_map(shape: tuple[int, int], most: int, draws: Draws) -> Tensor:
    """Hardware frames of each pixel (H, W): fewer beyond an edge, along a ramp, around a disc, or in single pixels.

    Some pixels never looked.
    """
    rows, columns = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in shape), indexing="ij")
    angle, down, right = 2 * math.pi * draws.uniform(), draws.uniform() - 0.5, draws.uniform() - 0.5
    across = math.cos(angle) * rows + math.sin(angle) * columns
    alone, blind = torch.rand((2, *shape), generator=draws.generator)
    halves = (across > down).float()
    disc = (torch.hypot(rows - down, columns - right) > 0.5).float()
    fewer = draws.choice((halves, halves, (0.5 + 0.5 * across).clamp(0, 1), disc, alone, alone))
    cycles: Tensor = (most * draws.log_uniform((1 / _MOST_DIFFERENCE, 1.0)) ** fewer).round().clamp(min=1)
    return cycles.masked_fill(blind < _MOST_BLIND * draws.uniform() ** 3, 0).long()


def _path(cycles: int, draws: Draws) -> list[tuple[float, float]]:
    """Where an array that drifts and trembles is within a pixel, step by step; steps divide the frames evenly."""
    steps = math.gcd(cycles, draws.choice((8, 16, 32)))
    angle, length = 2 * math.pi * draws.uniform(), draws.log_uniform(_DRIFT)
    trembling = draws.log_uniform(_TREMBLING) * torch.randn(2, steps, generator=draws.generator)
    time = torch.linspace(-0.5, 0.5, steps)
    down, right = (length * part * time for part in (math.sin(angle), math.cos(angle)))
    places = torch.stack([down, right]) + trembling + torch.rand(2, 1, generator=draws.generator)
    return [(row, column) for row, column in (places % 1 - 0.5).clamp(max=0.499).T.tolist()]


def _kernel(nearest: float) -> Tensor:
    """A crosstalk kernel (3, 3) with diagonal neighbours in the proportion measured on arrays of 500 um pitch.

    It is kept on the host, where its numbers are looked at.
    """
    diagonal = 0.16 * nearest
    rows = [[diagonal, nearest, diagonal], [nearest, 0.0, nearest], [diagonal, nearest, diagonal]]
    return torch.tensor(rows)


def _with_dead_pixels(sensor: Sensor, dead_fraction: float, draws: Draws) -> Sensor:
    share = dead_fraction * draws.uniform()
    dead = torch.rand(sensor.pde.shape, generator=draws.generator) < share
    return replace(sensor, pde=sensor.pde.masked_fill(dead, 1e-3), pixel_mask=dead.to(torch.int32) * USER)


def _unknown(sensor: Sensor) -> Sensor:
    """The sensor as far as the header of a capture tells."""
    return replace(
        sensor,
        pde=torch.full_like(sensor.pde, 0.5),
        dark_count_rate=torch.zeros_like(sensor.dark_count_rate),
        afterpulse_probability=0.0,
        trap_lifetime=0.0,
        crosstalk=torch.zeros(1, 1),
        measured=False,
    )
