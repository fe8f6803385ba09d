"""Tables as files: Markdown to read and CSV to compute with, below lines that say what made them."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from noise_model.files import whole_file

#: A row of headings, then rows of cells.
Table: TypeAlias = list[list[str]]


def write_csv(path: Path, header: Mapping[str, Any], columns: str, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows below the names of their columns, and above them what made them, in lines that begin with #.

    Text is quoted, numbers are not.

    Args:
        columns: names, separated by spaces.

    Raises:
        InputError: the folder cannot be written to.
    """
    with (
        whole_file(path) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(f"# {line}\n" for line in header_lines(header))
        file.write(columns.replace(" ", ",") + "\n")
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)


def markdown_page(
    title: str,
    header: Mapping[str, Any],
    tables: Iterable[tuple[str, Table]],
    *,
    numbers: bool,
    introduction: Sequence[str] = (),
) -> str:
    """A page: what made the tables, an introduction, and the tables below their titles.

    Args:
        numbers: sets all columns of the tables but the first to the right.
    """
    lines = [f"# {title}", "", *(f"- {line}" for line in header_lines(header)), *introduction]
    for heading, table in tables:
        lines += ["", f"## {heading}", "", *markdown_table(table, numbers=numbers)]
    return "\n".join(lines) + "\n"


def markdown_table(table: Table, *, numbers: bool) -> Iterator[str]:
    """The lines of a table; `numbers` sets all columns but the first to the right."""
    headings, *rows = table
    rule = ["---", *["---:" if numbers else "---"] * (len(headings) - 1)]
    return ("| " + " | ".join(row) + " |" for row in (headings, rule, *rows))


def header_lines(header: Mapping[str, Any]) -> Iterator[str]:
    """`name: value` for each value of a header that is not empty; zero does not count as empty."""
    for name, value in header.items():
        if value not in (None, "", {}):
            items = value.items() if isinstance(value, dict) else []
            yield f"{name}: " + (", ".join(f"{key} {item}" for key, item in items) or str(value))
