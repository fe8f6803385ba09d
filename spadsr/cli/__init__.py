"""The `spadsr` command."""

import sys

from spadsr.namesakes import refuse_namesakes

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Entry point of the `spadsr` command: looks first whether the packages that it needs are the right ones."""
    try:
        refuse_namesakes()
        _run()
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    from noise_model.interrupts import ignore_signals, stop_at_signals

    stopped = stop_at_signals()
    try:
        from spadsr.cli.app import main as run

        run()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, KeyboardInterrupt) or end.code == _INTERRUPTED:
            sys.exit(128 + stopped() if stopped() else _INTERRUPTED)
        raise
    finally:
        ignore_signals()  # from here on they could only disturb the end of the process
