"""Provenance of results: the command and the versions, for every output."""

import shlex
import sys
from importlib.metadata import version


def command_line() -> str:
    """The command as it was typed, quoted for a shell."""
    return shlex.join(["spadsr", *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers, by name."""
    return {name: version(name) for name in ("spadsr", "torch", "numpy", "h5py")}
