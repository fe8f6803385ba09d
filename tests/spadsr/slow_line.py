"""A slow line to a server: a proxy that delivers late, and not more than so many bytes a second."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: s of the line's capacity that may wait to go out: what a router would hold.
BUFFER = 0.05


@contextmanager
def slow_line(port: int, delay: float, rate: float) -> Iterator[int]:
    """Gives the port of a proxy to a port of this machine.

    Args:
        delay: s, each way.
        rate: bytes/s from the server to its client.
    """
    loop, started, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    ports: list[int] = []

    async def carry(client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        there = asyncio.create_task(_pump(client, writer, delay, 1e9))
        back = asyncio.create_task(_pump(reader, answer, delay, rate))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)
        for each in (writer, answer):
            each.close()

    async def serve() -> None:
        server = await asyncio.start_server(carry, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        await end.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    started.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, rate: float) -> None:
    loop = asyncio.get_running_loop()
    way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await way.get()
            await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()

    delivering, free = asyncio.create_task(deliver()), loop.time()
    try:
        with suppress(OSError):
            while data := await reader.read(1 << 14):
                free = max(free, loop.time()) + len(data) / rate
                way.put_nowait((free + delay, data))
                await asyncio.sleep(free - loop.time() - BUFFER)
    finally:
        delivering.cancel()
