"""How long work tells how far it is."""

from collections.abc import Callable
from typing import TypeAlias

#: Is called with what is done and how much there is to do, in whatever unit.
Report: TypeAlias = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Tells nobody."""
