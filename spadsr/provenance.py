"""How a result came to be, for every output."""

import shlex
import sys
from importlib.metadata import version


def command_line() -> str:
    """What was typed, as a shell takes it."""
    return shlex.join(["spadsr", *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Of the libraries that decide the numbers, by name."""
    return {name: version(name) for name in ("spadsr", "torch", "numpy", "h5py")}
