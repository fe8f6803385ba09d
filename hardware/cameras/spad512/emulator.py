"""A pretend SPAD512: a server that answers as the vendor's program does, with pixels simulated from a still scene.

For trying things without a camera, and for testing the client. It listens on this machine only.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardware.camera import CameraError
from hardware.cameras.spad512.camera import COLUMNS, DEPTHS, MOST_FRAMES
from hardware.cameras.spad512.link import DONE, ERROR
from hardware.formats.spad512 import ROWS
from noise_model.forward_model import ForwardModel
from noise_model.sensor import Exposure, Sensor

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
#: Images simulated, and sent, at once.
BATCH = 8
#: The most clients at a time, served and waiting; more are hung up on.
MOST_CLIENTS = 64

_INFORMATION = ("EMULATED-M", "EMULATED-S", "2.0", "1.0", "1.0", "S", "1", "0", "0")
_READINGS = (41.0, 40.5, 33.0, 28.5, 0.0, 97656.25)


class Server:
    """A server that pretends to be a SPAD512.

    Args:
        rate: counts/s of the brightest pixels.
        seed: the same seed gives the same counts.
        calibration: s that the breakdown calibration takes when a client connects; 0 for none.
    """

    def __init__(self, rate: float = 20_000.0, seed: int = 0, calibration: float = 0.0) -> None:
        self._sensor = Sensor.load("spad512")
        self._photon_rate = rate * scene()
        self._generator = torch.Generator().manual_seed(seed)
        self._calibration = calibration
        self._pile_up = False
        self._one, self._clients = asyncio.Lock(), 0
        self._said: set[str] = set()

    async def serve(self, port: int, ready: Callable[[int], None]) -> None:
        """Serves on `port` of this machine (0: a free one) until it is cancelled; calls `ready` with the port.

        Raises:
            CameraError: the port is taken, or none.
        """
        asyncio.get_running_loop().set_exception_handler(self._note)
        try:  # asyncio tries as many connections at once as may wait, and as often if there is none left
            server = await asyncio.start_server(self._client, HOST, port, backlog=1)
        except (OSError, OverflowError) as error:
            raise CameraError(f"port {port}: {error}; choose another", "port") from error
        async with server:
            ready(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers a client; others wait until it is gone, unless there are too many."""
        self._clients += 1
        try:
            if self._clients > MOST_CLIENTS:
                return
            async with self._one:
                await self._send(writer, self.greeting())
                while command := await reader.read(256):
                    await self._send(writer, self.answer(command.decode("ascii", "replace").strip()))
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the server ends: asyncio would print a traceback
        finally:
            self._clients -= 1
            writer.close()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Says once what asyncio would print with a traceback again and again, such as that connections run out."""
        error, said = context.get("exception"), f"{context.get('message')} ({context.get('exception')!r})"
        if isinstance(error, Exception) and said not in self._said:  # Ctrl-C is none
            _log.warning("emulated SPAD512: %s", said)
            self._said.add(said)

    async def _send(self, writer: asyncio.StreamWriter, reply: AsyncIterator[bytes]) -> None:
        async for part in reply:
            writer.write(part)
            await writer.drain()

    async def greeting(self) -> AsyncIterator[bytes]:
        """The text that a client gets when it connects."""
        yield b"SPAD512S emulated, no camera\n"
        if self._calibration:
            yield b"The breakdown calibration process has started.\n"
            await asyncio.sleep(self._calibration)
            yield b"The breakdown is around 22.3 V\n"

    async def answer(self, command: str) -> AsyncIterator[bytes]:
        """The reply to `command`, in parts."""
        name, *values = command.split(",")
        if name == "D":
            yield "\n".join(_INFORMATION).encode()
        elif name == "R":
            yield ",".join(map(str, _READINGS)).encode()
        elif name == "V":
            yield b"28.3,6.0"
        elif name == "PU" and values in (["0"], ["1"]):
            self._pile_up = values == ["1"]
            yield b"Pile-up correction " + (b"on" if self._pile_up else b"off")
        elif name == "I":
            async for part in self.pixels(values):
                yield part
        else:
            yield b"unknown command " + ERROR

    async def pixels(self, values: list[str]) -> AsyncIterator[bytes]:
        """The reply to an `I` command with `values`, no faster than it is exposed."""
        try:
            depth, exposure, images = requested(values)
        except ValueError as error:
            yield f"{error} ".encode() + ERROR
            return
        clock = asyncio.get_running_loop()
        due = clock.time()
        for batch in self.images(depth, exposure, images):
            due += exposure * len(batch)
            yield encoded(batch, depth, self._pile_up)
            await asyncio.sleep(max(0.0, due - clock.time()))
        yield DONE

    def images(self, depth: int, exposure: float, images: int) -> Iterator[NDArray[np.int32]]:
        """Images (n, 512, 512), sums of 2^depth - 1 binary frames."""
        frames = (1 << depth) - 1
        for start in range(0, images, BATCH):
            rates = self._photon_rate.expand(min(BATCH, images - start), ROWS, COLUMNS)
            yield ForwardModel(self._sensor, Exposure(exposure / frames, frames)).sample(rates, self._generator).numpy()


def scene() -> Tensor:
    """A still scene (512, 512), 0 to 1: a fading zone plate, of which no turned or mirrored copy looks alike."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, ROWS), torch.linspace(0, 1, COLUMNS), indexing="ij")
    rings = (1 + torch.cos(120 * ((rows - 0.35) ** 2 + (columns - 0.6) ** 2))) / 2
    return rings * (1 - 0.8 * rows) * (1 - 0.4 * columns)


def requested(values: list[str]) -> tuple[int, float, int]:
    """Bit depth, exposure of an image (s), and images of an `I` command.

    Raises:
        ValueError: the camera does not have it.
    """
    if not 7 <= len(values) <= 8:
        raise ValueError("wrong number of values")
    depth, images = int(values[0]), int(values[2])
    exposure = float(values[1]) * (1e-6 if depth <= 4 else 1e-3)
    if depth not in DEPTHS or not 1 <= images <= MOST_FRAMES or not (0 < exposure < 1e4 and math.isfinite(exposure)):
        raise ValueError("value out of range")
    return depth, exposure, images


def encoded(counts: NDArray[np.int32], depth: int, pile_up: bool) -> bytes:
    """The bytes of images (n, 512, 512) on the wire."""
    if depth == 1:
        return np.packbits(np.rot90(counts, -1, axes=(1, 2)).astype(bool), axis=-1).tobytes()
    if pile_up:
        return corrected(counts, (1 << depth) - 1).tobytes()
    return counts.astype("<u2" if depth > 8 else np.uint8).tobytes()


def corrected(counts: NDArray[np.int32], frames: int) -> NDArray[np.uint16]:
    """Detections that would be counted without pile-up; a full pixel is taken for half a count less."""
    share = np.minimum(counts / frames, 1 - 0.5 / frames)
    detections: NDArray[np.float64] = -frames * np.log1p(-share)
    return detections.round().astype(np.uint16)
