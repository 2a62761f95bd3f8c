"""Reading a range of a table: COPY to Arrow, no Python per value.

COPY writes values by their output functions, as pgoutput does (a cast to text would not: it
writes booleans as true and strips blanks). CSV tells null (nothing) from the empty text ("").
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv

from connectors.postgres.catalog import Table, quoted
from connectors.postgres.overlap import Key
from datarail.columns import WRITTEN

#: Bytes of CSV handed on at once: some 25,000 rows of 300 bytes.
BLOCK = 8 << 20


def range_key(table: Table, key: Sequence[str]) -> tuple[str, ...]:
    """The key in the order of the index that serves it."""
    for index in (table.primary_key, table.identity):
        if set(index) == set(key):
            return index
    return tuple(key)


def key_sql(table: Table, key: Sequence[str]) -> str:
    """The key as a row expression, in the collation of its columns."""
    return "(" + ", ".join(quoted(item) for item in key) + ")"


def bound_sql(table: Table, key: Sequence[str], bound: Key, literal: Callable[[Any], str]) -> str:
    """A key's value as a row expression of the key's types."""
    parts = [f"{literal(value)}::{table.column(item).type}" for item, value in zip(key, bound, strict=True)]
    return "(" + ", ".join(parts) + ")"


def boundary_query(
    table: Table, key: Sequence[str], low: Key | None, rows: int, literal: Callable[[Any], str]
) -> str:
    """The key `rows` rows after `low`: an index-only look, whatever the rows weigh."""
    order = ", ".join(quoted(item) for item in key)
    values = ", ".join(f"concat({quoted(item)})" for item in key)
    inside = _range(table, key, low, None, literal)
    return f"SELECT {values} FROM {table.sql}{inside} ORDER BY {order} OFFSET {rows - 1} LIMIT 1"


def copy_query(
    table: Table, key: Sequence[str], low: Key | None, high: Key | None, literal: Callable[[Any], str]
) -> str:
    """COPY of the rows with low < key <= high (None: open)."""
    columns = ", ".join(quoted(column.name) for column in table.columns)
    inside = _range(table, key, low, high, literal)
    return f"COPY (SELECT {columns} FROM {table.sql}{inside}) TO STDOUT (FORMAT csv)"


def _range(
    table: Table, key: Sequence[str], low: Key | None, high: Key | None, literal: Callable[[Any], str]
) -> str:
    bounds = []
    if low is not None:
        bounds.append(f"{key_sql(table, key)} > {bound_sql(table, key, low, literal)}")
    if high is not None:
        bounds.append(f"{key_sql(table, key)} <= {bound_sql(table, key, high, literal)}")
    return f" WHERE {' AND '.join(bounds)}" if bounds else ""


class Blocks:
    """The file COPY writes to: libpq hands it one row a call; whole blocks go on, parsed."""

    def __init__(self, table: Table, take: Callable[[pa.RecordBatch], None]) -> None:
        self._names = [WRITTEN + column.name for column in table.columns]
        self._take = take
        self._buffer = io.BytesIO()
        self._size = 0

    def write(self, row: bytes) -> int:
        size = len(row)
        self._buffer.write(row)
        self._size += size
        if self._size >= BLOCK:
            self.flush()
        return size

    def flush(self) -> None:
        if self._size:
            self._take(parse(self._buffer.getbuffer(), self._names))
            self._buffer = io.BytesIO()
            self._size = 0


def parse(block: Any, names: Sequence[str]) -> pa.RecordBatch:
    """CSV as COPY writes it → one batch of utf8 columns; unquoted empty is null."""
    table = csv.read_csv(
        pa.py_buffer(block),
        read_options=csv.ReadOptions(column_names=list(names), use_threads=False, block_size=len(block) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.utf8() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return table.combine_chunks().to_batches()[0]
