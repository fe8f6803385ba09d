"""Options that commands share, and what is made of them."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from noise_model.errors import InputError

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
JsonFile = Annotated[Path | None, typer.Option("--json", help="also write the figures to this file")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same counts")]
CountTime = Annotated[float | None, typer.Option(help="exposure of one hardware frame, s, where the file does not say")]
Cycles = Annotated[int | None, typer.Option(help="hardware frames in one image, where the file does not say")]
DeadTime = Annotated[float | None, typer.Option(help="s; 0 for a binary array, where the file does not say")]
Array = Annotated[str | None, typer.Option(help="name or number of the array, of a file that holds several")]
Layout = Annotated[str | None, typer.Option(help="how an array lies: counts, packed, images-first or images-last")]
Darks = Annotated[
    list[Path] | None,
    typer.Option(
        "--dark", help="recording in the dark: its dark rates are taken off, its hot pixels left out; again for more"
    ),
]
Mask = Annotated[
    Path | None, typer.Option(help="image of bad pixels to leave out, PNG or .npy: 0 is good, everything else bad")
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
) -> dict[str, Any]:
    """Keywords of `open_capture`."""
    taken = {"count_time": count_time, "cycles": cycles, "dead_time": dead_time, "counter_bits": bits}
    return taken | {"array": array, "layout": layout}


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
