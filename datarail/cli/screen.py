"""What commands print: a table for people, or one JSON document for machines (--json)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from datarail.errors import RailError

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document for machines.")]

# Read by another program, lines must not be cut to the width of no terminal.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)


class Rail(typer.Typer):
    """A Typer app that tells the line's own errors in one sentence instead of a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except RailError as error:
            err.print(f"[red]✗[/] {error}", markup=True, soft_wrap=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)


def print_json(document: Any) -> None:
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def show(document: Any, as_json: bool, render: Callable[[], None]) -> None:
    """The document as JSON, or what `render` draws of it."""
    if as_json:
        print_json(document)
    else:
        render()


def draw(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table; numbers to the right, None as a dash."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    cells = [list(row) for row in rows]
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in cells)
        table.add_column(name, justify="right" if numeric and cells else "left", overflow="fold")
    for row in cells:
        table.add_row(*("–" if value is None else _text(value) for value in row))
    out.print(table)


def say(message: str) -> None:
    """Progress and notes, to stderr, so that stdout stays the answer."""
    err.print(message, markup=False)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)
