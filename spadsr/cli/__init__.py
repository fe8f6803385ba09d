"""The `spadsr` command."""

import sys

from spadsr.namesakes import refuse_namesakes

__all__ = ["main"]


def main() -> None:
    """Entry point of the `spadsr` command: looks first whether the packages that it needs are the right ones."""
    try:
        refuse_namesakes()
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from spadsr.cli.app import main as run

    run()
