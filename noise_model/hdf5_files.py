"""HDF5 files that survive whatever ends their writer, a full disk included, and that are read without locks."""

import errno
import io
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py

from noise_model.errors import InputError

#: The first bytes of a node of an index; its level is byte 5. Bytes from which on the parts of a file are aligned to
#: pages of memory: so no node lies on two, and the system cannot end a process halfway through writing one.
_NODE, _ALIGNED, _PAGE = b"TREE", 2048, 4096

#: The head of a heap of texts, of 4 kB to 16 MB; bytes of it; the head of an object in it: its number and size.
_HEAP, _HEAP_HEADER, _OBJECT = re.compile(rb"GCOL\x01\0{3}(?P<size>...\0{5})", re.DOTALL), 16, struct.Struct("<H6xQ")
_LOOKED_AT = 1 << 24  # bytes at the beginning, and at the end


class SafeFile(h5py.File):  # type: ignore[misc]  # h5py has no types
    """An HDF5 file being written: what is on the disk is always what was last flushed, whole, whatever happens.

    HDF5 itself changes a file piece by piece as memory runs out or it is flushed: killed meanwhile, it leaves an index
    that points nowhere. Here such changes wait until all of them are known, and are then made in an order in which the
    file is readable after each. A disk that is full is an `OSError` of `flush` and `close`; HDF5, which would crash
    over it at the end of the process, is never told. No lock is taken, so that others may read meanwhile.

    Args:
        path: the file, which exists.
        mode: "w" begins anew, "r+" goes on.
    """

    def __init__(self, path: Path, mode: str) -> None:
        self._disk, self._path = _Disk(path), path
        try:
            super().__init__(self._disk, mode, alignment_threshold=_ALIGNED, alignment_interval=_PAGE)
        except BaseException:
            self._disk.close()
            raise

    @property
    def filename(self) -> str:
        """The name of the file."""
        return str(self._path)

    def flush(self) -> None:
        """Brings all that was written to the disk, so that it outlives this process.

        Raises:
            OSError: the disk takes no more; it holds what was flushed before, now and after closing.
        """
        super().flush()
        self._disk.commit()

    def close(self) -> None:
        """Flushes and closes the file.

        Raises:
            OSError: the disk takes no more; it holds what was flushed before.
        """
        if self._disk.closed:
            return
        try:
            super().close()
            self._disk.commit()
        finally:
            self._disk.close()

    def drop(self) -> None:
        """Closes the file as it was last flushed."""
        self._disk.failure = self._disk.failure or OSError("dropped")
        with suppress(OSError):
            self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file; after an exception it is left as it was last flushed."""
        if error is None:
            self.close()
        else:
            self.drop()


def read_hdf5(path: Path) -> h5py.File:
    """Opens an HDF5 file for reading, without a lock if need be: not every disk has locks, and others may be writing.

    Raises:
        InputError: another program is writing it, in a way that nobody can read meanwhile.
        OSError: it is no HDF5 file, or damaged.
    """
    _check_heaps(path)
    for how in ({}, {"locking": False}, {"locking": False, "swmr": True}):  # as usual; ours; of programs that allow it
        try:
            return h5py.File(path, "r", **how)
        except OSError as error:
            failure = error
        except RuntimeError as error:  # of a damaged root
            raise OSError(str(error)) from error
    if _is_locked(path):
        raise InputError(f"{path}: another program is writing it; close it there, or wait") from failure
    if "already open for" in str(failure):
        how_to = "if that program was ended meanwhile, clear its status with h5clear"
        raise InputError(f"{path}: another program has it open for writing; {how_to}") from failure
    raise failure


def _check_heaps(path: Path) -> None:
    """Refuses a file with a damaged heap of texts, over which libhdf5 (2.0) runs for ever.

    The heaps (HDF5 File Format Specification 3.0, III.E) are looked for where they usually are: near the beginning and
    the end. Their free space, object 0, is what follows the last text; where one says that it has no size, the
    library takes no step beyond it.

    Raises OSError.
    """
    if not path.is_file():  # a pipe would wait for its writer
        return
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start in {0, max(0, size - _LOOKED_AT)}:
            file.seek(start)
            part = file.read(_LOOKED_AT)
            for found in _HEAP.finditer(part):
                if _is_endless(part[found.start() : found.start() + int.from_bytes(found["size"], "little")]):
                    raise OSError(errno.EIO, "a damaged heap of texts", str(path))


def _is_endless(heap: bytes) -> bool:
    at = _HEAP_HEADER
    while at + _OBJECT.size <= len(heap):
        number, size = _OBJECT.unpack_from(heap, at)
        if number == size == 0:
            return True
        at += size if number == 0 else _OBJECT.size + -(-size // 8) * 8
    return False


def _is_locked(path: Path) -> bool:
    """Whether another program keeps a file to itself, as far as this system tells."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # Windows; a disk without locks
        pass
    return False


class _Disk(io.RawIOBase):
    """The file under a `SafeFile`, as HDF5 sees it: changes of what the disk holds are kept until `commit`.

    Attributes:
        failure: why the disk took no more; None while it does.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self._held = self._end = os.fstat(
            self._file.fileno()
        ).st_size  # bytes on disk that count; bytes as HDF5 sees it
        self._place = 0
        self._changes: dict[int, bytearray] = {}
        self.failure: OSError | None = None

    def commit(self) -> None:
        """Makes the changes that were kept. Raises OSError where the disk takes no more."""
        if self.failure is None:
            try:
                self._file.truncate(self._end)
                for place, change in sorted(self._changes.items(), key=self._turn):
                    self._put(place, memoryview(change))
            except OSError as error:
                self.failure = error
        if self.failure is not None:
            raise self.failure
        self._changes.clear()
        self._held = self._end

    def close(self) -> None:
        """Closes the file, which is cut where its last commit ended. Raises nothing."""
        if not self.closed:
            with suppress(OSError):
                self._file.truncate(self._held)
            self._file.close()
        super().close()

    # What h5py calls

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        return self._end

    def write(self, data: Any) -> int:
        view, place = memoryview(data).cast("B"), self._place
        self._place += len(view)
        self._end = max(self._end, self._place)
        if place >= self._held and self.failure is None:
            try:
                self._put(place, view)
                return len(view)
            except OSError as error:
                self.failure = error
            except BaseException:  # Ctrl-C
                self.failure = OSError("interrupted")
                raise
        self._keep(place, view)
        return len(view)

    def readinto(self, into: Any) -> int:
        view, place = memoryview(into).cast("B"), self._place
        self._place += len(view)
        self._file.seek(place)
        done = 0
        while received := self._file.readinto(view[done:]):
            done += received
        view[done:] = bytes(len(view) - done)
        for start, change in self._changes.items():
            first, last = max(start, place), min(start + len(change), place + len(view))
            if first < last:
                view[first - place : last - place] = change[first - start : last - start]
        return len(view)

    # The file

    def _keep(self, place: int, view: memoryview) -> None:
        """Keeps a change; where it overlaps an earlier one, that is changed too: their order does not matter."""
        for start, change in self._changes.items():
            first, last = max(start, place), min(start + len(change), place + len(view))
            if first < last:
                change[first - start : last - start] = view[first - place : last - place]
        if len(view) >= len(self._changes.get(place, b"")):
            self._changes[place] = bytearray(view)

    def _turn(self, kept: tuple[int, bytearray]) -> tuple[int, int]:
        """The turn of a change: where the file ends; what fills gaps; then the index, from its root on; all else."""
        place, change = kept
        if place == 0:
            return 0, 0
        self._file.seek(place)
        if not any(self._file.read(len(change)) or b""):  # nothing on the disk points there yet
            return 1, place
        return (257 - change[5] if change[:4] == _NODE else 258), place

    def _put(self, place: int, view: memoryview) -> None:
        self._file.seek(place)
        done = 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0
