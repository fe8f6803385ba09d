"""What pages order, by name."""

from collections.abc import Callable
from typing import Any

from noise_model.errors import InputError
from spadsr.live.live_session import LiveSession


class Orders:
    """Carries out the orders of pages.

    Args:
        live: what they are about.
    """

    def __init__(self, live: LiveSession) -> None:
        self._orders: dict[str, Callable[..., dict[str, Any] | None]] = {
            "start": live.session.start,
            "stop": live.session.stop,
            "expose": live.expose,
            "sum": live.sum_of,
            "restore": live.restore,
            "restart": live.restart,
            "correct": live.correct,
            "dark": live.take_dark,
            "find_hot": live.find_hot,
            "record": live.record,
            "end": live.end_recording,
            "play": live.play,
            "seek": live.seek,
            "resume": live.resume,
            "snapshot": live.take_snapshot,
        }

    def carry_out(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carries out one order of the page that controls; returns what it should know.

        Raises:
            InputError: there is no such order, it cannot be carried out, or an argument is not as expected.
        """
        if name not in self._orders:
            raise InputError(f"{name[:40]!r}: no such order")
        try:
            return self._orders[name](**arguments) or {}
        except InputError:
            raise
        except Exception as error:  # whatever a page or a driver brings: the page says it
            raise InputError(f"{name}: {error or type(error).__name__}") from error
