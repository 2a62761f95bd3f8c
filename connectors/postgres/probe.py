"""Can this source be attached, and how: version, log level, privileges, keys, free slots, sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import psycopg2

from connectors.port import Point, TableEstimate, Verdict
from connectors.postgres.catalog import Table, quoted, read_table, unpublishable
from connectors.postgres.session import Connection, connect, connect_replication, explain, without_password
from datarail.errors import Terminal

#: Rows and bytes a second the first load reads when nothing caps it, to estimate by (bench/).
_ROWS_A_SECOND, _BYTES_A_SECOND = 60_000, 40_000_000

_TABLES = """
SELECT n.nspname, c.relname, has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_%'
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


class Found(NamedTuple):
    """A table of the department's. readable, owned: by us. refused: why it cannot be published, if it
    cannot, and the way out."""

    table: Table
    readable: bool
    owned: bool
    refused: tuple[str, str] | None


def tables(connection: Connection) -> list[Found]:
    """The department's own tables."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        names = cursor.fetchall()
    found = [(read_table(connection, schema, name), select, owner) for schema, name, select, owner in names]
    return [
        Found(
            _estimated(connection, table) if select else table,
            select,
            owner,
            unpublishable(table, connection.server_version),
        )
        for table, select, owner in found
    ]


def _estimated(connection: Connection, table: Table) -> Table:
    # Never analysed: the planner still guesses from the table's size.
    if table.rows:
        return table
    plan = _one(connection, f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {table.sql}")[0]
    return replace(table, rows=int(plan[0]["Plan"]["Plan Rows"]) if table.bytes > 8192 else 0)


def probe(url: str, password: str | None) -> Verdict:
    """Look without changing anything. Raises Transient when the source is away, Terminal when
    it refuses the login."""
    connection = connect(url, password, name="datarail probe")
    try:
        verdict = Verdict(without_password(url), _one(connection, "SHOW server_version")[0])
        verdict.version = f"PostgreSQL {verdict.version}"
        _version(connection, verdict)
        _log_level(connection, verdict)
        _room(connection, verdict)
        user = _one(connection, "SELECT current_user")[0]
        _replication(connection, verdict, user, url, password)
        _tables(connection, verdict, user)
        _encoding(connection, verdict)
    except psycopg2.Error as error:
        raise explain(error, url) from error
    finally:
        connection.close()
    rows, size = sum(t.rows for t in verdict.tables), sum(t.bytes for t in verdict.tables)
    verdict.snapshot_seconds = round(max(rows / _ROWS_A_SECOND, size / _BYTES_A_SECOND), 1)
    return verdict


def _version(connection: Connection, verdict: Verdict) -> None:
    if connection.server_version < 100000:
        verdict.points.append(
            Point(
                "missing", "this version has no pgoutput (10 and later have)", "poll its tables or take files"
            )
        )
    elif connection.server_version < 140000:
        verdict.points.append(Point("note", "an old version: it works; 14 and later decode faster"))
        if connection.server_version < 110000:
            verdict.points.append(
                Point(
                    "note",
                    "PostgreSQL 10 does not tell a TRUNCATE: rows it takes away stay on this side",
                    "after one, `datarail resume STATION --resnapshot` (`datarail audit` tells of it)",
                )
            )
    else:
        verdict.points.append(Point("good", "the version decodes its log natively (pgoutput)"))


def _log_level(connection: Connection, verdict: Verdict) -> None:
    level = _one(connection, "SHOW wal_level")[0]
    if _one(connection, "SELECT pg_is_in_recovery()")[0]:
        verdict.points.append(
            Point(
                "missing",
                "this server is a standby: it cannot be captured from",
                "name the primary's address",
            )
        )
    if level == "logical":
        verdict.points.append(Point("good", "wal_level is logical"))
        return
    verdict.points.append(
        Point(
            "missing",
            f"wal_level is {level}, it must be logical",
            "then restart the server once",
            ("ALTER SYSTEM SET wal_level = logical;",),
        )
    )


def _room(connection: Connection, verdict: Verdict) -> None:
    for setting, view in (
        ("max_replication_slots", "pg_replication_slots"),
        ("max_wal_senders", "pg_stat_replication"),
    ):
        most = int(_one(connection, f"SHOW {setting}")[0])
        used = int(_one(connection, f"SELECT count(*) FROM {view}")[0])
        if used < most:
            verdict.points.append(Point("good", f"{setting}: {most - used} of {most} are free"))
        else:
            verdict.points.append(
                Point(
                    "missing",
                    f"{setting}: all {most} are taken",
                    "then restart the server once",
                    (f"ALTER SYSTEM SET {setting} = {most + 4};",),
                )
            )
    if connection.server_version >= 130000:
        kept = _one(connection, "SHOW max_slot_wal_keep_size")[0]
        if kept == "-1":
            verdict.points.append(
                Point(
                    "note",
                    "max_slot_wal_keep_size is unlimited: a station that is down long lets the log grow",
                    "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' would bound it",
                )
            )


def _replication(connection: Connection, verdict: Verdict, user: str, url: str, password: str | None) -> None:
    may = _one(connection, "SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user")[0]
    if not may:
        verdict.points.append(
            Point(
                "missing",
                f"the user {user} may not replicate",
                sql=(f"ALTER ROLE {quoted(user)} REPLICATION;",),
            )
        )
        return
    try:
        connect_replication(url, password, name="datarail probe").close()
    except Terminal as error:
        verdict.points.append(
            Point("missing", f"no replication session: {error.message}", "a line for it in pg_hba.conf")
        )
        return
    verdict.points.append(Point("good", f"the user {user} may replicate"))


def _tables(connection: Connection, verdict: Verdict, user: str) -> None:
    found = tables(connection)
    for table, _, _, refused in found:
        if refused:
            verdict.points.append(Point("note", f"{table.sql} is left out: {refused[0]}", refused[1]))
    readable = [(table, owned) for table, readable, owned, refused in found if readable and not refused]
    hidden = [table for table, readable, _, refused in found if not readable and not refused]
    if hidden:
        verdict.points.append(
            Point(
                "note" if readable else "missing",
                f"{len(hidden)} tables may not be read: {', '.join(table.sql for table in hidden[:5])}",
                "they are left out unless the DBA grants them",
                ()
                if readable
                else tuple(f"GRANT SELECT ON {table.sql} TO {quoted(user)};" for table in hidden),
            )
        )
    if not found:
        verdict.points.append(Point("missing", "the database has no tables that this user can see"))
    bare = [table for table, _ in readable if not usable_key(table)]
    for table, _ in readable:
        verdict.tables.append(
            TableEstimate(
                f"{table.schema}.{table.name}", table.comment, usable_key(table), table.rows, table.bytes
            )
        )
    if bare:
        verdict.points.append(
            Point(
                "note",
                f"{len(bare)} tables have no primary key: {', '.join(table.sql for table in bare[:5])}",
                "only their inserts are carried; a primary key would carry everything",
            )
        )
    _publications(connection, verdict, user, readable)


def _publications(
    connection: Connection, verdict: Verdict, user: str, readable: list[tuple[Table, bool]]
) -> None:
    create = _one(connection, "SELECT has_database_privilege(current_database(), 'CREATE')")[0]
    foreign = [table for table, owner in readable if not owner]
    if create and not foreign:
        verdict.points.append(Point("good", "publications can be made by this user"))
        return
    database = _one(connection, "SELECT current_database()")[0]
    statements = [] if create else [f"GRANT CREATE ON DATABASE {quoted(database)} TO {quoted(user)};"]
    owners = sorted({_owner(connection, table) for table in foreign})
    statements += [f"GRANT {quoted(owner)} TO {quoted(user)};" for owner in owners]
    verdict.points.append(
        Point(
            "missing",
            "this user may not publish the tables (only their owner may)",
            "or let the DBA make slot and publication, and say `managed: false` in the contract",
            tuple(statements),
        )
    )


def _owner(connection: Connection, table: Table) -> str:
    owner: str = _one(
        connection, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = %s::regclass", table.sql
    )[0]
    return owner


def _encoding(connection: Connection, verdict: Verdict) -> None:
    encoding = _one(connection, "SHOW server_encoding")[0]
    if encoding == "SQL_ASCII":
        verdict.points.append(
            Point(
                "note",
                "the database checks no encoding (SQL_ASCII): bytes that are not UTF-8 are shown as \\x..",
            )
        )


def usable_key(table: Table) -> tuple[str, ...]:
    """The columns that identify a row in the log; empty: only inserts can be carried."""
    if table.replident == "f":
        return table.primary_key
    return table.identity


def _one(connection: Connection, query: str, *values: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchone() or (None,)
