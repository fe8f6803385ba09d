"""The pages that look on: each gets the newest images as fast as it draws them, and one of them controls the camera."""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from noise_model.errors import InputError
from spadsr.live.flow import LARGEST_WINDOW, PATIENCE, Flow
from spadsr.live.message import Kind, Message

#: The most bytes a page may send at once, all it says fits into far less; the most orders that may wait.
LARGEST_REQUEST, MOST_WAITING = 1 << 16, 32
#: s between two reports of the state to each page; the most images/s of one kind that a page may ask for.
STATE_PERIOD, FASTEST = 0.25, 120.0

#: Orders that change nothing for others: any page may give them.
FREE = ("snapshot",)

#: What comes of texts that no page says, and of too many orders.
_NONSENSE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, asyncio.QueueFull)

#: Carries out what a page orders, and returns what it should know.
Command = Callable[[str, dict[str, Any]], dict[str, Any]]


class Viewers:
    """All pages that look on.

    Args:
        command: carries out an order of the page that controls, in a thread of its own, one at a time.
        state: the state that every page is told four times a second; in a thread of its own.
        most_on_way: the most images on their way to one page.

    Attributes:
        newest: the newest image of each kind.
        pages: those that look on.
        controller: the page that controls.
        drawn: called with every image that a page says it has drawn, and how many s after it was taken.
    """

    def __init__(
        self, command: Command, state: Callable[[], dict[str, Any]], most_on_way: int = LARGEST_WINDOW
    ) -> None:
        self._command, self._state, self._most = command, state, most_on_way
        # An order goes on when its page is closed, and the next waits for it; looking at the state waits for neither.
        self._ordering, self._looking = ThreadPoolExecutor(1, "orders"), ThreadPoolExecutor(1, "state")
        self._told: dict[str, Any] = {}
        self._orders = 0
        self.newest: dict[Kind, Message] = {}
        self.pages: list[Viewer] = []
        self.controller: Viewer | None = None
        self.drawn: Callable[[Kind, float], None] = lambda kind, age: None

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
        page = Viewer(self, socket, Flow(most=self._most))
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
        if page is not self.controller and name not in FREE:
            raise InputError("another page controls the camera; take the control first")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._ordering, self._command, name, arguments)
        finally:
            self._orders += 1
            await self._look()

    async def look(self) -> None:
        """Looks at the state again and again, once for all pages."""
        while True:
            if self.pages:
                await self._look()
            await asyncio.sleep(STATE_PERIOD)

    async def _look(self) -> None:
        orders = self._orders
        try:
            told = await asyncio.get_running_loop().run_in_executor(self._looking, self._state)
        except Exception as error:  # images go on, whatever a driver says when it is asked
            told = {**self._told, "banners": [{"bad": True, "line": f"{type(error).__name__}: {error}"}]}
        if orders == self._orders:  # else it may be of the time before
            self._told = told

    def state_for(self, page: "Viewer") -> dict[str, Any]:
        """The state, and the page's part in it."""
        mine = {"sent": page.flow.sent, "drawn": page.flow.drawn, "dropped": page.flow.dropped}
        return {
            "state": self._told,
            "page": {**mine, "window": page.flow.window, "controls": page is self.controller, "pages": len(self.pages)},
        }

    def close(self) -> None:
        """Takes no more orders."""
        self._ordering.shutdown(wait=False, cancel_futures=True)
        self._looking.shutdown(wait=False, cancel_futures=True)


class Viewer:
    """One page that looks on, for as long as it is open.

    Attributes:
        wake: set when there may be something to send.
        flow: the images on their way to the page.
    """

    def __init__(self, viewers: Viewers, socket: WebSocket, flow: Flow) -> None:
        self._viewers, self._socket, self.flow = viewers, socket, flow
        self._orders: asyncio.Queue[tuple[object, str, dict[str, Any]]] = asyncio.Queue(MOST_WAITING)
        self.wake = asyncio.Event()
        self._hidden = False
        self._period = {Kind.RECORDED: 0.0, Kind.RESTORED: 0.0}
        self._sent: dict[Kind, Message] = {}
        self._sent_at = {Kind.RECORDED: 0.0, Kind.RESTORED: 0.0}
        self._sending = asyncio.Lock()

    async def serve(self) -> None:
        """Sends images and states, and hears the page, until one of these ends."""
        works = (self._hear(), self._obey(), self._show(), self._tell(), self._watch())
        tasks = [asyncio.create_task(work) for work in works]
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
                    async with asyncio.timeout(1):
                        await self._socket.close()

    async def _hear(self) -> None:
        """Hears the page, also while an order of it is carried out; nonsense ends the connection."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                said = json.loads(message["text"])
                name, number = str(said.pop("do")), said.pop("id", None)
                if name == "drawn":
                    self.flow.acknowledge(int(said["serial"]), bool(said["drawn"]), time.monotonic())
                    if said["drawn"] and "age" in said:
                        self._viewers.drawn(Kind(said["kind"]), float(said["age"]))
                    self.wake.set()
                elif name == "look":
                    self._look(said)
                else:
                    self._orders.put_nowait((number, name, said))
            except _NONSENSE:
                return

    def _look(self, wishes: dict[str, Any]) -> None:
        """How fast the page wants images, and whether anybody sees it."""
        self._hidden = bool(wishes.get("hidden", self._hidden))
        for kind in Kind:
            rate = wishes.get(kind.name.lower())
            if isinstance(rate, int | float) and 0 < rate <= FASTEST:
                self._period[kind] = 1 / rate
        self.wake.set()

    async def _obey(self) -> None:
        """Has the page's orders carried out, one after the other."""
        while True:
            number, name, arguments = await self._orders.get()
            try:
                answer = {"answer": number, **await self._viewers.order(self, name, arguments)}
            except InputError as error:
                answer = {"answer": number, "error": str(error)}
            await self._send_state()
            await self._send(json.dumps(answer))

    async def _show(self) -> None:
        """Sends the newest images, each once, the kind that has waited longest first."""
        while True:
            self.wake.clear()
            delay = await self._send_newest()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):  # in Python 3.11, `wait_for` can swallow that the task is cancelled
                    await self.wake.wait()

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
            await self._send_state()
            await asyncio.sleep(STATE_PERIOD)

    async def _send_state(self) -> None:
        if (told := self._viewers.state_for(self))["state"]:
            await self._send(json.dumps(told))

    async def _watch(self) -> None:
        """Ends when the page has not acknowledged an image for too long."""
        while not self.flow.overdue(time.monotonic()):
            await asyncio.sleep(0.5)

    async def _send(self, what: str | bytes) -> None:
        """Sends one message, or raises TimeoutError where the page takes nothing for too long."""
        async with self._sending:
            async with asyncio.timeout(PATIENCE):
                await (self._socket.send_text(what) if isinstance(what, str) else self._socket.send_bytes(what))
