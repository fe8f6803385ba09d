"""Folders that one process at a time writes to: a lock with the name of its owner, freed when that process ends."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from noise_model.config_files import in_short
from noise_model.errors import InputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NAME = ".in-use"
_PLACE = 1 << 20  # of the byte that is locked on Windows, where nobody else can read a locked one
_LOG = logging.getLogger("spadsr")


@contextmanager
def owned(folder: Path, part: str = "", what: Path | None = None) -> Iterator[None]:
    """Holds a folder, which is made if need be, until the end of the block or of the process, however it ends.

    Processes that name different parts of it hold it at the same time. `what` is that part for the reader of an error.

    On a file system without locks the owner's name alone holds it, which the log says: what was killed on another
    machine then has to be named by hand.

    Raises:
        InputError: another process holds it, or it cannot be written to.
    """
    path, made = folder / (f"{_NAME}-{part}" if part else _NAME), not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _taken(path, what or folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another place", "output") from error
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, _own_name().encode())
        yield
    finally:
        _release(path, handle)
        if made:
            with suppress(OSError):  # nothing was written
                folder.rmdir()


def _taken(path: Path, what: Path) -> int:
    """The open lock file, locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        owner = os.read(handle, 200).decode(errors="replace")
        locked = _lock(handle)
        if locked is False or (locked is None and owner and _may_run(owner)):
            os.close(handle)
            how = "wait for its end, or choose another output" + ("" if locked is False else f" (or delete {path})")
            raise InputError(f"{what}: in use by {in_short(owner or 'another process', 150)}; {how}", "output")
        if locked is None:
            _LOG.warning("%s: its file system has no locks; let nothing else write there meanwhile", path.parent)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # its owner took it away as it ended


def _lock(handle: int) -> bool | None:
    """Whether the file was locked; None where its file system has no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, _PLACE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held = error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return False if held else None
    return True


def _own_name() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"


def _may_run(owner: str) -> bool:
    """Whether a process may still run, by its name: on another machine, one never knows."""
    words = owner.split()
    if words[2:4] != ["on", socket.gethostname()] or not words[1].isdecimal():
        return True
    try:
        os.kill(int(words[1]), 0)  # nothing but a question; Windows, where it is none, has locks everywhere
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _release(path: Path, handle: int) -> None:
    """Takes the lock file away while it is held, so that nobody else's is; Windows takes only what nobody has open."""
    if sys.platform == "win32":
        os.close(handle)
    with suppress(OSError):
        path.unlink()
    if sys.platform != "win32":
        os.close(handle)
