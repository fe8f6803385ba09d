"""The pretend SPAD512 in a thread of its own, and ways in which it misbehaves."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from hardware.cameras.spad512.emulator import Server


@contextmanager
def serving(server: Server) -> Iterator[int]:
    """Yields the port that `server` serves on."""
    started, stop = threading.Event(), []
    port: list[int] = []

    def ready(given: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        stop.append((asyncio.get_running_loop(), task))
        port.append(given)
        started.set()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(server.serve(0, ready))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield port[0]
    finally:
        for loop, task in stop:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        assert not thread.is_alive()


class Known(Server):
    """Sends counts that are given, (n, 512, 512) of at most 2^depth - 1, over and over, and does not wait."""

    def __init__(self, counts: NDArray[np.int32]) -> None:
        super().__init__()
        self.counts, self.commands = counts, list[str]()

    def images(self, depth: int, exposure: float, images: int) -> Iterator[NDArray[np.int32]]:
        for start in range(0, images, len(self.counts)):
            yield self.counts[: images - start]

    async def answer(self, command: str) -> AsyncIterator[bytes]:
        self.commands.append(command)
        async for part in super().answer(command):
            yield part


class Spoilt(Known):
    """After `sent` bytes of pixels: sends `then`, and stalls, hangs up, or goes on for ever."""

    def __init__(self, counts: NDArray[np.int32], sent: int, then: bytes = b"", end: str = "stall") -> None:
        super().__init__(counts)
        self.sent, self.then, self.end = sent, then, end

    async def pixels(self, values: list[str]) -> AsyncIterator[bytes]:
        whole = b"".join([part async for part in super().pixels(values)])
        yield whole[: self.sent] + self.then
        while self.end == "endless":
            yield bytes(1 << 16)
        if self.end == "cut":
            raise ConnectionResetError
        if self.end == "drip":
            while True:
                yield b"\0"
                await asyncio.sleep(0.01)
        if self.end == "stall":
            await asyncio.sleep(60)


class Babbling(Server):
    """Greets, or answers a command, with given texts, `pause` s apart, the last one `for_ever`."""

    def __init__(self, texts: dict[str, list[bytes]], pause: float = 0.0, for_ever: bool = False) -> None:
        super().__init__()
        self.texts, self.pause, self.for_ever = texts, pause, for_ever

    async def greeting(self) -> AsyncIterator[bytes]:
        async for part in self.said("greeting", super().greeting()):
            yield part

    async def answer(self, command: str) -> AsyncIterator[bytes]:
        async for part in self.said(command, super().answer(command)):
            yield part

    async def said(self, to: str, usual: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if to not in self.texts:
            async for part in usual:
                yield part
        for text in self.texts.get(to, []):
            yield text
            await asyncio.sleep(self.pause)
        while self.for_ever and self.texts.get(to):
            yield self.texts[to][-1]
            await asyncio.sleep(self.pause)
