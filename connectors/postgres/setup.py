"""Slot and publications: made by us, or taken as the DBA made them.

Two publications: tables with a key publish everything; tables without one publish inserts only,
since publishing their updates would make the department's own UPDATE and DELETE fail (rule 10).
Publications first, then the slot: decoding fails on changes older than the publication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg2

from connectors.postgres.catalog import Table, quoted
from connectors.postgres.session import Connection, lost_log
from datarail.contract import Contract
from datarail.errors import Terminal


@dataclass(slots=True, frozen=True)
class Slot:
    """confirmed: LSN up to which everything is acknowledged. held: bytes of log kept for it."""

    name: str
    confirmed: int
    active: bool
    held: int


@dataclass(slots=True, frozen=True)
class Names:
    """What the station's objects in the source are called."""

    slot: str
    keyed: str
    inserts: str

    @classmethod
    def of(cls, contract: Contract) -> Names:
        base = contract.source.publication or contract.name
        return cls(contract.source.slot or contract.name, base, f"{base}_inserts")


_SLOT = """
SELECT slot_name, (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, active,
       (pg_current_wal_lsn() - restart_lsn)::bigint, plugin, database = current_database(), {status}
FROM pg_replication_slots WHERE slot_name = %s
"""


def find_slot(connection: Connection, name: str) -> Slot | None:
    """The slot, or None. Raises Terminal when it is no use: another plugin, or its log is gone."""
    status = "wal_status" if connection.server_version >= 130000 else "'reserved'"
    with connection.cursor() as cursor:
        cursor.execute(_SLOT.format(status=status), (name,))
        found = cursor.fetchone()
    if found is None:
        return None
    slot, confirmed, active, held, plugin, here, wal = found
    if plugin != "pgoutput" or not here:
        raise Terminal(
            f"the replication slot {slot} exists, but not for pgoutput in this database",
            part="source",
            remedy="name another in source.slot, or let the DBA drop it",
        )
    if wal == "lost":
        raise lost_log(f"slot {slot} was overrun (wal_status = lost)", "source")
    return Slot(slot, confirmed or 0, active, held or 0)


def slot_sql(names: Names) -> str:
    return f"SELECT pg_create_logical_replication_slot('{names.slot}', 'pgoutput');"


def publication_sql(connection: Connection, names: Names, tables: dict[str, tuple[Table, bool]]) -> list[str]:
    """The statements that are still needed so that every table is published as it must be.

    tables: by resource, and whether it has a key. Empty: nothing to do.
    """
    statements = []
    for name, keyed in ((names.keyed, True), (names.inserts, False)):
        wanted = sorted({table.sql for table, has_key in tables.values() if has_key is keyed})
        if not wanted:
            continue
        published = _published(connection, name)
        listed = ", ".join(wanted)
        if published is None:
            options = [] if keyed else ["publish = 'insert'"]
            if connection.server_version >= 130000:
                options.append("publish_via_partition_root = true")
            suffix = f" WITH ({', '.join(options)})" if options else ""
            statements.append(f"CREATE PUBLICATION {quoted(name)} FOR TABLE {listed}{suffix}")
        elif missing := [table for table in wanted if table not in published]:
            statements.append(f"ALTER PUBLICATION {quoted(name)} ADD TABLE {', '.join(missing)}")
        parted = any(table.kind == "p" for table, has_key in tables.values() if has_key is keyed)
        if published is not None and parted and not _by_root(connection, name):
            # Else changes come by the names of partitions, which no contract knows.
            statements.append(f"ALTER PUBLICATION {quoted(name)} SET (publish_via_partition_root = true)")
    return statements


def keyed(contract: Contract, tables: Mapping[str, Table]) -> dict[str, tuple[Table, bool]]:
    """Tables by resource, each with whether its contract names a key."""
    return {name: (table, bool(contract.resources[name].key)) for name, table in tables.items()}


def unpublished(connection: Connection, names: Names, tables: dict[str, tuple[Table, bool]]) -> list[str]:
    """The resources whose changes the log does not tell us: their tables are in no publication of ours."""
    published = {
        has_key: _published(connection, names.keyed if has_key else names.inserts) or set()
        for has_key in {has_key for _, has_key in tables.values()}
    }
    return [name for name, (table, has_key) in tables.items() if table.sql not in published[has_key]]


def publish(
    connection: Connection, names: Names, managed: bool, tables: dict[str, tuple[Table, bool]]
) -> bool:
    """Make the publications as needed; true when something changed.

    Raises Terminal with the SQL the DBA must run when we may not, or must not (managed: false).
    """
    statements = publication_sql(connection, names, tables)
    if not statements:
        return False
    script = " ".join(f"{statement};" for statement in statements)
    if not managed:
        raise Terminal(
            "the publication does not carry every table of the contract (source.managed is false)",
            part="source",
            remedy=f"let the DBA run: {script}",
        )
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except psycopg2.errors.InsufficientPrivilege as error:
        raise Terminal(
            f"publications cannot be made: {' '.join(str(error).split())}",
            part="source",
            remedy=f"let the DBA (or the tables' owner) run: {script}",
        ) from error
    return True


def keyless(connection: Connection, names: Names) -> list[tuple[str, str]]:
    """Tables whose updates are published though nothing identifies their rows (any more)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname, c.relname FROM pg_publication_rel r "
            "JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s AND p.pubupdate "
            "AND c.relreplident <> 'f' AND (c.relreplident = 'n' OR NOT EXISTS ("
            "SELECT FROM pg_index i WHERE i.indrelid = c.oid "
            "AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END))",
            (names.keyed,),
        )
        return [(schema, table) for schema, table in cursor.fetchall()]


def unpublish(connection: Connection, names: Names, schema: str, table: str) -> None:
    """Take a table out of the keyed publication."""
    with connection.cursor() as cursor:
        cursor.execute(unpublish_sql(names, schema, table))


def unpublish_sql(names: Names, schema: str, table: str) -> str:
    return f"ALTER PUBLICATION {quoted(names.keyed)} DROP TABLE {quoted(schema)}.{quoted(table)}"


def existing_publications(connection: Connection, names: Names) -> list[str]:
    return [name for name in (names.keyed, names.inserts) if _published(connection, name) is not None]


def settled(connection: Connection, wait: Callable[[], None]) -> None:
    """Wait until every transaction has ended that began before now: one that was already
    writing when its table was published may be decoded without that table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT txid_snapshot_xmax(txid_current_snapshot())")
        until = (cursor.fetchone() or (0,))[0]
        while True:
            cursor.execute("SELECT txid_snapshot_xmin(txid_current_snapshot())")
            if (cursor.fetchone() or (0,))[0] >= until:
                return
            wait()


def drop(connection: Connection, names: Names) -> list[str]:
    """Drop slot and publications; what is not there is no error. Returns what was dropped."""
    dropped = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT active, active_pid FROM pg_replication_slots WHERE slot_name = %s", (names.slot,)
        )
        found = cursor.fetchone()
        if found is not None:
            if found[0]:
                raise Terminal(
                    f"the slot {names.slot} is in use (server process {found[1]})",
                    part="source",
                    remedy="stop the station's connector first",
                )
            cursor.execute("SELECT pg_drop_replication_slot(%s)", (names.slot,))
            dropped.append(f"slot {names.slot}")
        for name in existing_publications(connection, names):
            cursor.execute(f"DROP PUBLICATION IF EXISTS {quoted(name)}")
            dropped.append(f"publication {name}")
    return dropped


def _by_root(connection: Connection, name: str) -> bool:
    """Whether a partitioned table's changes come by its own name (PostgreSQL 13 and later)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pubviaroot FROM pg_publication WHERE pubname = %s", (name,))
        return bool((cursor.fetchone() or (False,))[0])


def _published(connection: Connection, name: str) -> set[str] | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT puballtables FROM pg_publication WHERE pubname = %s", (name,))
        if cursor.fetchone() is None:
            return None
        # Names of partitions stand here too; a partitioned table published by its root stands as itself.
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s UNION "
            "SELECT n.nspname, c.relname FROM pg_publication_rel r "
            "JOIN pg_publication p ON p.oid = r.prpubid "
            "JOIN pg_class c ON c.oid = r.prrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE p.pubname = %s",
            (name, name),
        )
        return {f"{quoted(schema)}.{quoted(table)}" for schema, table in cursor.fetchall()}
