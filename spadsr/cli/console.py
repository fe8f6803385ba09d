"""What the commands share: progress with the remaining time, tables, and errors without tracebacks.

All text leaves the program here, where what a terminal would obey is escaped: names and metadata may be hostile.
"""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from noise_model.errors import InputError, Note, out_of_memory
from noise_model.executors import SchedulerLost
from noise_model.files import whole_file
from noise_model.interrupts import Interrupted
from noise_model.plain_text import printable
from noise_model.progress import Report

_OUT = Console(highlight=False)
_ERR = Console(stderr=True, highlight=False)
_NOTES = Console(stderr=True, highlight=False)  # what a quiet command leaves out of the error stream

_PRINTED = Path("-")

#: Bytes: the size of what is larger is said before it is written.
LARGE = 100_000_000

_LONG = 30.0  # s: work that takes longer is announced
_TELLING = 2.0  # s of work, after which the rest can be estimated

_INTERRUPTED = 130

#: The option that sets an argument of a function, where it has another name.
_OPTION = {"counter_bits": "--bits", "output": "-o", "flats": "--flat", "images": "--frames"}


def take_any_character() -> None:
    r"""Lets the streams of output take characters that their encoding lacks: they are escaped, as in \u0394."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str | Path) -> None:
    """Prints lines."""
    for line in lines:
        _OUT.print(Text(printable(str(line))), soft_wrap=True)


def warn(message: str) -> None:
    """Prints what the user should know, on the error stream; after a `Note`, the options that would change it."""
    _tell(f"note: {with_options(message)}", "yellow", _NOTES)


def remark(line: str) -> None:
    """Prints how a long job goes, on the error stream."""
    _tell(line, "dim", _NOTES)


def fail(message: str) -> None:
    """Prints what went wrong, on the error stream."""
    _tell(f"error: {message}", "red")


def fail_of(error: InputError) -> None:
    """Prints an error, with the options of the arguments that it is about."""
    fail(f"{error}{options_of(error.arguments)}")


def _tell(line: str, style: str, where: Console = _ERR) -> None:
    where.print(Text(printable(line), style), soft_wrap=True)


class _Logs(logging.Handler):
    """What libraries warn of, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(f"{record.name}: {record.getMessage()}")


@contextmanager
def progress(label: str, *, shown: bool = True) -> Iterator[Report]:
    """Yields a function of (done, total) that draws a bar with the remaining time on the error stream of a terminal.

    Once the work is seen to be long, a line says for how long, on any error stream: logs have no bars. Another follows
    when it turns out to take less than half of that.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = shown and not _NOTES.quiet
    with Progress(*columns, console=_ERR, transient=True, disable=not (shown and _ERR.is_terminal)) as bar:
        task, announced = bar.add_task(printable(label), total=None), not shown
        begin: tuple[int, float] | None = None
        expected = 0.0  # end, as a line said

        def report(done: int, total: int) -> None:
            nonlocal begin, announced, expected
            bar.update(task, completed=done, total=total)
            if begin is None:  # what an earlier run did is done at once
                begin = done, monotonic()
            now = monotonic()
            elapsed, new = now - begin[1], done - begin[0]
            if elapsed < _TELLING or new == 0:
                return
            left = elapsed / new * (total - done)
            if left > _LONG and (not announced or left < (expected - now) / 2):  # what is compiled first takes long
                expected = now + left
                remark(f"{label}: {done:,} of {total:,} done, about {in_time(left)} to go")
            announced = True

        yield report


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a line in place of the one before, on the error stream of a terminal."""
    shown = _ERR.is_terminal and not _NOTES.quiet
    with Live(console=_ERR, transient=True, auto_refresh=False) as live:
        yield lambda line: live.update(Text(printable(line), overflow="ellipsis", no_wrap=True), refresh=shown)


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table; all columns but the first are numbers."""
    say(title)  # a table's own is cut to its width
    shown = Table()
    for i, name in enumerate(header):
        shown.add_column(Text(printable(name)), justify="left" if i == 0 else "right")
    for row in rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    _OUT.print(shown)


def in_time(seconds: float) -> str:
    """A time that is about right, such as 40 s, 12 min or 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def quieten(wanted: bool) -> bool:
    """From now on nothing is printed but errors and what is asked for as JSON, where that is wanted."""
    _OUT.quiet, _NOTES.quiet = _OUT.quiet or wanted, _NOTES.quiet or wanted
    return wanted


def only_json(path: Path | None) -> Path | None:
    """From now on nothing is printed but notes, errors and JSON, where that goes to the screen."""
    _OUT.quiet = _OUT.quiet or path == _PRINTED
    return path


def write_json(path: Path | None, found: object) -> None:
    """Writes what was found, and the versions of the libraries, as JSON; "-" is the screen.

    Numbers that are not finite become null.
    """
    if path is None:
        return
    from spadsr.provenance import versions

    text = json.dumps({"versions": versions(), "rows": _plain(found)}, indent=1, allow_nan=False) + "\n"
    if path == _PRINTED:
        sys.stdout.write(text)
        return
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Data classes, tables, lists and numbers as JSON knows them."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if isinstance(value, int | float | bool | None) else str(value)


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
    """Turns what a user can cause into one line and an exit code.

    2 for bad input, 3 for a scheduler that went away, 130 for Ctrl-C, 143 for SIGTERM.
    """
    logging.basicConfig(handlers=[_Logs(logging.WARNING)])
    try:
        yield
    except InputError as error:
        fail_of(error)
        sys.exit(2)
    except (Interrupted, SchedulerLost) as stop:
        _tell("; ".join([str(stop), *getattr(stop, "__notes__", ())]), "yellow")
        sys.exit(stop.exit_code)
    except SystemExit as end:  # typer turns Ctrl-C into this
        if end.code == _INTERRUPTED:
            _tell("stopped; files already finished are whole", "yellow")
        raise
    except Exception as error:
        if out_of_memory(error):
            fail("out of memory; use a smaller scale or close other programs")
        elif isinstance(error, OSError):  # a name too long, a folder that may not be read
            fail(f"{error.filename or 'the system'}: {error.strerror or error}")
        else:
            raise
        sys.exit(2)
    finally:
        _OUT.quiet = _NOTES.quiet = False
