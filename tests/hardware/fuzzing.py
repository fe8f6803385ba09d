"""Reads damaged and hostile files under limits: `python fuzzing.py FOLDER MUTANTS [FORMAT ...] [--seed SEED]`.

Another seed gives other mutants, so that a long run can be split into many. Prints a line of JSON for every format:
how many files were read and refused, and everything that went wrong. Each format has a process of its own, which may
take up one GB more than it had before, and is killed when a file takes more than five seconds of processor time (other
programs may slow it down) or waits for something for a minute. A folder beside the files is watched: nothing may be
opened in it.
"""

import argparse
import ctypes
import faulthandler
import json
import os
import resource
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hostile_files import Format, formats
from own_files import own_formats

from noise_model.errors import InputError

#: s of work that a file may take, and s until a process that waits for something is given up; bytes.
WORK, WAIT, MEMORY = 5.0, 60.0, 1 << 30

#: Characters of a refusal, its path included.
LONGEST = 1000

#: What liars write: nothing, -1, the largest numbers and sizes in the millions; NaN, infinity, negative times.
LIES = [
    *(struct.pack(f"<{code}", value) for code in "bhiq" for value in (0, 1, -1, 127, -128)),
    *(
        struct.pack(f"{order}{code}", (1 << size) - 1)
        for order in "<>"
        for code, size in zip("hiq", (15, 31, 63), strict=True)
    ),
    *(
        struct.pack(f"{order}{code}", 1 << size)
        for order in "<>"
        for code, size in (("i", 20), ("i", 28), ("q", 33), ("q", 62))
    ),
    *(
        struct.pack(f"<{code}", value)
        for code in "fd"
        for value in (np.nan, np.inf, -1.0, 0.0, 1e300 if code == "d" else 1e30)
    ),
]


def mutant(whole: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """`whole` cut off, spliced with `other`, with a piece repeated or left out, or changed in place."""
    way, (start, end) = rng.random(), sorted(rng.integers(len(whole), size=2))
    if way < 0.1:
        return whole[:end]
    if way < 0.15:
        return whole[:start] + other[int(rng.integers(len(other))) :]
    if way < 0.2:
        return whole[:start] + whole[start : start + 512] * int(rng.integers(2, 200)) + whole[start:]
    if way < 0.25:
        return whole[:start] + whole[end:]
    return _changed(whole, rng)


def _changed(whole: bytes, rng: np.random.Generator) -> bytes:
    """`whole` with bits flipped, bytes overwritten, numbers replaced by lies, or pieces moved."""
    changed = bytearray(whole)
    written = np.flatnonzero(np.frombuffer(whole[: 1 << 14], np.uint8))
    for _ in range(rng.integers(1, 9)):
        place = int(written[rng.integers(len(written))] if rng.random() < 0.7 else rng.integers(len(whole)))
        kind, piece = rng.random(), bytes([rng.integers(256)])
        if kind < 0.4:
            piece = bytes([whole[place] ^ 1 << int(rng.integers(8))])
        elif kind < 0.8:
            piece = LIES[rng.integers(len(LIES))]
            place -= place % len(piece) if rng.random() < 0.7 else 0
        elif kind < 0.85:
            piece = whole[place // 2 : place // 2 + int(rng.integers(1, 64))]
        changed[place : place + len(piece)] = piece
    return bytes(changed)


def outcome(path: Path, read: Callable[[Path], None]) -> str:
    """What reading some of it ends in: "read", "refused", or what is wrong."""
    try:
        read(path)
    except InputError as error:
        # HDF5 also fails to reserve what damaged headers ask for, but finds the file too short before it fills that.
        if isinstance(error.__cause__, MemoryError) or "allocation failed for raw data" in str(error):
            return f"asked for too much memory: {error}"
        fine = "\n" not in str(error) and str(path.parent) in str(error) and len(str(error)) < LONGEST
        return "refused" if fine else f"refused badly: {error}"
    except Exception as error:
        return f"not refused: {type(error).__name__}: {error} at {traceback.format_exc().splitlines()[-3:-1]}"
    return "read"


def files(form: Format, mutants: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Its kind and bytes: ordinary files and traps as they are, then mutants of both, half of them mended."""
    yield from (("ordinary", whole) for whole in form.ordinary)
    yield from (("trap", whole) for whole in form.traps)
    for number in range(round(form.share * mutants)):
        among = form.traps if form.traps and number % 20 == 0 else form.ordinary
        whole, other = (among[rng.integers(len(among))] for _ in range(2))
        yield "mutant", _one(form, whole, other, number, rng)


def _one(form: Format, whole: bytes, other: bytes, number: int, rng: np.random.Generator) -> bytes:
    if form.rewritten is not None and number % 3:
        with suppress(Exception):  # a trap, or a change that the format cannot hold
            return form.rewritten(whole, rng)
    changed = mutant(whole, other, rng)
    return form.mended(changed) if number % 2 else changed


#: What each kind of file may end in.
FINE = {"ordinary": {"read"}, "trap": {"refused"}, "mutant": {"read", "refused"}}


def fuzz(form: Format, folder: Path, mutants: int, seed: int) -> dict[str, Any]:
    """Reads every file, and counts endings: {"mutants": n, "read": n, "refused": n, "wrong": [...]}.

    Files that went wrong are kept in `folder`.
    """
    rng, counted, wrong = np.random.default_rng(seed), Counter[str](), list[str]()
    path = folder / form.file
    for number, (kind, whole) in enumerate(files(form, mutants, rng)):
        path.write_bytes(whole)
        faulthandler.dump_traceback_later(WAIT, exit=True)
        signal.setitimer(signal.ITIMER_PROF, WORK)  # kills, also inside a library
        ending = outcome(path.parent if form.folder else path, form.read)
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        counted[ending if ending in FINE["mutant"] else "wrong"] += 1
        if ending not in FINE[kind]:
            wrong.append(f"{kind} {number}: {ending}")
            (folder / f"wrong{number}{path.suffix}.kept").write_bytes(whole)
    return {"format": form.name, "mutants": round(form.share * mutants), **counted, "wrong": wrong}


class Watched:
    """A folder in which nothing may be opened (inotify)."""

    OPEN_ACCESS_MODIFY = 0x20 | 0x1 | 0x2

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.events = libc.inotify_init1(os.O_NONBLOCK)
        assert libc.inotify_add_watch(self.events, bytes(folder), self.OPEN_ACCESS_MODIFY) >= 0

    def touched(self) -> bool:
        """Whether anything was."""
        try:
            return bool(os.read(self.events, 4096))
        except BlockingIOError:
            return False


def limited(form: Format, folder: Path, outside: Path, mutants: int, seed: int) -> dict[str, Any]:
    """`fuzz` with bounded memory and the folder `outside` watched."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    watched = Watched(outside)
    said = fuzz(form, folder, mutants, seed)
    if watched.touched():
        said["wrong"].append("a file outside was opened")
    return said


def main(folder: Path, mutants: int, names: list[str], seed: int) -> None:
    """Every format in a process of its own, one after the other."""
    outside = folder / "outside"
    outside.mkdir(parents=True)
    for form in (*formats(folder, outside), *own_formats(folder, outside)):
        if names and form.name not in names:
            continue
        child = os.fork()
        if not child:
            said = limited(form, folder, outside, mutants, seed) | {"seconds": round(time.process_time(), 2)}
            print(json.dumps(said), flush=True)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status:
            ended = f"ended by {os.waitstatus_to_exitcode(status)} over {folder / form.file}"
            print(json.dumps({"format": form.name, "wrong": [ended]}), flush=True)
            (folder / form.file).rename(folder / f"{form.name}.killer")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("mutants", type=int)
    parser.add_argument("formats", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    main(given.folder, given.mutants, given.formats, given.seed)
