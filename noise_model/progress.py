"""Reports of progress from work that takes long."""

from collections.abc import Callable
from typing import TypeAlias

#: Called with how much is done and how much there is to do, in the same unit.
Report: TypeAlias = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """A report that does nothing."""
