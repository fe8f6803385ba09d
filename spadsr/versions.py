"""Versions of the libraries that decide the numbers, for every output."""

from importlib.metadata import version


def versions() -> dict[str, str]:
    """Name to version."""
    return {name: version(name) for name in ("spadsr", "torch", "numpy", "h5py")}
