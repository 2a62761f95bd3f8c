"""PostgreSQL databases made for one test."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import connection as Connection

from connectors.postgres.session import OUTPUT_SETTINGS, without_password
from datarail.settings import Settings
from deploy.embedded.postgres_setup import dsn

_NUMBER = itertools.count(1)


class Database:
    """A database of its own on the session's server, or on one whose databases `address` knows; its
    slots go with it."""

    def __init__(self, settings: Settings, address: Callable[[str], str] | None = None) -> None:
        address = address or partial(dsn, settings)
        self.name = f"connectors_{os.getpid()}_{next(_NUMBER)}"
        self._admin = psycopg2.connect(address("postgres"))
        self._admin.autocommit = True
        self._do(f"CREATE DATABASE {self.name} ENCODING 'UTF8' TEMPLATE template0")
        self.url = address(self.name)
        self.password = unquote(urlsplit(self.url).password or "")
        self._connection = self.connect()

    def connect(self) -> Connection:
        return psycopg2.connect(self.url, options=OUTPUT_SETTINGS)

    def transaction(self, statements: list[str]) -> None:
        _run(self._connection, statements)

    def session(self) -> Callable[[list[str]], None]:
        connection = self.connect()
        return lambda statements: _run(connection, statements)

    def rows(self, table: str) -> dict[tuple[str | None, ...], dict[str, str | None]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT a.attname FROM pg_index i, unnest(i.indkey) k, pg_attribute a WHERE i.indisprimary "
                "AND i.indrelid = %s::regclass AND a.attrelid = i.indrelid AND a.attnum = k",
                (f'"{table}"',),
            )
            key = [row[0] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND NOT attisdropped ORDER BY attnum",
                (f'"{table}"',),
            )
            names = [row[0] for row in cursor.fetchall()]
            written = ", ".join(
                f'CASE WHEN "{name}" IS NULL THEN NULL ELSE concat("{name}") END' for name in names
            )
            cursor.execute(f'SELECT {written} FROM "{table}"')
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return {tuple(row[item] for item in key): row for row in found}

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def source_entry(self, folder: Path) -> dict[str, object]:
        (folder / "password").write_text(self.password)
        return {"kind": "postgres", "url": without_password(self.url), "password": {"file": "password"}}

    def holds(self) -> bool:
        return bool(self.query(f"SELECT 1 FROM pg_replication_slots WHERE database = '{self.name}'"))

    def drop(self) -> None:
        self._connection.close()
        for _ in range(50):
            with suppress(psycopg2.Error):
                self._do(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    f"WHERE datname = '{self.name}' AND pid <> pg_backend_pid()"
                )
                self._do(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                    f"WHERE database = '{self.name}'"
                )
                self._do(f"DROP DATABASE IF EXISTS {self.name}")
                break
            time.sleep(0.2)
        self._admin.close()

    def _do(self, sql: str) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(sql)


def _run(connection: Connection, statements: list[str]) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("; ".join(statements))
