"""The command line: every command, in the order that `--help` lists them.

Each command imports what it needs when it runs, so that `--help` is instant.
"""

import typer

from spadsr.cli.bench import bench
from spadsr.cli.calibrate import calibrate
from spadsr.cli.cameras import acquire, cameras, emulate
from spadsr.cli.console import plain_errors
from spadsr.cli.evaluate import evaluate
from spadsr.cli.export import export
from spadsr.cli.options import ManyFlats
from spadsr.cli.restore import convert, demo, infer, info
from spadsr.cli.train import simulate, train

app = typer.Typer(
    help="From single-photon counts to pictures, in counts/s, with their uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(infer)
app.command(cls=ManyFlats)(calibrate)
app.command()(demo)
app.command()(simulate)
app.command()(train)
app.command()(export)
app.command()(evaluate)
app.command()(info)
app.command()(convert)
app.command()(cameras)
app.command()(acquire)
app.add_typer(bench, name="bench")
app.add_typer(emulate, name="emulate")


def main() -> None:
    """Entry point of the `spadsr` command."""
    with plain_errors():
        app(prog_name="spadsr")
