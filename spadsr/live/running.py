"""Running a live view: the camera and the server from their start until Ctrl-C."""

import asyncio
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hardware.cameras.registry import open_camera
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.interrupts import noted_signals
from spadsr.live.live_session import LiveOptions, LiveSession
from spadsr.live.message import Kind, Message
from spadsr.live.orders import Orders
from spadsr.live.server import address_of, application, listen, new_token, own_names, serve
from spadsr.live.state import State
from spadsr.live.viewers import Viewers

#: s between two looks whether Ctrl-C was pressed; that the server has to end.
LOOK_PERIOD, FAREWELL = 0.2, 5.0


@dataclass(frozen=True)
class Serving:
    """Where and to whom the page is served.

    Attributes:
        address: of the network interface; 127.0.0.1 is for this machine only.
        port: 0 takes a free one.
        token: whether a secret is asked for.
        browser: whether the page is opened.
        most_on_way: the most images on their way to one page.
    """

    address: str = "127.0.0.1"
    port: int = 8631
    token: bool = True
    browser: bool = False
    most_on_way: int = 4


def live_view(
    address: str, settings: Settings, options: LiveOptions, serving: Serving, say: Callable[[str], None]
) -> None:
    """Serves the live view of a camera until the user interrupts (Ctrl-C, SIGTERM).

    Args:
        address: of the camera.
        say: called with the address of the page.

    Raises:
        InputError: the camera, the sensor, the weights, the folder or the port cannot be used.
    """
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{options.folder}: no folder for recordings ({error.strerror}); choose another", "output"
        ) from error
    with (
        listen(serving.address, serving.port) as listening,
        open_camera(address) as camera,
        noted_signals(_end_at_once) as stopped,
    ):
        token = new_token() if serving.token else None
        server = LiveServer(serving)
        session = LiveSession(camera, settings, options, server.publish, server.forget)
        try:
            session.start()
            server.start(session, listening, token)
            page = address_of(listening, token)
            say(page)
            if serving.browser and has_screen():
                webbrowser.open(page)
            while not stopped() and not server.ended.wait(LOOK_PERIOD):
                pass
        finally:
            session.close()
            server.stop()


def has_screen() -> bool:
    """Whether a browser has a window to open in; one for terminals, as over SSH, would take this one over."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in named)


def _end_at_once(number: int) -> None:
    """Ends the program at the second Ctrl-C; what a recording has so far stays readable."""
    os._exit(128 + number)


class LiveServer:
    """The web server, in a thread and an event loop of its own.

    Args:
        drawn: called with every image that a page says it has drawn, and how many s after it was taken.

    Attributes:
        ended: set when it no longer serves.
    """

    def __init__(self, serving: Serving, drawn: Callable[[Kind, float], None] = lambda kind, age: None) -> None:
        self._serving, self._drawn = serving, drawn
        # Of all loops the selector's is the one that every system has; on Windows it is not the usual one.
        self._loop = asyncio.SelectorEventLoop()
        self._stop: asyncio.Event | None = None
        self._viewers: Viewers | None = None
        self._thread: threading.Thread | None = None
        self.ended = threading.Event()

    def start(self, session: LiveSession, listening: Any, token: str | None) -> None:
        """Begins to serve."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(session, listening, token, ready), daemon=True)
        self._thread.start()
        ready.wait()

    def publish(self, message: Message) -> None:
        """Makes an image the newest for all pages; from any thread."""
        self._call(lambda viewers: viewers.publish(message))

    def forget(self, kind: Kind) -> None:
        """Takes an image back that is no longer current; from any thread."""
        self._call(lambda viewers: viewers.forget(kind))

    def stop(self) -> None:
        """Ends serving."""
        if self._thread is None:
            return
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join(FAREWELL)

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def _call(self, act: Callable[[Viewers], None]) -> None:
        if self._viewers is not None and not self._loop.is_closed():
            viewers = self._viewers
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(act, viewers)

    def _run(self, session: LiveSession, listening: Any, token: str | None, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def snapshot(name: str) -> tuple[str, bytes]:
            return name, session.snapshot(name)

        async def main() -> None:
            self._stop = asyncio.Event()
            viewers = Viewers(Orders(session).carry_out, State(session).now, self._serving.most_on_way)
            viewers.drawn = self._drawn
            self._viewers = viewers
            port, hosts = listening.getsockname()[1], own_names(self._serving.address)
            app = application(viewers, snapshot, token=token, port=port, hosts=hosts)
            ready.set()
            looking = asyncio.create_task(viewers.look())
            await serve(app, listening, self._stop)
            looking.cancel()
            viewers.close()

        try:
            self._loop.run_until_complete(main())
        finally:
            ready.set()
            self.ended.set()
            self._loop.close()
