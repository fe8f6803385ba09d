"""Sensors and exposures: the maps and numbers of a SPAD array, and how it was exposed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from noise_model.estimates import Estimate
from noise_model.files import at_home
from noise_model.sensor_file import read_sensor_file, write_sensor_file

#: Bits of `pixel_mask`, as in NeXus NXdetector.
GAP, DEAD, UNDER_RESPONDING, HOT, NOISY, USER = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 8

#: Places within a pixel along each side: the counts of a moving array can be kept apart by the place that the centre of
#: the pixel was in.
PLACES = 4

_Cycles = TypeVar("_Cycles", int, Tensor)


@dataclass(frozen=True)
class Exposure:
    """The exposure of one image: `cycles` hardware frames (N) are summed, each live for `count_time` seconds (T).

    Attributes:
        count_time: s.
        cycles: of all pixels, or a map (H, W) of whole numbers, 0 where a pixel never looked; (B, H, W) where images
            have maps of their own.
    """

    count_time: float
    cycles: int | Tensor = 1

    @property
    def map(self) -> Tensor | None:
        """The frames of each pixel, (H, W) or (B, H, W); None where one number is that of all."""
        return self.cycles if isinstance(self.cycles, Tensor) and self.cycles.ndim > 1 else None

    @property
    def most_cycles(self) -> int:
        """The largest number of frames of any pixel."""
        return int(self.cycles.max()) if isinstance(self.cycles, Tensor) else self.cycles

    @property
    def least_cycles(self) -> int:
        """The smallest number of frames of a pixel that looked; 0 where none did."""
        if not isinstance(self.cycles, Tensor):
            return self.cycles
        looked = self.cycles[self.cycles > 0]
        return int(looked.min()) if looked.numel() else 0

    @property
    def frames(self) -> str:
        """The number of frames in words: of all pixels, or from the fewest of a pixel that looked to the most."""
        few, most = self.least_cycles, self.most_cycles
        return f"{most}" if few == most else f"{few} to {most}"

    def parts(self) -> list[tuple["Exposure", Tensor]]:
        """Exposures of one number of frames each that add up to a map's, and which pixels (H, W) each of them is of."""
        cycles = self.map
        if cycles is None:
            raise ValueError("parts of an exposure whose pixels all have the same number of frames")
        if bool((cycles == cycles.max()).all()) and self.most_cycles > 0:
            return [(replace(self, cycles=self.most_cycles), torch.ones_like(cycles))]
        powers = [1 << bit for bit in range(self.most_cycles.bit_length())]
        return [(replace(self, cycles=power), (cycles & power) // power) for power in powers if (cycles & power).any()]


@dataclass(frozen=True)
class Sensor:
    """A SPAD array: its maps and numbers.

    Maps are float32 tensors (H, W), or (B, H, W) for a batch of sensors with equal numbers.

    Attributes:
        pde: photon detection efficiency, 0 to 1.
        dark_count_rate: counts/s (cps).
        dead_time: hold-off after an avalanche, s; 0 for a binary array.
        afterpulse_probability: chance that an avalanche fills a trap, which fires the pixel again.
        trap_lifetime: mean release delay of that trap, s.
        crosstalk: (k, k), k odd, centre 0: chance that an avalanche in the centre fires each neighbour.
        counter_bits: bits of the in-pixel counter; 1 is a binary array.
        counter_wraps: whether the counter starts again at 0 when full; else it stays at its maximum.
        pixel_mask: (H, W) int32, NXdetector bits; 0 is a good pixel.
        measured: whether the maps are those of one array; else they are drawn to be typical of its kind.
        estimates: numbers that calibration found, with intervals, by name; empty for a sensor that is not calibrated.
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

    def __repr__(self) -> str:
        kind = "binary" if self.binary else f"counting, {self.counter_bits} bit, dead time {self.dead_time:.3g} s"
        return f"<Sensor {self.name}: {self.shape[0]} x {self.shape[1]} pixels, {kind}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the array."""
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
        """Neighbours that an avalanche can fire: rows down, columns right, and the chance of each."""
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
        """Good pixels (H, W), bool: those whose mask is clear."""
        if self.pixel_mask is None:
            return torch.ones(self.shape, dtype=torch.bool, device=self.pde.device)
        return self.pixel_mask == 0

    def firing_rate(self, photon_rate: Tensor) -> Tensor:
        """Rate (..., H, W) at which armed pixels fire, counts/s.

        Photons detected by a pixel of mean PDE are spread by the PDE map; dark counts are added.
        """
        return photon_rate * (self.pde / self.mean_pde) + self.dark_count_rate

    def photon_rate(self, firing_rate: Tensor) -> Tensor:
        """Photon rate (..., H, W) that a firing rate stands for, counts/s; negative where it is below the dark rate."""
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

    def saturation_value(self, cycles: _Cycles) -> _Cycles:
        """The largest count an image summed from `cycles` frames can hold, of each pixel where they are a map."""
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

    def exposed_for(self, count_time: float) -> Self:
        """The same array in the mode that frames of `count_time` s put it in.

        A counting array whose frame is no longer than its dead time cannot count beyond one: it is a binary array.
        """
        if self.binary or count_time > self.dead_time:
            return self
        return replace(self, counter_bits=1, dead_time=0.0, counter_wraps=False)

    def cropped(self, rows: slice, columns: slice) -> Self:
        """A region of the same array, with maps of its own."""
        mask = None if self.pixel_mask is None else self.pixel_mask[rows, columns].clone()
        pde, dark = self.pde[..., rows, columns].clone(), self.dark_count_rate[..., rows, columns].clone()
        return replace(self, pde=pde, dark_count_rate=dark, pixel_mask=mask)

    def uniform(self, shape: tuple[int, int]) -> Self:
        """An array of `shape` with the same numbers, whose pixels are all alike: mean PDE, median dark rate."""
        pde, dark = float(self.pde.mean()), float(self.dark_count_rate.median())
        maps = torch.full(shape, pde), torch.full(shape, dark)
        return replace(self, pde=maps[0], dark_count_rate=maps[1], pixel_mask=None)

    def save(self, path: str | Path, further: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> None:
        """Writes the numbers to `path` (YAML) and the maps to an NPZ file of the same stem beside it.

        Args:
            further: maps (H, W) to keep with the sensor's own, such as their intervals; `load` does not read them.
        """
        write_sensor_file(at_home(path), vars(self), further)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a sensor file, or a shipped preset by its name (`spc3`, `spad512`).

        Raises:
            InputError: no such file or preset, or its content is not a sensor.
        """
        return cls(**read_sensor_file(path))
