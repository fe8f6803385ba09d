"""Numbers with their uncertainty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number of a sensor, and how sure it is.

    Attributes:
        value: in SI units.
        low, high: 95 % interval.
        measured: the data decided it; else it is assumed.
        remark: how it was got, or the exposure that would decide it.
    """

    value: float
    low: float
    high: float
    measured: bool = True
    remark: str = ""
