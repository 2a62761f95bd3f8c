"""What the generator and the load know of one table, and rows as SQL literals. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from examples.city.draw import Draw, Index
from examples.city.faults import Fault, Faults


@dataclass(frozen=True)
class Made:
    """Rows as the department would write them, and which of them are at fault."""

    frame: pl.DataFrame
    faults: Faults


@dataclass(frozen=True)
class Table:
    """One table of the city. SQL names are written as PostgreSQL wants them, quoted if need be.

    share: rows in a thousand of the whole city. number: SQL giving a row's number from its key
    (empty: the table has no key, rows are only added). revise(draw, index, version): key columns
    first, then the columns an ordinary update changes. rekey: SQL assignments that change the
    key there and back; match: SQL that finds a row under either of its keys. correct: like
    revise, for a correction of an id number. fresh: what differs in a row added today ('now' is
    PostgreSQL's). touch: SQL assignments that go with every ordinary update.
    """

    resource: str
    name: str
    share: int
    key: tuple[str, ...]
    rows: Callable[[Draw, Index], Made]
    kinds: dict[str, Fault]
    number: str = ""
    revise: Callable[[Draw, Index, int], pl.DataFrame] | None = None
    rekey: str = ""
    match: str = ""
    correct: Callable[[Draw, Index, int], pl.DataFrame] | None = None
    fresh: dict[str, str | None] = field(default_factory=dict)
    touch: str = ""

    def found(self) -> str:
        """SQL that joins table t with values v by key."""
        columns = [sql_name(column) for column in self.key]
        return self.match or " AND ".join(f"t.{column} = v.{column}" for column in columns)


def literals(frame: pl.DataFrame) -> list[str]:
    """Each row as SQL: ('…', NULL, …). All values quoted; PostgreSQL gives them their types."""
    quoted = [
        pl.concat_str(
            pl.lit("'"), pl.col(name).cast(pl.String).str.replace_all("'", "''", literal=True), pl.lit("'")
        )
        .fill_null("NULL")
        .alias(f"column {number}")
        for number, name in enumerate(frame.columns)
    ]
    row = pl.concat_str(pl.lit("("), pl.concat_str(quoted, separator=","), pl.lit(")"))
    return frame.select(row.alias("row")).to_series().to_list()


def csv(frame: pl.DataFrame) -> bytes:
    r"""Rows for COPY … (FORMAT csv, NULL '\N')."""
    return frame.write_csv(include_header=False, null_value=r"\N").encode()


def sql_name(column: str) -> str:
    """A column of a frame as SQL spells it."""
    plain = column.islower() and column.replace("_", "a").isalnum() and column.isascii()
    return column if plain else '"' + column.replace('"', '""') + '"'
