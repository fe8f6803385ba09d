"""The command line: every command, in the order that `--help` lists them.

Each command imports what it needs when it runs, so that `--help` is instant.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from noise_model.files import at_home
from spadsr.cli.bench import bench
from spadsr.cli.calibrate import calibrate
from spadsr.cli.cameras import acquire, cameras, emulate
from spadsr.cli.console import plain_errors, say, take_any_character
from spadsr.cli.evaluate import evaluate
from spadsr.cli.experiments import experiment
from spadsr.cli.export import export
from spadsr.cli.live import live
from spadsr.cli.options import ManyFlats
from spadsr.cli.restore import convert, demo, infer, info, merge
from spadsr.cli.train import simulate, train

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"spadsr {version('spadsr')}")
        raise typer.Exit


@app.callback()
def spadsr(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """From single-photon counts to pictures, in counts/s, with their uncertainty."""


_RECORDINGS, _CAMERAS, _SENSORS, _NETWORKS = "Recordings", "Cameras", "Sensors", "Networks"

app.command(rich_help_panel=_RECORDINGS)(infer)
app.command("restore", hidden=True)(infer)
app.command(rich_help_panel=_RECORDINGS)(merge)
app.command(rich_help_panel=_RECORDINGS)(demo)
app.command(rich_help_panel=_RECORDINGS)(info)
app.command(rich_help_panel=_RECORDINGS)(convert)
app.command(rich_help_panel=_CAMERAS)(cameras)
app.command(rich_help_panel=_CAMERAS)(acquire)
app.command(rich_help_panel=_CAMERAS)(live)
app.add_typer(emulate, name="emulate", rich_help_panel=_CAMERAS)
app.command(cls=ManyFlats, rich_help_panel=_SENSORS)(calibrate)
app.command(rich_help_panel=_NETWORKS)(simulate)
app.command(rich_help_panel=_NETWORKS)(train)
app.command(rich_help_panel=_NETWORKS)(evaluate)
app.command(rich_help_panel=_NETWORKS)(experiment)
app.command(rich_help_panel=_NETWORKS)(export)
app.add_typer(bench, name="bench", rich_help_panel=_NETWORKS)


def main() -> None:
    """Runs the command that was typed."""
    take_any_character()
    with plain_errors():
        app([_with_home(word) for word in sys.argv[1:]], prog_name="spadsr")


def _with_home(word: str) -> str:
    """A word of the command; a home after `--option=~`, which shells leave as it is, is written out."""
    option, equals, value = word.partition("=")
    return f"{option}={at_home(value)}" if equals and option.startswith("--") and value.startswith("~/") else word
