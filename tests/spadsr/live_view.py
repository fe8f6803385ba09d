"""Starting a live view as a user does, and taking part in it from Python."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection, connect

from hardware.captures.writer import CaptureWriter
from hardware.settings import Settings
from spadsr.live.message import HEADER, Kind

#: s that a live view may take to start, on a busy machine.
PATIENCE = 150.0


#: Rows and columns of the numbered recording.
SHAPE = (64, 32)


def counts_of(image: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """The counts of one image of a numbered recording: they follow from its number."""
    return ((np.arange(shape[0] * shape[1]) * 7 + image) % 997).astype(np.uint16).reshape(shape)


def numbered_recording(path: Path, images: int = 500, shape: tuple[int, int] = SHAPE) -> Path:
    """Writes a recording of 1,000 images/s."""
    with CaptureWriter(path, shape, np.uint16, Settings(1e-5, counter_bits=16, frame_time=1e-3)) as file:
        file.append(np.stack([counts_of(image, shape) for image in range(images)]))
    return path


@dataclass
class Running:
    """A live view that runs.

    Attributes:
        process: the command.
        url: the printed address, with the token.
    """

    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        match = re.search(r":(\d+)/", self.url)
        assert match is not None
        return int(match[1])

    @property
    def token(self) -> str:
        return self.url.partition("token=")[2]


@contextmanager
def live_view(folder: Path, camera: str, *options: str) -> Iterator[Running]:
    """`spadsr live`, ended as by a job system."""
    command = [sys.executable, "-m", "spadsr", "live", "--camera", camera, "--port", "0", "--no-browser"]
    process = subprocess.Popen([*command, "-o", str(folder), *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), url
        yield Running(process, url)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        process.communicate()


def children(pid: int) -> list[int]:
    """Processes that another one started to restore."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in words:
            found.append(int(process.name))
    return found


def memory(pid: int) -> float:
    """MB that a process has in memory."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


@dataclass
class Image:
    """A message with an image, unpacked by the rules of docs/live.md."""

    kind: Kind
    serial: int
    last: int
    host_time: float
    images: int
    cycles: int
    unit: float
    first: NDArray[Any]
    second: NDArray[Any]


def unpacked(data: bytes) -> Image:
    """The image in a binary message."""
    magic, version, kind, stored, _, serial, last, host_time, rows, columns, images, cycles, unit, _ = HEADER.unpack(
        data[: HEADER.size]
    )
    assert (magic, version) == (b"SPAD", 1)
    first_type = np.dtype(["<u2", "<u4", "<f2"][stored])
    pixels, at = rows * columns, HEADER.size + rows * columns * first_type.itemsize
    first = np.frombuffer(data, first_type, pixels, HEADER.size).reshape(rows, columns)
    second = np.frombuffer(data, "<f2", pixels, at).reshape(rows, columns)
    return Image(Kind(kind), serial, last, host_time, images, cycles, unit, first, second)


class Client:
    """A program that looks on, as a page does.

    Args:
        origin: of the page; None for a program that says none.
        port: of a line to the server; None for the server's own.
    """

    def __init__(self, running: Running, origin: str | None = None, port: int | None = None) -> None:
        self.cookie = {"Cookie": f"spadsr_live_{running.port}={running.token}"}
        url, headers = f"ws://127.0.0.1:{port or running.port}/images", self.cookie
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(url, additional_headers=headers, origin=origin, max_size=None, ping_interval=None, open_timeout=60)
        )
        self.state: dict[str, Any] = {}
        self.page: dict[str, Any] = {}
        self.answers: dict[object, dict[str, Any]] = {}
        self._numbers = 0
        self._kept: list[Image] = []  # that came with an answer

    def image(
        self, kind: Kind | None = None, holds: Callable[[Image], bool] = lambda image: True, *, drawn: bool = True
    ) -> Image:
        """The next image of that kind for which `holds` does, all acknowledged."""
        end = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"no image of kind {kind} within {PATIENCE:g} s; {self.state}"
            if not self._kept:
                self._take(self._next(), drawn)
            while self._kept:
                image = self._kept.pop(0)
                if kind in (None, image.kind) and holds(image):
                    return image

    def arrived(self) -> bool:
        """Whether a message waits."""
        try:
            self._take(self._next(0))
        except TimeoutError:
            return bool(self._kept)
        return bool(self._kept)

    def order(self, order: str, /, **arguments: Any) -> dict[str, Any]:
        """Orders something and waits for the answer."""
        self._numbers += 1
        number, self._kept = self._numbers, []
        self.say({"do": order, "id": number, **arguments})
        end = time.monotonic() + PATIENCE
        while number not in self.answers:
            self._take(self._next())
            assert time.monotonic() < end, f"{order}: no answer within {PATIENCE:g} s"
        return self.answers[number]

    def wait(self, condition: str, holds: Any) -> dict[str, Any]:
        """Waits until a state fulfils `holds`; `condition` says what it is."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._take(self._next())
            self._kept.clear()
            if self.state and holds(self.state, self.page):
                return self.state
        raise AssertionError(f"{condition}: not within {PATIENCE:g} s; {self.state}")

    def say(self, what: dict[str, Any]) -> None:
        self.socket.send(json.dumps(what))

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _take(self, said: str | bytes, drawn: bool = True) -> None:
        if isinstance(said, bytes):
            self._kept.append(unpacked(said))
            if drawn:
                self.say({"do": "drawn", "serial": self._kept[-1].serial, "drawn": True})

    def _next(self, patience: float = PATIENCE) -> str | bytes:
        said = self.socket.recv(timeout=patience)
        if isinstance(said, str):
            heard = json.loads(said)
            if "state" in heard:
                self.state, self.page = heard["state"], heard["page"]
            else:
                self.answers[heard["answer"]] = heard
        return said
