"""The `spadsr` command."""

import gc
import os
import sys

from spadsr.namesakes import refuse_namesakes

__all__ = ["main"]

_INTERRUPTED = 130
_NEW_OBJECTS = 20_000  # between looks for garbage: a start makes a million that stay


def main() -> None:
    """Entry point of the `spadsr` command: looks first whether the packages that it needs are the right ones."""
    _spare_the_processor()
    try:
        refuse_namesakes()
        _run()
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _spare_the_processor() -> None:
    """Lets threads sleep while they wait, and Python look for garbage less often; before any library is loaded.

    By default those of OpenMP keep their cores busy for a while after each piece of work, which doubles the processor
    time of a short command, and beside other programs makes everything many times slower. They look out for some
    microseconds before they sleep: a network's layers follow each other faster than threads wake up. Matrices of numpy
    are small here: sharing them out among cores takes longer than multiplying them.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_NEW_OBJECTS)


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
        gc.freeze()  # Python would look through all objects once more: half of the time that it takes to end
