"""A sensor: the maps and numbers of one SPAD array, and how it was exposed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from noise_model.config_files import checked_config, find_config, read_config
from noise_model.errors import InputError
from noise_model.estimates import Estimate
from noise_model.files import whole_file

#: Bits of `pixel_mask`, as in NeXus NXdetector.
GAP, DEAD, UNDER_RESPONDING, HOT, NOISY, USER = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 8


@dataclass(frozen=True)
class Exposure:
    """How one image was taken: `cycles` hardware frames (N), each live for `count_time` seconds (T), summed."""

    count_time: float
    cycles: int = 1


@dataclass(frozen=True)
class Sensor:
    """One SPAD array. Maps are float32 tensors (H, W), or (B, H, W) for a batch of sensors with equal numbers.

    Attributes:
        pde: photon detection efficiency, 0 to 1.
        dark_count_rate: counts/s (cps).
        dead_time: hold-off after an avalanche, s; 0 for a binary array.
        afterpulse_probability: chance that an avalanche fills a trap that fires the pixel again.
        trap_lifetime: mean release delay of that trap, s.
        crosstalk: (k, k), k odd, centre 0: chance that an avalanche in the centre fires each neighbour.
        counter_bits: bits of the in-pixel counter; 1 is a binary array.
        counter_wraps: the counter starts again at 0 when full (else it stays at its maximum).
        pixel_mask: (H, W) int32, NXdetector bits; 0 is a good pixel.
        measured: the maps are those of one array, not drawn to be typical of its kind.
        estimates: by name, what calibration found, with intervals; empty where there was none.
    """

    name: str
    pde: Tensor
    dark_count_rate: Tensor
    dead_time: float
    counter_bits: int
    afterpulse_probability: float = 0.0
    trap_lifetime: float = 0.0
    crosstalk: Tensor = field(default_factory=lambda: torch.zeros(1, 1))
    counter_wraps: bool = False
    pixel_mask: Tensor | None = None
    source: str = ""
    measured: bool = True
    estimates: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pde.shape[-2], self.pde.shape[-1]

    @property
    def binary(self) -> bool:
        """Whether the array is binary: one bit per hardware frame."""
        return self.counter_bits == 1

    @property
    def mean_pde(self) -> Tensor:
        """Mean photon detection efficiency, over the rows and columns of each sensor; keeps its dimensions."""
        return self.pde.mean(dim=(-2, -1), keepdim=True)

    @property
    def crosstalk_shares(self) -> tuple[tuple[int, int, float], ...]:
        """(rows down, columns right, chance) of each neighbour that an avalanche can fire."""
        reach = self.crosstalk.shape[-1] // 2
        kernel = self.crosstalk.tolist() if reach > 0 else []
        return tuple((i - reach, j - reach, p) for i, row in enumerate(kernel) for j, p in enumerate(row) if p)

    @property
    def afterpulse_in_frame(self) -> float:
        """Chance that a filled trap is still filled when the dead time ends, so that it fires the pixel again."""
        if self.afterpulse_probability == 0 or self.trap_lifetime == 0:
            return 0.0
        return self.afterpulse_probability * math.exp(-self.dead_time / self.trap_lifetime)

    @property
    def good(self) -> Tensor:
        """(H, W) bool: pixels whose mask is clear."""
        if self.pixel_mask is None:
            return torch.ones(self.shape, dtype=torch.bool, device=self.pde.device)
        return self.pixel_mask == 0

    def firing_rate(self, photon_rate: Tensor) -> Tensor:
        """Rate (..., H, W) at which armed pixels fire, counts/s: detected photons and dark counts.

        `photon_rate` is in detections/s of a pixel of mean PDE; the PDE map spreads it over the pixels.

        `photon_rate` is in detections/s of a pixel of mean PDE.
        """
        return photon_rate * (self.pde / self.mean_pde) + self.dark_count_rate

    def photon_rate(self, firing_rate: Tensor) -> Tensor:
        """Photon rate from a firing rate, the inverse of `firing_rate`; negative where counts are below dark counts."""
        return (firing_rate - self.dark_count_rate) * (self.mean_pde / self.pde)

    def fired_by_neighbours(self, mean: Tensor) -> Tensor:
        """Mean avalanches (..., H, W) that crosstalk causes in each armed pixel when the pixels fire `mean` times."""
        total, shares = torch.zeros_like(mean), self.crosstalk_shares
        if not shares:
            return total
        reach = self.crosstalk.shape[-1] // 2
        around = F.pad(mean, (reach, reach, reach, reach))
        height, width = mean.shape[-2:]
        for down, right, share in shares:
            # A pixel is fired by the pixel opposite to the one that it fires: the kernel is turned by 180 degrees.
            top, left = reach - down, reach - right
            total.add_(around[..., top : top + height, left : left + width], alpha=share)
        return total

    def saturation_value(self, cycles: int) -> int:
        """The largest count an image summed from `cycles` frames can hold."""
        return cycles * ((1 << self.counter_bits) - 1)

    def to(self, device: torch.device | str) -> Self:
        """The same sensor with its maps on `device`."""
        mask = None if self.pixel_mask is None else self.pixel_mask.to(device)
        return replace(
            self,
            pde=self.pde.to(device),
            dark_count_rate=self.dark_count_rate.to(device),
            crosstalk=self.crosstalk.to(device),
            pixel_mask=mask,
        )

    def uniform(self, shape: tuple[int, int]) -> Self:
        """An array of `shape` with the same numbers, whose pixels are all alike: mean PDE, median dark rate."""
        pde, dark = float(self.pde.mean()), float(self.dark_count_rate.median())
        maps = torch.full(shape, pde), torch.full(shape, dark)
        return replace(self, pde=maps[0], dark_count_rate=maps[1], pixel_mask=None)

    def save(self, path: str | Path, further: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> None:
        """Writes `path` (YAML, the numbers) and the NPZ of the same stem beside it (the maps).

        `further` are maps (H, W) to keep beside the sensor's own, such as their intervals; `load` does not read them.
        """
        path = Path(path)
        maps = {**further, "pde": self.pde.cpu().numpy(), "dark_count_rate": self.dark_count_rate.cpu().numpy()}
        if self.pixel_mask is not None:
            maps["pixel_mask"] = self.pixel_mask.cpu().numpy()
        numbers = _SensorNumbers(
            name=self.name,
            source=self.source,
            dead_time=self.dead_time,
            counter_bits=self.counter_bits,
            counter_wraps=self.counter_wraps,
            afterpulse_probability=self.afterpulse_probability,
            trap_lifetime=self.trap_lifetime,
            crosstalk=[[float(f"{value:.7g}") for value in row] for row in self.crosstalk.tolist()],
            estimates=dict(self.estimates) or None,
            maps=path.with_suffix(".npz").name,
        )
        with whole_file(path.with_suffix(".npz")) as partial:
            np.savez_compressed(partial, **maps)  # type: ignore[arg-type]
        with whole_file(path) as partial:
            partial.write_text(yaml.safe_dump(numbers.model_dump(mode="json", exclude_none=True), sort_keys=False))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a sensor file, or a shipped preset by its name (`spc3`, `spad512`).

        Raises:
            InputError: no such file or preset, or its content is not a sensor.
        """
        path = find_config(path, "sensors", "sensor")
        numbers = _read_numbers(path)
        if numbers.statistics is not None:
            return cls._drawn(numbers)
        return cls._stored(numbers, path.with_name(str(numbers.maps)))

    @classmethod
    def _drawn(cls, numbers: "_SensorNumbers") -> Self:
        assert numbers.statistics is not None
        assert numbers.shape is not None
        generator = torch.Generator().manual_seed(numbers.seed)
        pde, dark = numbers.statistics.draw(numbers.shape, generator)
        return cls(pde=pde, dark_count_rate=dark, measured=False, **_plain(numbers))

    @classmethod
    def _stored(cls, numbers: "_SensorNumbers", maps: Path) -> Self:
        try:
            with maps.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                pde = torch.from_numpy(arrays["pde"].astype(np.float32))
                dark = torch.from_numpy(arrays["dark_count_rate"].astype(np.float32))
                mask = torch.from_numpy(arrays["pixel_mask"].astype(np.int32)) if "pixel_mask" in arrays else None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, AttributeError) as error:
            raise InputError(
                f"{maps}: cannot read the sensor maps ({error}); expected pde and dark_count_rate"
            ) from error
        _check_maps(maps, pde, dark, mask)
        return cls(pde=pde, dark_count_rate=dark, pixel_mask=mask, **_plain(numbers))


class SensorStatistics(BaseModel):
    """The spread of a sensor's maps: what to draw from when the maps themselves are not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pde_mean: float = Field(gt=0, le=1)
    pde_spread: float = Field(ge=0, lt=0.5, description="relative standard deviation of the PDE map")
    dark_bulk: float = Field(ge=0, description="cps of an ordinary pixel")
    hot_fraction: float = Field(ge=0, le=1)
    hot_median: float = Field(ge=0, description="cps; hot pixels are log-normal")
    hot_sigma: float = Field(ge=0, description="standard deviation of ln(cps)")
    hot_ceiling: float = Field(gt=0, description="cps")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """One PDE map and one dark-rate map (cps) of `shape`, on the generator's device."""
        device = generator.device
        gain = 1 + self.pde_spread * torch.randn(shape, generator=generator, device=device)
        pde = (self.pde_mean * gain).clamp(1e-3, 1)
        hot = torch.rand(shape, generator=generator, device=device) < self.hot_fraction
        spread = torch.randn(shape, generator=generator, device=device)
        rate = (math.log(max(self.hot_median, 1e-9)) + self.hot_sigma * spread).exp().clamp(max=self.hot_ceiling)
        return pde, torch.where(hot, rate, torch.full_like(rate, self.dark_bulk))


class _SensorNumbers(BaseModel):
    """The YAML file: numbers, and either the name of the NPZ with the maps or the statistics to draw them from."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    source: str = ""
    dead_time: float = Field(ge=0)
    counter_bits: int = Field(ge=1, le=16)
    counter_wraps: bool = False
    afterpulse_probability: float = Field(default=0, ge=0, lt=1)
    trap_lifetime: float = Field(default=0, ge=0)
    crosstalk: list[list[float]] = [[0.0]]
    estimates: dict[str, Estimate] | None = None
    maps: str | None = None
    shape: tuple[int, int] | None = None
    statistics: SensorStatistics | None = None
    seed: int = 0

    @field_validator("crosstalk")
    @classmethod
    def _is_kernel(cls, rows: list[list[float]]) -> list[list[float]]:
        size, values = len(rows), [value for row in rows for value in row]
        if size % 2 == 0 or any(len(row) != size for row in rows) or rows[size // 2][size // 2] != 0:
            raise ValueError("must be a square of odd size with 0 in the centre")
        if min(values) < 0 or sum(values) >= 1:
            raise ValueError("must be chances that add up to less than 1")
        return rows


def _plain(numbers: _SensorNumbers) -> dict[str, Any]:
    parsed = {"crosstalk", "estimates"}
    values: dict[str, Any] = numbers.model_dump(exclude=parsed | {"maps", "shape", "statistics", "seed"})
    kernel = torch.tensor(numbers.crosstalk, dtype=torch.float32)
    return values | {"crosstalk": kernel, "estimates": numbers.estimates or {}}


def _check_maps(path: Path, pde: Tensor, dark: Tensor, mask: Tensor | None) -> None:
    if pde.ndim != 2 or {pde.shape} != {one.shape for one in (pde, dark, mask) if one is not None}:
        shapes = f"pde {tuple(pde.shape)}, dark_count_rate {tuple(dark.shape)}"
        raise InputError(f"{path}: {shapes}; these and a pixel_mask must be of one shape (H, W)")
    if not bool(((pde > 0) & (pde <= 1)).all()):
        raise InputError(f"{path}: pde has values that are not above 0 and up to 1; mark dead pixels in pixel_mask")
    if not bool(((dark >= 0) & dark.isfinite()).all()):
        raise InputError(f"{path}: dark_count_rate has values that are negative or not finite; give counts/s")


def _read_numbers(path: Path) -> _SensorNumbers:
    numbers = checked_config(_SensorNumbers, read_config(path, "sensor"), path, "sensor")
    if (numbers.statistics is None) == (numbers.maps is None):
        raise InputError(f"{path}: a sensor needs either maps (an NPZ beside it) or statistics and shape")
    if numbers.statistics is not None and numbers.shape is None:
        raise InputError(f"{path}: statistics also need the shape of the array, as [rows, columns]")
    return numbers
