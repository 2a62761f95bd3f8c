"""The load's SQL for one table, from blocks of ready-made literals. Reads the table's state once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.city.draw import Draw, Index
from examples.city.table import Table, literals, sql_name

#: The first rows of every table are never deleted, nor are their ids corrected: examples name them.
KEEP = 10
_BLOCK = 1024
#: Of sixteen updates of a table one changes keys, and another corrects id numbers, where it can.
_ROUND, _REKEYS, _CORRECTS = 16, 5, 11


@dataclass
class Statement:
    """One SQL statement and the rows it means to change."""

    kind: str
    resource: str
    sql: str
    rows: int


class Statements:
    """Inserts, updates and deletes of one table, each of as many rows as asked.

    The table holds the numbers `first` … `next - 1` (besides the first ones, which are kept);
    new rows get the next numbers, the oldest are deleted.
    """

    def __init__(self, table: Table, draw: Draw, cursor: Any) -> None:
        self.table, self._draw = table, draw
        self._types = _column_types(cursor, table)
        self.first, self.next, self.count = _extent(cursor, table)
        self._random = np.random.default_rng([draw.seed, self.next, len(table.resource)])
        self._version = self.next
        self._ready: dict[str, deque[tuple[int, str]]] = {}
        self._columns: dict[str, str] = {}
        self._made, self._updates = self.next, 0

    @property
    def deletable(self) -> int:
        """Rows that may be deleted: a reserve is left for updates."""
        return max(0, self.next - self.first - 2 * KEEP) if self.table.key else 0

    def insert(self, rows: int) -> Statement:
        """New rows."""
        values = self._take("insert", rows)
        self.next += rows
        self.count += rows
        into = f"{self.table.name} ({self._columns['insert']})"
        sql = f"INSERT INTO {into} VALUES {values} ON CONFLICT DO NOTHING"
        return Statement("insert", self.table.resource, sql, rows)

    def update(self, rows: int) -> Statement:
        """Ordinary updates, now and then a change of key or a corrected id number."""
        self._updates += 1
        turn = self._updates % _ROUND
        if self.table.rekey and turn == _REKEYS:
            return self._update("rekey", self._take("rekey", rows), rows, self.table.rekey)
        kind = "correct" if self.table.correct and turn == _CORRECTS else "revise"
        keys = len(self.table.key)
        values = self._take(kind, rows)
        columns = self._columns[kind].split(", ")[keys:]
        changes = [f"{column} = v.{column}" for column in columns]
        if self.table.touch:
            changes.append(self.table.touch)
        return self._update(kind, values, rows, ", ".join(changes))

    def delete(self, rows: int) -> Statement:
        """The oldest rows."""
        source = self._source("delete", self._take("delete", rows))
        self.count -= rows
        sql = f"DELETE FROM {self.table.name} t USING {source} WHERE {self.table.found()}"
        return Statement("delete", self.table.resource, sql, rows)

    def _update(self, kind: str, values: str, rows: int, changes: str) -> Statement:
        source = self._source(kind, values)
        sql = f"UPDATE {self.table.name} t SET {changes} FROM {source} WHERE {self.table.found()}"
        return Statement("update", self.table.resource, sql, rows)

    def _source(self, kind: str, values: str) -> str:
        columns = self._columns[kind]
        typed = ", ".join(f"r.{column}::{self._types[column]} AS {column}" for column in columns.split(", "))
        return f"(SELECT {typed} FROM (VALUES {values}) r ({columns})) v"

    def _take(self, kind: str, rows: int) -> str:
        ready = self._ready.setdefault(kind, deque())
        taken: list[str] = []
        while len(taken) < rows:
            if not ready:
                index = self._numbers(kind, rows)
                ready.extend(zip(index.tolist(), self._literals(kind, index), strict=True))
            number, literal = ready.popleft()
            if number >= self.first or number < KEEP:  # not deleted since it was drawn
                taken.append(literal)
                if kind == "delete":
                    self.first = number + 1
        return ",".join(taken)

    def _numbers(self, kind: str, wanted: int) -> Index:
        """Which rows come next: new ones in order; for updates different ones in no order."""
        if kind == "insert":
            self._made += max(_BLOCK, wanted)
            return np.arange(self._made - max(_BLOCK, wanted), self._made, dtype=np.uint64)
        if kind == "delete":
            return np.arange(self.first, self.next, dtype=np.uint64)[:_BLOCK]
        span = self.next - self.first
        if span <= 2 * _BLOCK:
            chosen: npt.NDArray[np.int64] = self._random.permutation(np.arange(self.first, self.next))[
                :_BLOCK
            ]
        else:
            chosen = self._random.permutation(np.unique(self._random.integers(self.first, self.next, _BLOCK)))
        if kind == "revise" and len(chosen) > KEEP:
            chosen[0] = self._random.integers(0, KEEP)
        return chosen.astype(np.uint64)

    def _literals(self, kind: str, index: Index) -> list[str]:
        """One pass of the vectorised generator serves many statements."""
        if kind in ("rekey", "delete"):
            return literals(self._keys(kind, index))
        if kind == "insert":
            fresh = [pl.lit(value, dtype=pl.String).alias(name) for name, value in self.table.fresh.items()]
            frame = self.table.rows(self._draw, index).frame.with_columns(fresh)
        else:
            self._version += 1
            make = self.table.correct if kind == "correct" else self.table.revise
            if make is None:
                raise ValueError(f"{self.table.resource} has no {kind}")
            frame = make(self._draw, index, self._version)
        self._columns[kind] = ", ".join(map(sql_name, frame.columns))
        return literals(frame)

    def _keys(self, kind: str, index: Index) -> pl.DataFrame:
        if self.table.revise is None:
            raise ValueError(f"{self.table.resource} has no key to find rows by")
        frame = self.table.revise(self._draw, index, 0).select(self.table.key)
        self._columns[kind] = ", ".join(map(sql_name, frame.columns))
        return frame


def _column_types(cursor: Any, table: Table) -> dict[str, str]:
    cursor.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table.name,),
    )
    # Without its length, `character` would mean a single letter.
    return {sql_name(name): "text" if kind == "character" else kind for name, kind in cursor.fetchall()}


def _extent(cursor: Any, table: Table) -> tuple[int, int, int]:
    if not table.number:
        cursor.execute(f"SELECT count(*) FROM {table.name}")
        count = int(cursor.fetchone()[0])
        return count, count, count
    cursor.execute(
        f"SELECT coalesce(min(n) FILTER (WHERE n >= {KEEP}), {KEEP}), coalesce(max(n) + 1, 0), count(*)"
        f" FROM (SELECT {table.number} AS n FROM {table.name}) numbers"
    )
    first, following, count = (int(value) for value in cursor.fetchone())
    return first, max(first, following), count
