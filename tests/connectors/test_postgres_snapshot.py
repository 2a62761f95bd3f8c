"""The position that goes with a snapshot: past all it saw, and one that the log comes to."""

from __future__ import annotations

import time
from contextlib import closing

from psycopg2.extensions import connection as Connection

from connectors.postgres.audit import snapshot_sql
from tests.connectors.databases import Database

_PAGE = 8192


def one(connection: Connection, sql: str) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() or ()


def written(connection: Connection, kind: str) -> int:
    (lsn,) = one(connection, f"SELECT (pg_current_wal_{kind}_lsn() - '0/0'::pg_lsn)::bigint")
    assert isinstance(lsn, int)
    return lsn


def position(connection: Connection) -> int:
    _, lsn = one(connection, snapshot_sql(connection.server_version))
    assert isinstance(lsn, int)
    return lsn


def test_it_is_past_commits_that_are_seen_before_they_are_written(database: Database) -> None:
    with closing(database.connect()) as source, closing(database.connect()) as reader:
        reader.autocommit = True
        for number in range(50):
            with source, source.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")
                cursor.execute("INSERT INTO ledger VALUES (%s, 0)", (number,))
                before = written(source, "insert")  # the commit's own record is not before this
            assert position(reader) > before


def test_it_is_come_to_where_a_record_ends_with_its_page(database: Database) -> None:
    with closing(database.connect()) as source:
        source.autocommit = True
        for _ in range(200):
            start = written(source, "insert")
            one(source, "SELECT pg_logical_emit_message(false, 'x', '')")
            shortest = written(source, "insert") - start
            left = -written(source, "insert") % _PAGE
            if left >= shortest:
                one(source, f"SELECT pg_logical_emit_message(false, 'x', repeat('.', {left - shortest}))")
            before, told, after = written(source, "insert"), position(source), written(source, "insert")
            if before == after and before % _PAGE in (24, 40):
                break
        else:
            raise AssertionError("no record ended with its page")
        assert told == before - before % _PAGE
        until = time.monotonic() + 20
        while written(source, "flush") < told:
            assert time.monotonic() < until
            time.sleep(0.1)
