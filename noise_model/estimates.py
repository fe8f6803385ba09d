"""Estimates: numbers with their uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number of a sensor with its 95 % interval, and whether it was measured.

    Attributes:
        value: in SI units.
        low, high: 95 % interval.
        measured: the data decided it; else it is assumed.
        remark: how it was measured, or the exposure that would be needed.
    """

    value: float
    low: float
    high: float
    measured: bool = True
    remark: str = ""
