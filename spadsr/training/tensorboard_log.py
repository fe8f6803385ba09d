"""Curves for TensorBoard, where it is installed: written at once, without a thread, so that a full disk is noticed."""

import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from noise_model.errors import InputError

#: (step, values by name)
Log: TypeAlias = Callable[[int, dict[str, float]], None]


@contextmanager
def tensorboard_log(folder: Path, step: int) -> Iterator[Log]:
    """Yields a function that writes the values of a step, by name, for TensorBoard.

    What an earlier start wrote about steps after `step` is no longer shown.

    Raises:
        InputError: the disk is full.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        yield lambda step, values: None
        return
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"events.out.tfevents.{int(time.time())}.{os.getpid()}").open("wb", buffering=0)

    def write(**content: Any) -> None:
        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **content).SerializeToString())
        with _writable(folder):
            if file.write(record.getbuffer()) < record.tell():  # the last bytes that the disk took
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def log(step: int, values: dict[str, float]) -> None:
        named = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        write(step=step, summary=Summary(value=named))

    with file:
        write(file_version="brain.Event:2")
        write(step=step + 1, session_log=SessionLog(status=SessionLog.START))
        yield log


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: writing failed ({error.strerror}); check the disk and try again") from error
