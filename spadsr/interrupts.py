"""Ctrl-C and SIGTERM: requests to stop at the next good moment, instead of at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_HEEDED = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; a batch system that wants its machine back


class Interrupted(Exception):  # noqa: N818  # not an error
    """Work was stopped by a signal and can go on later: the message is one line that says how far it came.

    A note (`add_note`) may say how to go on.

    Attributes:
        exit_code: 128 and the number of the signal, as shells report it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@contextmanager
def noted_signals() -> Iterator[Callable[[], int]]:
    """Yields a function that tells the number of the last signal that asked to stop, 0 if there was none."""
    noted = [0]

    def note(number: int, frame: FrameType | None) -> None:
        noted[0] = number

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield lambda: 0
        return
    previous = {number: signal.signal(number, note) for number in _HEEDED}
    try:
        yield lambda: noted[0]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
