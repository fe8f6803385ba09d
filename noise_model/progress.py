"""Progress of long work, reported to whoever wants to know."""

from collections.abc import Callable
from typing import TypeAlias

#: Is called with how much is done and how much there is to do, in any unit.
Report: TypeAlias = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Ignores the progress."""
