"""Estimates: numbers with their uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number that describes a sensor, with its uncertainty.

    Attributes:
        value: in SI units.
        low, high: 95 % interval.
        measured: whether the data decide it; else it is assumed.
        remark: how it was measured, or which recording would decide it.
    """

    value: float
    low: float
    high: float
    measured: bool = True
    remark: str = ""
