"""Cameras and file formats that other installed packages bring, found by their entry points."""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from noise_model.errors import InputError


def built_in(group: str, modules: Mapping[str, str]) -> list[EntryPoint]:
    """Entry points of modules of this package, by name, in the order given.

    They are made here and not declared in pyproject.toml: what is declared is read from the metadata of an
    installation, which may be older than a checkout, and which sorts them.
    """
    return [EntryPoint(name, module, group) for name, module in modules.items()]


def from_other_packages(group: str) -> list[EntryPoint]:
    """Entry points that installed packages declare, by name."""
    return sorted(entry_points(group=group), key=lambda entry: entry.name)


def loaded(entry: EntryPoint, expected: Sequence[str]) -> Any:
    """Imports and returns what an entry point names.

    Raises:
        InputError: it cannot be imported, for whatever reason, or lacks one of the attributes that are `expected`.
    """
    package = f" of package {entry.dist.name}" if entry.dist else ""
    try:
        part = entry.load()
    except Exception as error:  # whatever another package raises must not end this one
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{entry.name}{package} cannot be imported ({reason}); update or uninstall it") from error
    missing = [name for name in expected if not hasattr(part, name)]
    if missing:
        raise InputError(f"{entry.name}{package} lacks {', '.join(missing)}; see docs/extend.md")
    return part
