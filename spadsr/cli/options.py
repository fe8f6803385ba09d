"""Options that commands share, and what is made of them."""

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from noise_model.errors import InputError
from spadsr.cli.console import only_json, quieten

Number = TypeVar("Number", int, float)


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
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=lambda wanted: quieten(wanted), help="print errors alone: no results, notes, progress"
    ),
]
Seed = Annotated[int, typer.Option(help="the same seed gives the same counts")]
CountTime = Annotated[float | None, typer.Option(help="exposure of one hardware frame, s, where the file does not say")]
Cycles = Annotated[int | None, typer.Option(help="hardware frames in one image, where the file does not say")]
DeadTime = Annotated[float | None, typer.Option(help="s; 0 for a binary array, where the file does not say")]
Array = Annotated[str | None, typer.Option(help="name or number of the array, of a file that holds several")]
Layout = Annotated[str | None, typer.Option(help="how an array lies: counts, packed, images-first or images-last")]
First = Annotated[int | None, typer.Option(help="first image that is taken, counted from 0; before any are added up")]
Last = Annotated[int | None, typer.Option(help="last image that is taken, counted from 0; it is included")]
Each = Annotated[bool, typer.Option("--each", help="a picture of every image, numbered, not of the first alone")]
Roi = Annotated[
    str | None, typer.Option(metavar="ROWS,COLUMNS", help="region of the array, 0:32,16:48 for 32 rows and 32 columns")
]
Bits = Annotated[int | None, typer.Option(help="of the in-pixel counter; 1 = binary, where the file does not say")]


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


def capture_options(
    count_time: float | None,
    cycles: int | None,
    dead_time: float | None,
    bits: int | None,
    array: str | None,
    layout: str | None,
    first: int | None,
    last: int | None,
    roi: str | None,
) -> dict[str, Any]:
    """Keywords of `open_capture`."""
    taken = {"count_time": count_time, "cycles": cycles, "dead_time": dead_time, "counter_bits": bits}
    part = {"first": first, "last": last, "roi": None if roi is None else region(roi)}
    return taken | {"array": array, "layout": layout} | part


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


def numbers(text: str, kind: Callable[[str], Number]) -> list[Number]:
    """Of a comma-separated list. Raises BadParameter where one is no number."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text}: expected numbers separated by commas") from error
