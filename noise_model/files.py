"""Files that are either whole or absent, room on a disk, and checksums of files."""

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from platform import node

from noise_model.errors import InputError

#: Bytes of a disk that are left free.
MARGIN = 1 << 20

_PARTIAL = re.compile(r"\..*\.partial-(?P<process>[0-9a-f]{8}-\d+)-\w+(\.\w+)*")
#: The most characters that a partial file takes over from the name of the whole one: both names have to be possible.
_LONGEST_STEM = 40


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it to `path` on success and removes it on failure.

    The partial file has the suffix of `path`, so that libraries which pick a format by suffix work. Those of processes
    that were killed are removed from the folder.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    partial = partial_file(path)
    try:
        yield partial
        allow_as_usual(partial)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: writing failed ({error.strerror or error}); check the disk and try again") from error
    finally:
        partial.unlink(missing_ok=True)


def new_file(path: Path, text: str) -> None:
    """Writes a text file whole, or not at all; what another process wrote there meanwhile stays.

    Raises:
        InputError: the folder cannot be written to.
    """
    partial = partial_file(path)
    try:
        partial.write_text(text, encoding="utf-8")
        allow_as_usual(partial)
        with suppress(FileExistsError):
            move_new(partial, path)
    except OSError as error:
        raise InputError(f"{path}: writing failed ({error.strerror or error}); check the disk and try again") from error
    finally:
        partial.unlink(missing_ok=True)


def partial_file(path: Path) -> Path:
    """Makes an empty hidden file beside `path`, whose name says which process writes it, and its folder if need be.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent.absolute(), os.getpid())
        stem = f".{path.stem[:_LONGEST_STEM]}.partial-{this_process()}-"
        handle, name = tempfile.mkstemp(prefix=stem, suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place", "output") from error
    os.close(handle)
    return Path(name)


def allow_as_usual(partial: Path) -> None:
    """Gives a file of `partial_file` the permissions that new files have."""
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o666 & ~mask)


def move_new(source: Path, target: Path) -> None:
    """Renames a file, and replaces none.

    Raises OSError; FileExistsError where `target` exists.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a disk without links
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
    else:
        source.unlink()


def require_room(path: Path, size: int) -> None:
    """Refuses to begin a file that the disk has no room for.

    Args:
        size: bytes of the file.

    Raises:
        InputError: fewer bytes are free.
    """
    free = free_room(path)
    if 0 < free < size + MARGIN:  # what is no disk, such as /proc, tells 0; a full one takes no file's first byte
        wrong = f"needs {in_bytes(size)}, and its disk has {in_bytes(free)} free, 1 MB of it to spare"
        raise InputError(f"{path}: {wrong}; make room, or write to another disk")


def require_folder(folder: Path) -> None:
    """Refuses a folder that could not be made, or not be written to; it is not made yet.

    Raises:
        InputError: a file is in its place or above it, or its owner does not let us.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise InputError(f"{folder}: {there} is no folder; choose another", "output")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {there} may not be written to; choose another folder", "output")


def free_room(path: Path) -> int:
    """Free bytes of the disk that a file `path` lies on, or would lie on."""
    return shutil.disk_usage(next(place for place in path.absolute().parents if place.is_dir())).free


def in_bytes(size: int) -> str:
    """A size in bytes, as people read it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"


def this_process() -> str:
    """The name of this process for others that see the same disk: a code of the machine, and a number there."""
    try:  # containers number their processes for themselves
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{hashlib.sha256(f'{node()} {space}'.encode()).hexdigest()[:8]}-{os.getpid()}"


def is_running(process: str) -> bool:
    """Whether the process of that name may be running: False only if it ran on this machine, and has ended."""
    machine, _, number = process.partition("-")
    return machine != this_process().partition("-")[0] or not number.isdecimal() or _is_alive(int(number))


def at_home(path: str | Path) -> Path:
    """A path in which a leading `~` is the home of the user, if there is one: shells write it out, Python does not."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is none
        return Path(path)


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)  # a folder with many files takes long to look through
def _remove_leftovers(folder: Path, process: int) -> None:
    """Removes the partial files of processes that were killed; once for each process that writes to the folder."""
    for place in folder.iterdir():
        found = _PARTIAL.fullmatch(place.name)
        if found is not None and not is_running(found["process"]):
            with suppress(OSError):
                place.unlink()


if sys.platform == "win32":

    def _is_alive(number: int) -> bool:
        import ctypes

        synchronize, timeout = 0x100000, 0x102
        process = ctypes.windll.kernel32.OpenProcess(synchronize, False, number)
        if not process:
            return False
        try:
            return bool(ctypes.windll.kernel32.WaitForSingleObject(process, 0) == timeout)
        finally:
            ctypes.windll.kernel32.CloseHandle(process)

else:

    def _is_alive(number: int) -> bool:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass  # another user's; no process has such a number, but it is not ours to judge
        return True
