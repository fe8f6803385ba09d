"""The web server of the live view: one port, one token, and nothing of the file system but the page itself."""

import asyncio
import errno
import hmac
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from ipaddress import ip_address

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from noise_model.errors import InputError
from spadsr.live.viewers import LARGEST_REQUEST, Viewers

COOKIE = "spadsr_live"
#: What the page may do: load its own files and talk to this server, nothing else.
POLICY = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: Gives a file that a page made of the live image (its name), or raises InputError.
Snapshot = Callable[[str], Awaitable[tuple[str, bytes]]]


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


class Gate:
    """Lets in only who knows the token, from pages of this server.

    The token comes once in the address, and is exchanged for a cookie there, so that it stays in no history of
    addresses. Host and Origin are checked, so that no other page open in the same browser can talk to the server (DNS
    rebinding; requests across sites).

    Args:
        token: None lets everybody in who may reach the port.
        hosts: names under which pages may ask for the server, besides this machine's; None where only this machine
            asks. Where others ask, they may by any address: only names can be made to lead elsewhere.
        port: the server's, for the name of the cookie.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: frozenset[str] | None, port: int) -> None:
        self._app, self._token = app, token
        self._cookie = f"{COOKIE}_{port}"  # browsers share cookies between the ports of a machine
        self._hosts = (hosts or frozenset()) | {"localhost", "127.0.0.1", "::1"}
        self._by_address = hosts is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refused = self._refused(HTTPConnection(scope))
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before accepting: an HTTP 403
        else:
            await refused(scope, receive, send)

    def _refused(self, request: HTTPConnection) -> Response | None:
        headers = request.headers
        host = _host_of(headers.get("host", ""))
        if not (host in self._hosts or (self._by_address and _is_address(host))):
            return PlainTextResponse("no such host here\n", 403, _HEADERS)
        origin = headers.get("origin")
        if origin is not None and not _same_origin(origin, headers):
            return PlainTextResponse("only this server's own page may ask\n", 403, _HEADERS)
        if self._token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and request.scope["type"] == "http":
            return self._exchanged(given)
        if not _equal(request.cookies.get(self._cookie, ""), self._token):
            line = "open the address that spadsr printed: it holds the token\n"
            return PlainTextResponse(line, 401, _HEADERS)
        return None

    def _exchanged(self, given: str) -> Response:
        assert self._token is not None
        if not _equal(given, self._token):
            return PlainTextResponse("wrong token\n", 401, _HEADERS)
        answer = RedirectResponse("/", 303, _HEADERS)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer


def application(
    viewers: Viewers, snapshot: Snapshot, *, token: str | None, port: int, hosts: frozenset[str] | None = None
) -> Starlette:
    """The web application: the page, its modules, the images, and the snapshots that are taken from it."""
    page = {entry.name: entry.read_bytes() for entry in files("spadsr.live").joinpath("page").iterdir()}

    async def file(request: Request) -> Response:
        name = request.path_params.get("name") or "index.html"
        kind = _TYPES.get(name[name.rfind(".") :])
        if name not in page or kind is None:
            return PlainTextResponse("no such page\n", 404, _HEADERS)
        return Response(page[name], 200, _HEADERS, kind)

    async def taken(request: Request) -> Response:
        try:
            name, data = await snapshot(request.path_params["name"])
        except InputError as error:
            return PlainTextResponse(f"{error}\n", 404, _HEADERS)
        return Response(
            data, 200, {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}, "application/octet-stream"
        )

    async def images(socket: WebSocket) -> None:
        await viewers.welcome(socket)

    return Starlette(
        routes=[
            Route("/", file),
            Route("/snapshot/{name}", taken),
            WebSocketRoute("/images", images),
            Route("/{name}", file),
        ],
        middleware=[Middleware(Gate, token=token, hosts=hosts, port=port)],
    )


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        InputError: the address or the port cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if not address:
            raise OSError(errno.EADDRNOTAVAIL, "no address is given")
        return socket.create_server((address, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while")[0]
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            hint, what = "choose another port, or 0 for a free one", "port"
        else:
            hint, what = "expected one of this machine's, or 0.0.0.0 for all of them", "address"
        raise InputError(f"{address!r}, port {port}: cannot be used ({reason}); {hint}", what) from error


def address_of(listening: socket.socket, token: str | None) -> str:
    """The address to open in a browser; one of this machine's where the socket listens on all."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = _own_address(listening.family) or socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


async def serve(app: Starlette, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serves until `stop` is set. It is for a thread that is not the main one: uvicorn leaves signals alone there."""
    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=LARGEST_REQUEST,
        ws_max_queue=8,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=1,
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    await asyncio.wait([serving, waiting := asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    server.should_exit = True
    await serving


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def own_names(address: str) -> frozenset[str] | None:
    """Names of this machine, where it serves more than itself; None where not."""
    if is_loopback(address):
        return None
    name = socket.gethostname().lower()
    return frozenset({address.lower(), name, f"{name}.local", socket.getfqdn().lower()})


def _own_address(family: int) -> str | None:
    """The address of this machine on the way to others; None without a network."""
    with socket.socket(family, socket.SOCK_DGRAM) as way, suppress(OSError):
        way.connect(("2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1", 9))  # sends nothing
        return str(way.getsockname()[0])
    return None


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _host_of(header: str) -> str:
    """The name in a Host header or an origin, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _same_origin(origin: str, headers: Headers) -> bool:
    return origin.partition("://")[2].lower() == headers.get("host", "").lower()
