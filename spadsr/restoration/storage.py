"""How the arrays of a result are stored: to as many bits as their uncertainty warrants, and compressed.

Rounded numbers stay float32 in their unit, so that every program reads them right, without a scale factor that some do
not apply: only the last bits, which say nothing, are zeros, which compression makes vanish.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from noise_model.arrays import Picture
from noise_model.errors import InputError

Compression: TypeAlias = Literal["none", "gzip", "lz4"]

#: Arrays of a result that may be left out; the rate never is.
RATE, OTHERS = "rate", ("uncertainty", "residual")

#: What is said of each array that is rounded.
ROUNDING = {
    "data": "to a multiple of a power of two: off by 0.5 % of the uncertainty at most",
    "uncertainty": "to eight significant binary digits: off by 0.4 % at most",
    "residual": "to a multiple of 1/128: off by 0.4 % of a standard deviation at most",
}

_STEPS = 100  # in an uncertainty, at least
_RESIDUAL_STEPS = 128.0
_EXPONENT, _KEPT, _HALF = 0x7F800000, -1 << 16, 1 << 15  # bits of a float32
_SMALLER = {"none": 1.0, "gzip": 3.0, "lz4": 3.0}  # where rounded
_LITTLE_SMALLER = 1.2  # where not
_BESIDE = 1 << 17  # bytes of a result that has no images


@dataclass(frozen=True)
class Storage:
    """How the arrays of a result are stored.

    Attributes:
        compression: gzip, which every HDF5 program reads; lz4, which is faster and needs a plugin; or none.
        exact: every bit of the network's answer, which takes three times the room.
        keep: what there is beside the rate.

    Raises:
        InputError: compression or an array of another name.
    """

    compression: Compression = "gzip"
    exact: bool = False
    keep: frozenset[str] = frozenset(OTHERS)

    def __post_init__(self) -> None:
        if self.compression not in get_args(Compression):
            raise InputError(f"compression {self.compression}: expected gzip, lz4 or none", "compression")
        for name in self.keep:
            if name not in OTHERS:
                known = f"{RATE}, {', '.join(OTHERS)}"
                raise InputError(f"keep {name}: no array of a result; choose from {known}", "keep")

    @classmethod
    def keeping(cls, names: Sequence[str], compression: Compression = "gzip", exact: bool = False) -> "Storage":
        """The storage of arrays that are named, the rate among them or not.

        Raises:
            InputError: there is no such array, or no such compression.
        """
        return cls(compression, exact, frozenset(names) - {RATE})

    @property
    def told(self) -> dict[str, Any]:
        """What is unusual about it, for the provenance of a result."""
        left_out = sorted(set(OTHERS) - self.keep)
        return ({"float32": True} if self.exact else {}) | ({"left_out": left_out} if left_out else {})

    def result_bytes(self, shape: tuple[int, int, int], scale: int) -> int:
        """About the bytes of the result of T images of H x W native pixels, (T, H, W)."""
        images, rows, columns = shape
        smaller = _SMALLER[self.compression] if not self.exact or self.compression == "none" else _LITTLE_SMALLER
        arrays = 4 * (scale**2 * (1 + ("uncertainty" in self.keep)) + ("residual" in self.keep))
        return int(images * (math.ceil(rows * columns * arrays / smaller) + 48)) + _BESIDE


def rounded_uncertainty(uncertainty: Picture) -> Picture:
    """Uncertainties (float32) to eight significant binary digits; what is not finite stays."""
    bits = np.ascontiguousarray(uncertainty, np.float32).view(np.int32)
    return np.where(np.isfinite(uncertainty), ((bits + _HALF) & _KEPT).view(np.float32), uncertainty)


def rounded_rate(rate: Picture, uncertainty: Picture) -> Picture:
    """Rates (float32) to a multiple of the largest power of two that is at most a hundredth of their uncertainty.

    Rounding again changes nothing. Where the uncertainty says nothing (0, or not finite) rates stay as they are.
    """
    step = (uncertainty * np.float32(1 / _STEPS)).view(np.int32)
    step &= _EXPONENT
    steps = step.view(np.float32)
    with np.errstate(all="ignore"):
        found = np.divide(rate, steps)
        np.rint(found, out=found)
        found *= steps
    return np.where(np.isfinite(found), found, rate)


def rounded_residual(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Residuals (float32) to a multiple of 1/128."""
    steps = np.float32(_RESIDUAL_STEPS)
    return np.asarray(np.rint(residual * steps) / steps)
