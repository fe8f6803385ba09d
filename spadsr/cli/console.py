"""What the commands share: progress with the remaining time, tables, and errors without tracebacks.

All text leaves the program here, where what a terminal would obey is escaped: names and metadata may be hostile.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from noise_model.errors import InputError, Note, out_of_memory
from noise_model.interrupts import Interrupted
from noise_model.plain_text import printable
from noise_model.progress import Report

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)

_INTERRUPTED = 130

#: The option that sets an argument of a function, where it has another name.
_OPTION = {"counter_bits": "--bits", "output": "-o", "flats": "--flat", "images": "--frames"}


def say(*lines: str | Path) -> None:
    """Prints lines."""
    for line in lines:
        _OUT.print(Text(printable(str(line))), soft_wrap=True)


def warn(message: str) -> None:
    """Prints what the user should know, on the error stream; after a `Note`, the options that would change it."""
    _tell(f"note: {with_options(message)}", "yellow")


def fail(message: str) -> None:
    """Prints what went wrong, on the error stream."""
    _tell(f"error: {message}", "red")


def _tell(line: str, style: str) -> None:
    _ERR.print(Text(printable(line), style), soft_wrap=True)


class _Logs(logging.Handler):
    """What libraries warn of, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(f"{record.name}: {record.getMessage()}")


@contextmanager
def progress(label: str, *, shown: bool = True) -> Iterator[Report]:
    """Yields a function of (done, total) that draws a bar with the remaining time on the error stream of a terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_ERR, transient=True, disable=not (shown and _ERR.is_terminal)) as bar:
        task = bar.add_task(printable(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a line in place of the one before, on the error stream of a terminal."""
    with Live(console=_ERR, transient=True, auto_refresh=False) as live:
        yield lambda line: live.update(
            Text(printable(line), overflow="ellipsis", no_wrap=True), refresh=_ERR.is_terminal
        )


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table; all columns but the first are numbers."""
    shown = Table(title=Text(printable(title)), title_justify="left")
    for i, name in enumerate(header):
        shown.add_column(Text(printable(name)), justify="left" if i == 0 else "right")
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    _OUT.print(shown)


def options_of(arguments: Iterable[str]) -> str:
    """The options by which a command is given some arguments, in brackets after a sentence; empty for none of them."""
    options = dict.fromkeys(map(_option, arguments))
    return f" ({', '.join(options)})" if options else ""


def with_options(message: str) -> str:
    """A message and, if it is a `Note`, the options that would change what it says."""
    return f"{message}{options_of(message.arguments)}" if isinstance(message, Note) else message


def options_with(values: Mapping[str, float]) -> str:
    """Arguments with their values as they are typed after a command."""
    numbers = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return " ".join(f"{_option(name)} {number}" for name, number in numbers.items())


def _option(argument: str) -> str:
    return _OPTION.get(argument, "--" + argument.replace("_", "-"))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what a user can cause into one line and an exit code: 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM."""
    logging.basicConfig(handlers=[_Logs(logging.WARNING)])
    try:
        yield
    except InputError as error:
        fail(f"{error}{options_of(error.arguments)}")
        sys.exit(2)
    except Interrupted as stop:
        _tell("; ".join([str(stop), *getattr(stop, "__notes__", ())]), "yellow")
        sys.exit(stop.exit_code)
    except SystemExit as end:  # typer turns Ctrl-C into this
        if end.code == _INTERRUPTED:
            _tell("stopped; files already finished are whole", "yellow")
        raise
    except Exception as error:
        if not out_of_memory(error):
            raise
        fail("out of memory; use a smaller scale or close other programs")
        sys.exit(2)
