"""The conversation with Pi Imaging's program, which owns a SPAD512 and serves one client on a TCP port.

Commands and replies are ASCII text without a terminator: a short silence ends a reply. Pixels are a known number of
bytes, followed by `DONE`. Nothing here waits or allocates without bound, whatever the other end sends.
"""

import socket
import time
from collections.abc import Callable

from hardware.camera import CameraError

#: The longest waits in s: for a connection or a reply, and for the breakdown calibration at the beginning.
PATIENCE, CALIBRATION = 10.0, 120.0
#: s: the silence that ends a text, and the time between two looks whether to stop.
QUIET, SLICE = 0.25, 0.1
#: The most bytes of a text reply.
LONGEST_TEXT = 8192
#: Bytes/s: pixels that come more slowly are an error.
SLOWEST = 1 << 20

DONE, ERROR = b"DONE", b"ERROR"

_CALIBRATING = ("calibration process will start", "calibration process has started")
_CALIBRATED = "breakdown is around"

_INFORMATION = (
    "master_serial",
    "slave_serial",
    "software",
    "firmware",
    "hardware",
    "flavour",
    "intensity",
    "gated",
    "flim",
)


class Link:
    """A connection to the program.

    Raises:
        CameraError: nothing listens at that address, or something other than the SPAD512 program.
    """

    def __init__(self, host: str, port: int) -> None:
        self.where = f"SPAD512 at {host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout=PATIENCE)
        except (OSError, OverflowError, UnicodeError) as error:
            raise CameraError(
                f"{self.where}: {error}; start Pi Imaging's program and switch its command server on (port 9999 or"
                " 9998), and close other clients: it serves one"
            ) from error
        try:
            self.banner, self.information = self._greet()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()

    def ask(self, command: str, patience: float = PATIENCE) -> str:
        """The text reply to `command`.

        Raises:
            CameraError: there is no reply within `patience` s, or it is an error.
        """
        self.send(command)
        reply = self._text(patience).removesuffix(DONE.decode()).strip()
        if ERROR.decode() in reply:
            raise CameraError(f"{self.where}: refuses {command}: {readable(reply)}")
        return reply

    def send(self, command: str) -> None:
        """Sends a command after the replies to those before.

        Raises:
            CameraError: bytes came that were not asked for, or the connection is lost.
        """
        unasked = self._receive(bytearray(LONGEST_TEXT), 0.0)
        if unasked:
            raise self._failure(f"{unasked} bytes or more that nobody asked for")
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.sendall(command.encode("ascii"))
        except OSError as error:
            raise self._lost(error) from error

    def fill(self, view: memoryview, patience: float, stopped: Callable[[], bool]) -> bool:
        """Fills `view` with pixels. Returns False if `stopped()`, which is called every SLICE s, is true before.

        No byte is waited for longer than `patience` s, and all of them no longer than that and what SLOWEST allows.

        Raises:
            CameraError: the program sent ERROR, stalls, or hung up.
        """
        begun = heard = time.monotonic()
        deadline, done = begun + patience + len(view) / SLOWEST, 0
        while done < len(view):
            if stopped():
                return False
            received = self._receive(view[done:], SLICE)
            now = time.monotonic()
            done, heard = done + received, now if received else heard
            if now - heard > QUIET and bytes(view[max(0, done - len(ERROR)) : done]) == ERROR:
                raise self._failure(f"reports an error: {readable(_last_words(view[:done]))}")
            if now - heard > patience or now > deadline:
                raise self._failure(f"{done} of {len(view)} bytes in {now - begun:.1f} s, then stalled")
        return True

    def end_of_pixels(self, patience: float, stopped: Callable[[], bool]) -> bool:
        """Reads the `DONE` after the pixels. Returns False if `stopped()` is true before.

        Raises:
            CameraError: something else came.
        """
        end = bytearray(len(DONE))
        if not self.fill(memoryview(end), patience, stopped):
            return False
        if end == DONE:
            return True
        if ERROR.startswith(end):
            raise self._failure("reports an error after the pixels")
        raise self._failure(f"sent {readable(bytes(end))} where {DONE.decode()} ends the pixels")

    def drained(self, patience: float) -> bool:
        """Throws away the reply under way. Returns whether it ended within `patience` s."""
        buffer, end, deadline = bytearray(1 << 16), b"", time.monotonic() + patience
        try:
            while time.monotonic() < deadline:
                received = self._receive(buffer, QUIET)
                if received == 0 and end.endswith(DONE):
                    return True
                end = (end + buffer[max(0, received - len(DONE)) : received])[-len(DONE) :]
        except CameraError:
            pass
        return False

    # Text

    def _greet(self) -> tuple[str, dict[str, str]]:
        banner = self._after_calibration(self._text(PATIENCE))
        reply = self.ask("D", CALIBRATION)
        if any(phrase in reply for phrase in _CALIBRATING):
            self._after_calibration(reply)
            reply = self.ask("D")
        lines = reply.splitlines()
        if len(lines) != len(_INFORMATION):
            raise self._failure(f"answers D with {len(lines)} lines, {readable(reply)}; expected {len(_INFORMATION)}")
        return banner, {name: readable(line) for name, line in zip(_INFORMATION, lines, strict=True)}

    def _after_calibration(self, text: str) -> str:
        """Returns `text` when the calibration that it may announce is over."""
        deadline, heard = time.monotonic() + CALIBRATION, text
        while any(phrase in heard for phrase in _CALIBRATING) and _CALIBRATED not in heard:
            heard += self._text(max(0.0, deadline - time.monotonic()))
            if len(heard) > LONGEST_TEXT:
                raise self._failure(f"more than {LONGEST_TEXT} bytes while it calibrates")
        return text

    def _text(self, patience: float) -> str:
        """The text that comes until a silence."""
        buffer, done, deadline = bytearray(LONGEST_TEXT), 0, time.monotonic() + patience
        while done < LONGEST_TEXT:
            left = deadline - time.monotonic()
            received = self._receive(memoryview(buffer)[done:], min(QUIET, max(left, 0.0)))
            done += received
            if done and not received:
                return buffer[:done].decode("latin-1")
            if left <= 0:
                raise self._failure(f"no whole reply within {patience:.0f} s")
        raise self._failure(f"a text of more than {LONGEST_TEXT} bytes")

    # Bytes

    def _receive(self, into: memoryview | bytearray, wait: float) -> int:
        """Receives bytes for `wait` s at most. Returns how many; 0 if none came."""
        try:
            self._socket.settimeout(wait)
            received = self._socket.recv_into(into)
        except (TimeoutError, BlockingIOError):
            return 0
        except OSError as error:
            raise self._lost(error) from error
        if received == 0:
            raise CameraError(f"{self.where}: hung up; is the program still running, and is this its only client?")
        return received

    def _failure(self, what: str) -> CameraError:
        return CameraError(f"{self.where}: {what}; restart the program if this goes on")

    def _lost(self, error: OSError) -> CameraError:
        return CameraError(f"{self.where}: connection lost ({error}); is the program still running?")


def readable(text: str | bytes) -> str:
    """The end of a text as one line of at most 120 printable characters."""
    plain = text.decode("latin-1") if isinstance(text, bytes) else text
    return "".join(letter if " " <= letter <= "~" else "?" for letter in plain.strip()[-120:])


def _last_words(received: memoryview) -> bytes:
    """The text at the end of received bytes, after the last one that is no text."""
    tail = bytes(received[-120:])
    first = max((i for i, byte in enumerate(tail) if not 32 <= byte < 127), default=-1) + 1
    return tail[first:]
