"""Requests to stop: Ctrl-C, SIGTERM of a batch system, SIGHUP of a terminal that is closed."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Those that this system has: Windows has no SIGHUP, and its own SIGBREAK.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

#: s within which two signals are one.
SAME = 0.5


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
def noted_signals(again: Callable[[int], None] = lambda number: None) -> Iterator[Callable[[], int]]:
    """Yields a function that tells the number of the last signal that asked to stop, 0 if there was none.

    Args:
        again: called with the number of each that follows the first after a while: programs that start others may
            hand one on that these get anyway.
    """
    noted, began = [0], [0.0]

    def note(number: int, frame: FrameType | None) -> None:
        if noted[0] and time.monotonic() - began[0] > SAME:
            again(number)
        began[0] = began[0] or time.monotonic()
        noted[0] = number

    with _handled(note):
        yield lambda: noted[0]


def stop_at_signals() -> Callable[[], int]:
    """Makes the first signal that asks to stop raise KeyboardInterrupt, and those that follow do nothing.

    So what cleans up after Ctrl-C does so after any of them, and is not interrupted by the next.

    Returns:
        A function that tells the number of that signal, 0 if there was none.
    """
    noted = [0]

    def stop(number: int, frame: FrameType | None) -> None:
        ignore_signals()
        noted[0] = number
        raise KeyboardInterrupt

    for number in _heeded():
        signal.signal(number, stop)
    return lambda: noted[0]


def ignore_signals() -> None:
    """Makes signals that ask to stop do nothing: for a process that another one ends, or that is ending."""
    for number in _heeded():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def ignored_signals() -> Iterator[None]:
    """Context in which processes are started that ignore requests to stop from the first moment on (not on Windows)."""
    with _handled(signal.SIG_IGN):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    previous = {number: signal.signal(number, handler) for number in _heeded()}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _heeded() -> list[signal.Signals]:
    """The signals to heed: none outside the main thread, which alone may; none that are ignored, as after nohup."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
