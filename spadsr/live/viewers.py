"""The pages that look on: each gets the newest images as fast as it draws them, and one of them controls the camera."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from noise_model.errors import InputError
from spadsr.live.flow import LARGEST_WINDOW, PATIENCE, Flow
from spadsr.live.message import Kind, Message

#: The most bytes a page may send at once; all it says fits into far less.
LARGEST_REQUEST = 1 << 16
#: s between two reports of the state to each page; the most images/s of one kind that a page may ask for.
STATE_PERIOD, FASTEST = 0.25, 120.0

#: Carries out what a page orders, and returns what it should know.
Command = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Viewers:
    """All pages that look on.

    Args:
        command: carries out an order of the page that controls.
        state: the state that every page is told four times a second.
        most_on_way: the most images on their way to one page.
    """

    def __init__(
        self, command: Command, state: Callable[[], dict[str, Any]], most_on_way: int = LARGEST_WINDOW
    ) -> None:
        self._command, self._state, self._most = command, state, most_on_way
        self._one_at_a_time = asyncio.Lock()
        self.newest: dict[Kind, Message] = {}
        self.pages: list[Viewer] = []
        self.controller: Viewer | None = None
        self._numbers = 0

    def publish(self, message: Message) -> None:
        """Makes an image the newest of its kind; in the server's thread."""
        self.newest[message.kind] = message
        for page in self.pages:
            page.wake.set()

    def forget(self, kind: Kind) -> None:
        """Sends no image of that kind until the next is published."""
        self.newest.pop(kind, None)

    async def welcome(self, socket: WebSocket) -> None:
        """Serves one page until it is closed or no longer answers."""
        await socket.accept()
        self._numbers += 1
        page = Viewer(self, socket, self._numbers, Flow(most=self._most))
        self.pages.append(page)
        self.controller = self.controller or page
        try:
            await page.serve()
        finally:
            self.pages.remove(page)
            if self.controller is page:
                self.controller = self.pages[0] if self.pages else None

    async def order(self, page: "Viewer", name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carries out an order of a page, one at a time. Raises InputError where it may not or cannot be done."""
        if name == "control":
            self.controller = page
            return {}
        if page is not self.controller:
            raise InputError("another page controls the camera; take the control first")
        async with self._one_at_a_time:
            return await self._command(name, arguments)

    def state_for(self, page: "Viewer") -> dict[str, Any]:
        """The state, and the page's part in it."""
        mine = {"sent": page.flow.sent, "drawn": page.flow.drawn, "dropped": page.flow.dropped}
        return {
            "state": self._state(),
            "page": {**mine, "window": page.flow.window, "controls": page is self.controller, "pages": len(self.pages)},
        }


class Viewer:
    """One page that looks on, for as long as it is open.

    Attributes:
        wake: set when there may be something to send.
        flow: the images on their way to the page.
    """

    def __init__(self, viewers: Viewers, socket: WebSocket, number: int, flow: Flow) -> None:
        self._viewers, self._socket, self.number, self.flow = viewers, socket, number, flow
        self.wake = asyncio.Event()
        self._hidden = False
        self._period = {Kind.RECORDED: 0.0, Kind.RESTORED: 0.0}
        self._sent: dict[Kind, Message] = {}
        self._sent_at = {Kind.RECORDED: 0.0, Kind.RESTORED: 0.0}
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        """Sends images and states, and hears the page, until one of these ends."""
        tasks = [asyncio.create_task(work) for work in (self._hear(), self._show(), self._tell(), self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (WebSocketDisconnect, RuntimeError, TimeoutError, OSError):
            pass  # closed, dropped, or no longer there
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(RuntimeError, OSError, TimeoutError):
                if self._socket.client_state is WebSocketState.CONNECTED:
                    await asyncio.wait_for(self._socket.close(), 1)

    async def _hear(self) -> None:
        while True:
            text = await self._socket.receive_text()
            try:
                said = json.loads(text)
                name, arguments = (
                    str(said["do"]),
                    {key: value for key, value in said.items() if key not in ("do", "id")},
                )
            except (ValueError, KeyError, TypeError, RecursionError):
                raise WebSocketDisconnect(1003) from None
            if name == "drawn":
                self.flow.acknowledge(int(arguments["serial"]), bool(arguments["drawn"]), time.monotonic())
                self.wake.set()
            elif name == "look":
                self._look(arguments)
            else:
                await self._answer(said.get("id"), name, arguments)

    def _look(self, wishes: dict[str, Any]) -> None:
        """How fast the page wants images, and whether anybody sees it."""
        self._hidden = bool(wishes.get("hidden", self._hidden))
        for kind in Kind:
            rate = wishes.get(kind.name.lower())
            if isinstance(rate, int | float) and 0 < rate <= FASTEST:
                self._period[kind] = 1 / rate
        self.wake.set()

    async def _answer(self, number: object, name: str, arguments: dict[str, Any]) -> None:
        try:
            answer = {"answer": number, **await self._viewers.order(self, name, arguments)}
        except InputError as error:
            answer = {"answer": number, "error": str(error)}
        await self._send(json.dumps(answer))

    async def _show(self) -> None:
        """Sends the newest images, each once, the kind that has waited longest first."""
        while True:
            self.wake.clear()
            delay = await self._send_newest()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), delay)

    async def _send_newest(self) -> float | None:
        """Sends what may be sent now; returns s until something may be sent without being woken up."""
        delay: float | None = None
        for kind in sorted(self._viewers.newest, key=lambda kind: self._sent_at[kind]):
            message, now = self._viewers.newest[kind], time.monotonic()
            if message is self._sent.get(kind) or self._hidden or not self.flow.open:
                continue
            early = self._sent_at[kind] + self._period[kind] - now
            if early > 0.001:
                delay = early if delay is None else min(delay, early)
                continue
            self._sent[kind], self._sent_at[kind] = message, now
            await self._send(message.packed(self.flow.send(now)))
        return delay

    async def _tell(self) -> None:
        while True:
            await self._send(json.dumps(self._viewers.state_for(self)))
            await asyncio.sleep(STATE_PERIOD)

    async def _watch(self) -> None:
        """Ends when the page has not acknowledged an image for too long."""
        while not self.flow.overdue(time.monotonic()):
            await asyncio.sleep(0.5)

    async def _send(self, what: str | bytes) -> None:
        """Sends one message, or raises TimeoutError where the page takes nothing for too long."""
        async with self._sending:
            sending = self._socket.send_text(what) if isinstance(what, str) else self._socket.send_bytes(what)
            await asyncio.wait_for(sending, PATIENCE)
