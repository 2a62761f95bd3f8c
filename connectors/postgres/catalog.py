"""What PostgreSQL's catalogue says of a table: columns, identity, kind."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.postgres.session import Connection
from datarail.errors import Terminal


@dataclass(slots=True, frozen=True)
class Column:
    """type is as format_type writes it; collation is empty where it is the type's own."""

    name: str
    type: str
    not_null: bool
    comment: str = ""
    collation: str = ""


@dataclass(slots=True, frozen=True)
class Table:
    """identity: the columns whose old values an update or delete brings, in key order; empty:
    none, so its updates cannot be published. replident: d default, n nothing, f full, i index.
    kind: r a table, p a partitioned one."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    identity: tuple[str, ...]
    replident: str
    kind: str = "r"
    unlogged: bool = False
    comment: str = ""
    rows: int = 0
    bytes: int = 0

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def quoted(name: str) -> str:
    """An SQL identifier, whatever its letters."""
    return '"' + name.replace('"', '""') + '"'


_TABLE = """
SELECT c.oid, c.relreplident::text, c.relkind::text, c.relpersistence = 'u',
       coalesce(obj_description(c.oid, 'pg_class'), ''), greatest(c.reltuples, 0)::bigint,
       pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(col_description(a.attrelid, a.attnum), ''),
       CASE WHEN a.attcollation <> t.typcollation
            THEN quote_ident(cn.nspname) || '.' || quote_ident(co.collname) ELSE '' END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
"""
_INDEX = """
SELECT a.attname FROM pg_index i
JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) ON true
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND CASE WHEN %s THEN i.indisprimary ELSE i.indisreplident END
ORDER BY k.place
"""


def read_table(connection: Connection, schema: str, name: str) -> Table:
    """One table; raises Terminal when it does not exist (or may not be seen)."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLE, (schema, name))
        found = cursor.fetchone()
        if found is None:
            raise Terminal(
                f"the table {schema}.{name} does not exist",
                part="source",
                remedy="restore it, or take the resource out of the contract",
            )
        oid, replident, kind, unlogged, comment, rows, size = found
        cursor.execute(_COLUMNS.replace("AND a.attgenerated = ''", _generated(connection)), (oid,))
        columns = tuple(Column(*row) for row in cursor.fetchall())
        cursor.execute(_INDEX, (oid, True))
        primary = tuple(row[0] for row in cursor.fetchall())
        cursor.execute(_INDEX, (oid, False))
        index = tuple(row[0] for row in cursor.fetchall())
    identity = {
        "d": primary,
        "i": index,
        "f": tuple(column.name for column in columns),
    }.get(replident, ())
    return Table(schema, name, columns, primary, identity, replident, kind, unlogged, comment, rows, size)


def _generated(connection: Connection) -> str:
    # pgoutput sends no generated columns (before 18, and then only when asked): nor do we read them.
    return "AND a.attgenerated = ''" if connection.server_version >= 120000 else ""


def unpublishable(table: Table, server_version: int) -> tuple[str, str] | None:
    """Why the server would refuse to publish a table (and every other of the same statement), and the
    way out; None when it does not."""
    if table.unlogged:
        return "it is unlogged: its changes are in no log", f"ALTER TABLE {table.sql} SET LOGGED"
    if table.kind == "p" and server_version < 130000:
        return (
            "it is partitioned: PostgreSQL publishes such tables from 13 on",
            "name its partitions as resources of their own",
        )
    return None


def check_published(resource: str, table: Table, server_version: int) -> None:
    """Raises Terminal when the server would refuse to publish the table."""
    if refused := unpublishable(table, server_version):
        why, remedy = refused
        raise Terminal(
            f"{table.schema}.{table.name} cannot be captured: {why}",
            part=resource,
            remedy=f"{remedy}, or take the resource out of the contract",
        )


def check_key(resource: str, key: list[str], table: Table) -> None:
    """Raises Terminal when the contract's key cannot work with the table's identity."""
    names = {column.name for column in table.columns}
    missing = [item for item in key if item not in names]
    if missing:
        raise Terminal(
            f"the key item {missing[0]} of {resource} is no column of {table.schema}.{table.name}",
            part=resource,
            remedy="mend `key` in the contract",
        )
    if key and table.replident != "f" and set(key) != set(table.identity):
        said = ", ".join(table.identity) or "none"
        raise Terminal(
            f"the contract's key of {resource} is {', '.join(key)}, but the table's "
            f"replica identity is {said}: its updates and deletes could not be told apart",
            part=resource,
            remedy="use the table's primary key as `key`, or an empty key for a table without one: inserts",
        )
