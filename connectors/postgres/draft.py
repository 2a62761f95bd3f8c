"""A contract drafted from a PostgreSQL source's catalogue and samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zlib import crc32

import psycopg2

from connectors.drafting.contract_text import DraftResource, contract_text
from connectors.drafting.feeding import cross_checks, feeds
from connectors.drafting.suggest import Sampled, suggest
from connectors.postgres.catalog import Table, quoted
from connectors.postgres.probe import tables, usable_key
from connectors.postgres.session import Connection, connect, explain, without_password

SAMPLE_ROWS = 1000
#: From here on rows are taken from all over the table, not from its beginning.
_LARGE = 50_000


def draft(
    url: str, password: str | None, department: str, system: str, secret: Mapping[str, str] | None = None
) -> str:
    """The YAML text. Reads the catalogue and up to SAMPLE_ROWS rows of each table; values are
    used to tell what columns mean and never written down (but for code spellings such as 男).

    Raises Transient when the source is away, Terminal when it refuses.
    """
    connection = connect(url, password, name="datarail attach")
    try:
        connection.set_session(readonly=True, autocommit=True)
        found = tables(connection)
        left_out = {
            table.sql: refused[0] if refused else "it may not be read"
            for table, readable, _, refused in found
            if refused or not readable
        }
        taken = [table for table, *_ in found if table.sql not in left_out]
        names = resource_names(taken)
        resources = [_resource(connection, table, names[table.sql]) for table in taken]
        notes = [f"{name} is left out: {why}" for name, why in left_out.items()]
    except psycopg2.Error as error:
        raise explain(error, url) from error
    finally:
        connection.close()
    if secret is None and password:
        secret = {"env": f"DATARAIL_{department}_{system}_PASSWORD".upper()}
    return contract_text(department, system, "postgres", without_password(url), secret, resources, notes)


def resource_names(found: list[Table]) -> dict[str, str]:
    """A resource name for every table, by its SQL name: letters, digits, underscores; unique."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for table in found:
        name = re.sub(r"[^a-z0-9_]+", "_", table.name.lower()).strip("_")
        if not re.search(r"[a-z]", name):
            # A Chinese name cannot be part of a topic's.
            name = f"t_{crc32(table.name.encode()):08x}"
        if name in taken:
            name = f"{re.sub(r'[^a-z0-9_]+', '_', table.schema.lower())}_{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[table.sql] = name
    return names


def _resource(connection: Connection, table: Table, name: str) -> DraftResource:
    samples = _sample(connection, table)
    columns = []
    for place, column in enumerate(table.columns):
        present = [row[place] for row in samples if row[place] is not None]
        distinct = len(set(present)) / len(present) if present else 0.0
        columns.append(
            Sampled(
                column.name, column.type, column.comment, column.not_null, [str(v) for v in present], distinct
            )
        )
    items = [suggest(column) for column in columns]
    cross_checks(items)
    key = usable_key(table)
    notes = [f"about {table.rows} rows"] if table.rows else []
    if not key:
        notes.append(
            "This table has no primary key: only its inserts are carried, each row a thing of its own."
        )
    return DraftResource(
        name,
        table.name if table.schema == "public" and "." not in table.name else f"{table.schema}.{table.name}",
        table.comment.splitlines()[0] if table.comment else "",
        list(key),
        items,
        feeds(items, {column.name: column.distinct for column in columns}) if key else [],
        notes,
    )


def _sample(connection: Connection, table: Table) -> list[tuple[str | None, ...]]:
    listed = ", ".join(
        f"CASE WHEN {quoted(column.name)} IS NULL THEN NULL ELSE left(concat({quoted(column.name)}), 200) END"
        for column in table.columns
    )
    if not listed:
        return []
    spread = ""
    if table.rows > _LARGE and table.kind == "r":
        spread = f" TABLESAMPLE SYSTEM ({min(100.0, 400.0 * SAMPLE_ROWS / table.rows):.6f})"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {listed} FROM {table.sql}{spread} LIMIT {SAMPLE_ROWS}")
        return cursor.fetchall()
