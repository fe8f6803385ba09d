"""The `spadsr` command."""

from spadsr.cli.app import main

__all__ = ["main"]
