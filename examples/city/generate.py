"""Fills the city (`seed`), and keeps it changing (`load`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from examples.city.departments import DEPARTMENTS, Department, sizes
from examples.city.draw import DEFAULT_SEED, Draw
from examples.city.load import Loaded, load
from examples.city.session import Address, connect
from examples.city.table import Table, csv, sql_name

__all__ = ["DEFAULT_SEED", "Loaded", "Seeded", "load", "seed"]

_CHUNK = 50_000


@dataclass
class Seeded:
    """rows: by resource. faults: by resource and kind, each row at fault counted once."""

    rows: dict[str, int] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def held(self) -> dict[str, int]:
        """Rows by resource that the sample contracts hold in quarantine."""
        kinds = {table.resource: table.kinds for one in DEPARTMENTS for table in one.tables}
        return {
            resource: sum(count for kind, count in counts.items() if kinds[resource][kind].held)
            for resource, counts in self.faults.items()
        }


def seed(
    rows: int,
    address: Address,
    *,
    seed: int = DEFAULT_SEED,
    departments: tuple[Department, ...] = DEPARTMENTS,
) -> Seeded:
    """Fill empty tables with `rows` rows in total, by COPY, one transaction a department.

    Raises psycopg2.errors.UniqueViolation when a table has these rows already.
    """
    draw, counts, seeded = Draw(seed), sizes(rows), Seeded()
    for department in departments:
        with connect(address(department.database)) as connection, connection, connection.cursor() as cursor:
            for table in department.tables:
                seeded.rows[table.resource] = counts[table.resource]
                seeded.faults[table.resource] = _fill(cursor, table, draw, counts[table.resource])
        # The planner must know the sizes: the load joins by key.
        with connect(address(department.database)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for table in department.tables:
                cursor.execute(f"ANALYZE {table.name}")
    return seeded


def made(table: Table, draw: Draw, rows: int) -> Iterator[tuple[bytes, dict[str, int], list[str]]]:
    """The rows 0 … rows - 1 in pieces: CSV, faults by kind, the columns."""
    for first in range(0, rows, _CHUNK):
        index = np.arange(first, min(first + _CHUNK, rows), dtype=np.uint64)
        piece = table.rows(draw, index)
        yield csv(piece.frame), piece.faults.counts(), piece.frame.columns


def _fill(cursor: Any, table: Table, draw: Draw, rows: int) -> dict[str, int]:
    faults: dict[str, int] = dict.fromkeys(table.kinds, 0)
    for data, counts, columns in made(table, draw, rows):
        names = ", ".join(map(sql_name, columns))
        cursor.copy_expert(
            rf"COPY {table.name} ({names}) FROM STDIN (FORMAT csv, NULL '\N')", io.BytesIO(data)
        )
        for kind, count in counts.items():
            faults[kind] += count
    return faults
