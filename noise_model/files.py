"""Files that are either whole or absent, and checksums of files."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noise_model.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it to `path` on success and removes it on failure.

    The partial file has the suffix of `path`, so that libraries which pick a format by suffix work.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another place", "output") from error
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: writing failed ({error.strerror or error}); check the disk and try again") from error
    finally:
        partial.unlink(missing_ok=True)


def in_bytes(size: int) -> str:
    """A size in bytes, as people read it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size} bytes"


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
