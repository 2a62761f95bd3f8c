"""Which chunk a key lies in: asked of the source, since only it knows its types and collations."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.postgres.catalog import Table
from connectors.postgres.copying import range_key
from connectors.postgres.overlap import Key
from connectors.postgres.session import Connection


def locate(
    connection: Connection, table: Table, key: Sequence[str], bounds: Sequence[Key], keys: Sequence[Key]
) -> list[int]:
    """The chunk number of each key: how many bounds lie below it.

    keys are in the contract's order, bounds in the order of the index.
    """
    if not bounds:
        return [0] * len(keys)
    order = range_key(table, key)
    places = [list(key).index(item) for item in order]
    columns = [[row[place] for row in keys] for place in places]
    limits = [list(column) for column in zip(*bounds, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_query(table, order), [*limits, *columns])
        return [int(row[0]) for row in cursor.fetchall()]


def _query(table: Table, order: Sequence[str]) -> str:
    types = [table.column(item).type for item in order]
    collations = [
        f" COLLATE {table.column(item).collation}" if table.column(item).collation else "" for item in order
    ]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    if len(order) == 1:
        # width_bucket searches by halves, and counts a bound that equals the key: take that back.
        return (
            "SELECT width_bucket(k.a, b.a) - coalesce((b.a[width_bucket(k.a, b.a)] = k.a)::int, 0) "
            f"FROM (SELECT %s::{types[0]}[] AS a) b, "
            f"(SELECT a{collations[0]} AS a, n FROM unnest({arrays}) WITH ORDINALITY u(a, n)) k ORDER BY k.n"
        )
    names = [f"c{number}" for number in range(len(order))]
    left = ", ".join(f"k.{name}{collation}" for name, collation in zip(names, collations, strict=True))
    right = ", ".join(f"b.{name}" for name in names)
    listed = ", ".join(names)
    return (
        f"WITH b AS MATERIALIZED (SELECT * FROM unnest({arrays}) u({listed})) "
        f"SELECT (SELECT count(*) FROM b WHERE ({left}) > ({right})) "
        f"FROM unnest({arrays}) WITH ORDINALITY k({listed}, n) ORDER BY k.n"
    )
