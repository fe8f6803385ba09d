"""Provenance of results: the command and the versions, for every output."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from noise_model.plain_text import encodable


@dataclass(frozen=True)
class Provenance:
    """What made a result.

    Attributes:
        model: name of the weights.
        model_sha256: checksum of the weight file.
        sensor: the sensor description used, as plain data.
        command: the command line; empty where Python made it.
        config: settings of the run.
        versions: of the libraries that matter.
    """

    model: str
    model_sha256: str
    sensor: Mapping[str, Any]
    command: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def command_line() -> str:
    """The command as it was typed, quoted for a shell."""
    return encodable(shlex.join(["spadsr", *sys.argv[1:]]))


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers, by name."""
    return {name: _version(name) for name in ("spadsr", "torch", "numpy", "h5py")}


@cache  # the files of a package are searched for it
def _version(name: str) -> str:
    return version(name)
