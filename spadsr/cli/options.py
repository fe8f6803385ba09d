"""Options that commands share, and what is made of them."""

import math
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from enum import Enum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from noise_model.errors import InputError
from spadsr.cli.console import only_json, quieten

Number = TypeVar("Number", int, float)

_LARGEST, _MOST_BITS = 1_000_000, 16


class Mode(Enum):
    """Kinds of array."""

    binary = "binary"
    counting = "counting"


class ModelFormat(Enum):
    """Of exported networks."""

    onnx = "onnx"
    bioimageio = "bioimageio"


class Compression(Enum):
    """Of recordings."""

    none = "none"
    gzip = "gzip"
    lz4 = "lz4"


Device = Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")]
Weights = Annotated[
    Path | None, typer.Option(help="base, the default; tiny, for speed; or a file made by `spadsr train`")
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=lambda path: only_json(path),
        help="also write what is found as JSON; - prints it, and nothing else",
    ),
]
Workers = Annotated[int | None, typer.Option(help="processes; default: one a core", min=1, max=1024)]
Sharers = Annotated[int, typer.Option("--workers", help="processes that share the work out", min=1, max=1024)]
Scheduler = Annotated[
    str | None, typer.Option(help="address or file of a Dask scheduler, whose workers do the work (docs/cluster.md)")
]
Part = Annotated[str, typer.Option(help="k/n: only the k-th of n parts, as an array of batch jobs does")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=lambda wanted: quieten(wanted), help="print errors alone: no results, notes, progress"
    ),
]
Seed = Annotated[int, typer.Option(help="the same seed gives the same counts", min=0, max=(1 << 63) - 1)]
CountTime = Annotated[
    float | None, typer.Option(help="exposure of one hardware frame, 1e-12 to 1e6 s, where the file does not say")
]
Cycles = Annotated[
    int | None, typer.Option(help="hardware frames in one image, 1 to 2^32 - 1, where the file does not say")
]
DeadTime = Annotated[
    float | None, typer.Option(help="0 (a binary array), or 1e-12 to 1e6 s, where the file does not say")
]
Array = Annotated[
    str | None,
    typer.Option(
        help="array in a file that holds several: its name, path in HDF5, or the number of a channel or counter"
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help="how an array lies: counts, packed, packed-rows, images-first, images-last; of a .bin file, rows, columns"
        " and bits, as 512x512x8"
    ),
]
Channel = Annotated[str | None, typer.Option(help="name or number (from 1) of the channel, of a file with several")]
Position = Annotated[str | None, typer.Option(help="name or number (from 1) of the stage position, likewise")]
Slice = Annotated[str | None, typer.Option(help="number (from 1) of the slice in depth, likewise")]
Darks = Annotated[
    list[Path] | None,
    typer.Option(
        "--dark", help="recording in the dark: its dark rates are taken off, its hot pixels left out; again for more"
    ),
]
Mask = Annotated[
    Path | None, typer.Option(help="image of bad pixels to leave out, PNG or .npy: 0 is good, everything else bad")
]
First = Annotated[int | None, typer.Option(help="first image that is taken, counted from 0; before any are added up")]
Last = Annotated[int | None, typer.Option(help="last image that is taken, counted from 0; it is included")]
Sum = Annotated[int, typer.Option(help="consecutive images to add up before restoring, 1 or more")]
Every = Annotated[
    int | None,
    typer.Option(
        help="images from the first of a sum to that of the next, 1 or more: fewer than those of a sum make a film of"
        " sums that overlap; default: sums adjoin"
    ),
]
FollowMotion = Annotated[
    str,
    typer.Option(
        "--motion",
        help="what is followed where the scene of a sum moves: shift; rigid (shifts and turns); local (parts of it as"
        " well); auto (whatever moves); or none",
    ),
]
Each = Annotated[bool, typer.Option("--each", help="a picture of every image, numbered, not of the first alone")]
Roi = Annotated[
    str | None, typer.Option(metavar="ROWS,COLUMNS", help="region of the array, 0:32,16:48 for 32 rows and 32 columns")
]
Bits = Annotated[
    int | None, typer.Option(help="of the in-pixel counter, 1 (binary) to 16, where the file does not say")
]


class ManyFlats(typer.core.TyperCommand):
    """Takes `--flat A B C` for `--flat A --flat B --flat C`."""

    many = "--flat"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Every argument after a flat, up to the next option, is a flat."""
        spelt: list[str] = []
        for place, word in enumerate(args):
            before = args[place - 1] if place else ""
            if not word.startswith("-") and len(spelt) > 1 and spelt[-2] == self.many and before != self.many:
                spelt.append(self.many)
            spelt.append(word)
        return super().parse_args(ctx, spelt)


class ManyPeers(ManyFlats):
    """The same of `--peers`."""

    many = "--peers"


def _capture_options(
    count_time: CountTime = None,
    cycles: Cycles = None,
    dead_time: DeadTime = None,
    bits: Bits = None,
    array: Array = None,
    layout: Layout = None,
    channel: Channel = None,
    position: Position = None,
    slice: Slice = None,
    first: First = None,
    last: Last = None,
    roi: Roi = None,
) -> dict[str, Any]:
    """Keywords of `open_capture`."""
    taken = {"count_time": count_time, "cycles": cycles, "dead_time": dead_time, "counter_bits": bits}
    chosen = {"array": array, "layout": layout, "channel": channel, "position": position, "slice": slice}
    part = {"first": first, "last": last, "roi": None if roi is None else region(roi)}
    return taken | chosen | part


def opens_captures(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options that say how captures are read, in the place of its argument `opening`.

    It gets them as the keywords of `open_capture`.
    """
    own, read = (signature(each).parameters for each in (command, _capture_options))

    @wraps(command)
    def called(**given: Any) -> None:
        opening = _capture_options(**{name: given.pop(name) for name in read})
        command(**given, opening=opening)

    asked = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in read.values()]
    parameters = [one for name, each in own.items() for one in (asked if name == "opening" else [each])]
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def region(text: str) -> tuple[slice, slice]:
    """Rows and columns of "top:bottom,left:right"; a missing number means the edge.

    Raises:
        InputError: it is written otherwise.
    """
    if not (found := re.fullmatch(r"\s*(\d{0,9}):(\d{0,9})\s*,\s*(\d{0,9}):(\d{0,9})\s*", text)):
        raise InputError(f"--roi {text}: expected ROWS,COLUMNS as start:stop each, such as 0:32,16:48")
    top, bottom, left, right = (int(number) if number else None for number in found.groups())
    return slice(top, bottom), slice(left, right)


def modes_named(text: str) -> list[Mode]:
    """Of a comma-separated list. Raises InputError where one is no kind of array."""
    known = [mode.value for mode in Mode]
    for name in text.split(","):
        if name not in known:
            raise InputError(f"--modes {name}: no such array; choose from {', '.join(known)}")
    return [Mode(name) for name in text.split(",")]


def a_number(value: float) -> float:
    """An option's value itself. Raises BadParameter for NaN, which no range keeps out."""
    if math.isnan(value):
        raise typer.BadParameter("not a number")
    return value


def numbers(text: str, kind: Callable[[str], Number]) -> list[Number]:
    """Of a comma-separated list. Raises InputError where one is no number, or none that is used here."""
    try:
        found = [kind(part) for part in text.split(",")]
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text}: expected numbers separated by commas") from error
    for number in found:
        if not 0 <= number <= _LARGEST:  # NaN neither
            raise InputError(f"{number:g}: expected numbers from 0 to {_LARGEST}, separated by commas")
    return found


def frames_of(bits: str) -> list[int]:
    """Numbers of hardware frames for bit depths. Raises InputError where one is none."""
    depths = numbers(bits, int)
    if max(depths) > _MOST_BITS:
        raise InputError(f"--bits {max(depths)}: expected 0 to {_MOST_BITS}")
    return [1 << depth for depth in depths]


def part_of(text: str) -> tuple[int, int]:
    """The part (k, n) that a text such as 3/16 asks for.

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"0*([1-9]\d{0,5})/0*([1-9]\d{0,5})", text.strip())
    if found is None or int(found[1]) > int(found[2]):
        raise InputError(f"part {text}: expected k/n, such as 3/16 for the third of sixteen", "part")
    return int(found[1]), int(found[2])


@contextmanager
def executor_for(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """Where work is done: on a cluster, in processes of this machine, or, where they would be one, in this process.

    Raises:
        InputError: as `noise_model.executors.cluster`.
    """
    from noise_model.executors import cluster, local_processes

    number = workers or os.cpu_count() or 1
    if scheduler is not None:
        with cluster(scheduler) as executor:
            yield executor
    elif number > 1:
        with local_processes(number) as executor:
            yield executor
    else:
        yield None
