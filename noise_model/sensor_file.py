"""Sensor files: numbers as YAML, with maps in an NPZ file beside it, or statistics to draw typical maps from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from noise_model.config_files import LONGEST, SecondsOrNone, Seed, Shape, checked_config, find_config, read_config
from noise_model.errors import InputError
from noise_model.estimates import Estimate
from noise_model.files import whole_file
from noise_model.maps_file import read_maps

_FASTEST = 1e12  # cps
_LARGEST_KERNEL = 63  # rows and columns
_MAPS = ("pde", "dark_count_rate", "pixel_mask")
#: Attributes of a sensor that are plain numbers and words.
NUMBERS = (
    "name",
    "source",
    "dead_time",
    "counter_bits",
    "counter_wraps",
    "afterpulse_probability",
    "trap_lifetime",
)


class SensorStatistics(BaseModel):
    """Statistics of a sensor's maps, to draw typical ones from where the maps themselves are not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pde_mean: float = Field(gt=0, le=1)
    pde_spread: float = Field(ge=0, lt=0.5, description="relative standard deviation of the PDE map")
    dark_bulk: float = Field(ge=0, le=_FASTEST, description="cps of an ordinary pixel")
    hot_fraction: float = Field(ge=0, le=1)
    hot_median: float = Field(ge=0, le=_FASTEST, description="cps; hot pixels are log-normal")
    hot_sigma: float = Field(ge=0, le=10, description="standard deviation of ln(cps)")
    hot_ceiling: float = Field(gt=0, le=_FASTEST, description="cps")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random PDE map and dark-rate map (cps) of `shape`, on the generator's device."""
        device = generator.device
        gain = 1 + self.pde_spread * torch.randn(shape, generator=generator, device=device)
        pde = (self.pde_mean * gain).clamp(1e-3, 1)
        hot = torch.rand(shape, generator=generator, device=device) < self.hot_fraction
        spread = torch.randn(shape, generator=generator, device=device)
        rate = (math.log(max(self.hot_median, 1e-9)) + self.hot_sigma * spread).exp().clamp(max=self.hot_ceiling)
        return pde, torch.where(hot, rate, torch.full_like(rate, self.dark_bulk))


class _SensorNumbers(BaseModel):
    """A sensor's YAML file: numbers, and either the name of the NPZ with the maps or statistics to draw them from."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    source: str = ""
    dead_time: SecondsOrNone
    counter_bits: int = Field(ge=1, le=16)
    counter_wraps: bool = False
    afterpulse_probability: float = Field(default=0, ge=0, lt=1)
    trap_lifetime: float = Field(default=0, ge=0, le=LONGEST)
    crosstalk: list[list[float]] = Field(default=[[0.0]], max_length=_LARGEST_KERNEL)
    estimates: dict[str, Estimate] | None = None
    maps: str | None = None
    shape: Shape | None = None
    statistics: SensorStatistics | None = None
    seed: Seed = 0

    @field_validator("maps")
    @classmethod
    def _is_beside(cls, name: str | None) -> str | None:
        if name is not None and (name != Path(name).name or name in ("", "..") or "\0" in name):
            raise ValueError("expected the name of an NPZ file beside this one, without a folder")
        return name

    @field_validator("crosstalk")
    @classmethod
    def _is_kernel(cls, rows: list[list[float]]) -> list[list[float]]:
        size, values = len(rows), [value for row in rows for value in row]
        if size % 2 == 0 or any(len(row) != size for row in rows) or rows[size // 2][size // 2] != 0:
            raise ValueError("must be a square of odd size with 0 in the centre")
        if min(values) < 0 or sum(values) >= 1:
            raise ValueError("must be chances that add up to less than 1")
        return rows

    @property
    def attributes(self) -> dict[str, Any]:
        """The sensor's attributes but for its maps."""
        kernel = torch.tensor(self.crosstalk, dtype=torch.float32)
        return self.model_dump(include=set(NUMBERS)) | {"crosstalk": kernel, "estimates": self.estimates or {}}


def read_sensor_file(path: str | Path) -> dict[str, Any]:
    """Attributes of the sensor in a file, or of a shipped preset by its name.

    Raises:
        InputError: there is no such file or preset, or it holds no sensor.
    """
    path = find_config(path, "sensors", "sensor")
    numbers = checked_config(_SensorNumbers, read_config(path, "sensor"), path, "sensor")
    if (numbers.statistics is None) == (numbers.maps is None):
        raise InputError(f"{path}: a sensor needs either maps (an NPZ beside it) or statistics and shape")
    if numbers.statistics is None:
        maps = path.with_name(str(numbers.maps))
        return numbers.attributes | _maps(maps, read_maps(maps, _MAPS))
    if numbers.shape is None:
        raise InputError(f"{path}: statistics also need the shape of the array, as [rows, columns]")
    pde, dark = numbers.statistics.draw(numbers.shape, torch.Generator().manual_seed(numbers.seed))
    return numbers.attributes | {"pde": pde, "dark_count_rate": dark, "measured": False}


def write_sensor_file(path: Path, attributes: Mapping[str, Any], further: Mapping[str, NDArray[Any]]) -> None:
    """Writes a sensor's numbers to `path`, and its maps, with `further` ones (H, W), to the NPZ of the same stem."""
    maps = {name: attributes[name].cpu().numpy() for name in _MAPS if attributes[name] is not None}
    numbers = _SensorNumbers(
        **{name: value for name, value in attributes.items() if name in NUMBERS},
        crosstalk=[[float(f"{value:.7g}") for value in row] for row in attributes["crosstalk"].tolist()],
        estimates=dict(attributes["estimates"]) or None,
        maps=path.with_suffix(".npz").name,
    )
    with whole_file(path.with_suffix(".npz")) as partial:
        np.savez_compressed(partial, **{**further, **maps})
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(numbers.model_dump(mode="json", exclude_none=True), sort_keys=False))


def attributes_of(path: Path, numbers: Mapping[str, Any], maps: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Attributes of the sensor with these numbers (those of `NUMBERS`) and maps, crosstalk among them, of a file.

    Raises:
        InputError: one of them is no sensor's.
    """
    kernel = np.asarray(maps["crosstalk"], np.float64).tolist()
    settled = checked_config(_SensorNumbers, {**numbers, "crosstalk": kernel}, path, "sensor")
    return settled.attributes | _maps(path, maps)


def _maps(path: Path, found: Mapping[str, NDArray[Any]]) -> dict[str, Tensor | None]:
    if missing := {"pde", "dark_count_rate"} - set(found):
        raise InputError(f"{path}: no {' and no '.join(sorted(missing))}; expected pde and dark_count_rate")
    with np.errstate(over="ignore"):  # what is too large is refused below
        pde, dark = (torch.from_numpy(found[name].astype(np.float32)) for name in ("pde", "dark_count_rate"))
    mask = torch.from_numpy(found["pixel_mask"].astype(np.int32)) if "pixel_mask" in found else None
    _check_maps(path, pde, dark, mask)
    return {"pde": pde, "dark_count_rate": dark, "pixel_mask": mask}


def _check_maps(path: Path, pde: Tensor, dark: Tensor, mask: Tensor | None) -> None:
    if {pde.shape} != {one.shape for one in (pde, dark, mask) if one is not None}:
        shapes = f"pde {tuple(pde.shape)}, dark_count_rate {tuple(dark.shape)}"
        raise InputError(f"{path}: {shapes}; these and a pixel_mask must be of one shape (H, W)")
    if not bool(((pde > 0) & (pde <= 1)).all()):
        raise InputError(f"{path}: pde has values that are not above 0 and up to 1; mark dead pixels in pixel_mask")
    if not bool(((dark >= 0) & dark.isfinite()).all()):
        raise InputError(f"{path}: dark_count_rate has values that are negative or not finite; give counts/s")
