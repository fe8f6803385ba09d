"""Progress: how long work reports how far it is."""

from collections.abc import Callable
from typing import TypeAlias

#: A function that is called with the amount of work done and the amount in all, in any unit.
Report: TypeAlias = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Ignores the progress."""
