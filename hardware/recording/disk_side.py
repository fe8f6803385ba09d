"""The disk's side of a recording: writes batches, flushes each, and leaves a readable file even on a full disk."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.camera import Block, Camera
from hardware.captures.writer import RecordingWriter
from hardware.recording.order import Order, Pipe, Progress
from hardware.settings import Settings
from noise_model.errors import InputError
from noise_model.files import free_room

#: The most that is written at once: s, images, bytes. From 5,000 images/s on that is 256 images and more.
BATCH_TIME, BATCH_IMAGES, BATCH_BYTES = 0.05, 1024, 1 << 24
#: Bytes of the disk that are reserved for closing the file, should the disk become full suddenly, and left free.
RESERVE = 1 << 23


class DiskSide:
    """Writes the blocks of a pipe to the capture file; `run` is for a thread of its own.

    Attributes:
        error: why there is no recording at all; None if there is one.
    """

    def __init__(self, camera: Camera, applied: Settings, order: Order, pipe: Pipe) -> None:
        self._camera, self._applied, self._order, self._pipe = camera, applied, order, pipe
        self._identity = camera.identity()
        self._written = self._taken = self._lost = self._unknown = 0
        self._saturated = self._first_arrival = self._first_time = self._last_time = 0.0
        self._first = self._stop = 0
        self._queued: list[Block] = []
        self._failure = ""
        self.error: Exception | None = None

    def progress(self) -> Progress:
        """The state of the recording."""
        return Progress(
            images=self._written,
            acquired=self._stop - self._first,
            lost=self._lost,
            unknown=self._unknown,
            saturated=self._saturated / max(self._taken, 1),
            seconds=self._last_time - self._first_time,
            waiting=self._pipe.waiting_images,
            disk=free_room(self._order.path),
            failure=self._failure or self._pipe.failure,
        )

    def run(self) -> None:
        """Writes all images that come."""
        try:
            block = self._pipe.take()
            if block is None:
                raise InputError(self._pipe.failure or f"{self._camera.name}: no image came")
            self._record(block)
        except Exception as error:  # raised again in the caller's thread
            self.error = error
        finally:
            self._pipe.ending.set()
            self._pipe.done.set()

    def _record(self, block: Block) -> None:
        try:
            with _reserve(self._order.path.parent) as reserve, self._file(block) as file:
                try:
                    self._write_all(file, block)
                except (OSError, RuntimeError) as error:  # of a disk that takes no more
                    self._failure = f"{self._order.path}: {_reason(error)}"
                    reserve.close()
                    file.go_back()
                    if self._written:
                        file.note(self._closing_notes())
                    raise  # the file stays marked as unfinished
                reserve.close()
                file.note(self._closing_notes())
        except (OSError, RuntimeError) as error:
            self._failure = self._failure or f"{self._order.path}: {_reason(error)}"
        if not self._written:
            raise InputError(self._failure)

    def _write_all(self, file: RecordingWriter, block: Block) -> None:
        """Writes batches of one length, so that every chunk is written once."""
        batch, waiting = _batch(block), 0
        more: Block | None = block
        while more is not None:
            self._account(more)
            self._queued.append(more)
            waiting += len(more.counts)
            while waiting >= batch:
                if not self._fits(batch * more.counts[:1].nbytes):
                    return
                self._write(file, batch)
                waiting -= batch
            more = self._pipe.take()
        if waiting:
            self._write(file, waiting)

    def _fits(self, size: int) -> bool:
        """Whether the disk has room for `size` bytes; to find out by writing would leave the file unfinished."""
        if free_room(self._order.path) > 2 * size + RESERVE:
            return True
        self._failure = f"{self._order.path}: the disk is full; free it, or record to another"
        return False

    def _account(self, block: Block) -> None:
        images = len(block.counts)
        self._first_arrival = self._first_arrival or block.host_time
        self._first_time = self._first_time or block.host_time - images * block.period
        self._last_time = block.host_time
        if not self._taken:
            self._first = block.first - block.lost
        self._stop = block.stop
        self._taken += images
        self._lost += block.lost
        self._unknown += not block.lost_known
        self._saturated += block.saturated * images

    def _write(self, file: RecordingWriter, images: int) -> None:
        parts = [self._next_part(images)]
        while (missing := images - sum(len(part.counts) for part in parts)) > 0:
            parts.append(self._next_part(missing))
        counts = parts[0].counts if len(parts) == 1 else np.concatenate([part.counts for part in parts])
        numbers: NDArray[Any] = np.concatenate([np.arange(part.first, part.stop, dtype=np.uint64) for part in parts])
        arrived = parts[-1].host_time - self._first_arrival
        file.append(counts, sequence_number=numbers, image_key=self._order.image_key or None, host_time=arrived)
        self._written += images

    def _next_part(self, most: int) -> Block:
        block = self._queued.pop(0)
        if len(block.counts) > most:
            self._queued.insert(0, replace(block, counts=block.counts[most:], first=block.first + most))
        return replace(block, counts=block.counts[:most])

    def _file(self, block: Block) -> RecordingWriter:
        return RecordingWriter(
            self._order.path,
            self._camera.shape,
            block.counts.dtype,
            self._applied,
            pixel_mask=self._camera.pixel_mask,
            notes=self._opening_notes(),
            compression=self._order.compression,
        )

    def _opening_notes(self) -> dict[str, str]:
        return {
            "start_time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "camera": self._camera.name,
            "timestamp_source": "start_time is the host's, host_time the seconds since; images have no other time",
            **{name: value for name, value in self._identity.items() if value},
            **self._order.notes,
        }

    def _closing_notes(self) -> dict[str, Any]:
        progress = self.progress()
        ended = progress.failure or ("stopped by the user" if self._pipe.interrupted else "as ordered")
        return {
            "ended": ended,
            "images_lost": progress.lost,
            "gaps_of_unknown_length": progress.unknown,
            "saturated_share": progress.saturated,
            "seconds": progress.seconds,
        }


def _batch(block: Block) -> int:
    most = min(BATCH_IMAGES, BATCH_BYTES // block.counts[:1].nbytes)
    return max(1, min(round(BATCH_TIME / block.period), most))


def _reserve(folder: Path) -> Any:
    """A file without a name that reserves room on the disk until it is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller closes it
    file.write(bytes(RESERVE))
    file.flush()
    return file


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
