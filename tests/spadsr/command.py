"""What a command of the package said."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str
