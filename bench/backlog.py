"""Changes committed while nobody reads: inserts, updates and deletes over all tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from examples.city.wide import WideTable, delete_sql, insert_sql, update_sql

#: Parts of a transaction of the mixed load.
INSERTS, UPDATES, DELETES = 0.3, 0.6, 0.1


@dataclass
class Extent:
    """The rows a table has: numbers first … end - 1."""

    first: int
    end: int


class Backlog:
    """Writes load and knows what the tables hold afterwards."""

    def __init__(self, tables: Sequence[WideTable], rows: int) -> None:
        self.tables = list(tables)
        self.extents = {table.name: Extent(0, rows) for table in self.tables}
        self._version = 0
        self._turn = 0

    def mixed(self, connection: Any, changes: int, each: int = 1000) -> int:
        """Commit at least `changes` changes, `each` a transaction: 30 % inserts, 60 % updates, 10 %
        deletes, the tables in turn. connection: autocommit. Returns how many they were."""
        done = 0
        with connection.cursor() as cursor:
            # What is measured comes afterwards: only the writing need not wait for the disk.
            cursor.execute("SET synchronous_commit = off")
            while done < changes:
                table = self.tables[self._turn % len(self.tables)]
                statements = self._transaction(table, each)
                cursor.execute("BEGIN")
                for statement in statements:
                    cursor.execute(statement)
                    done += cursor.rowcount
                cursor.execute("COMMIT")
                self._turn += 1
            cursor.execute("SET synchronous_commit = on")
            cursor.execute("SELECT pg_switch_wal()")
        return done

    def updates(self, connection: Any, changes: int, each: int) -> int:
        """Commit updates only, `each` rows a transaction; one statement, one commit."""
        done = 0
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            while done < changes:
                table = self.tables[self._turn % len(self.tables)]
                extent = self.extents[table.name]
                self._version += 1
                first = extent.first
                if each < extent.end - extent.first:
                    first += self._version * each % (extent.end - extent.first - each)
                cursor.execute(update_sql(table, first, min(each, extent.end - first), self._version))
                done += cursor.rowcount
                self._turn += 1
            cursor.execute("SET synchronous_commit = on")
        return done

    def _transaction(self, table: WideTable, each: int) -> list[str]:
        extent = self.extents[table.name]
        inserts, deletes = max(1, round(each * INSERTS)), round(each * DELETES)
        updates = max(1, each - inserts - deletes)
        self._version += 1
        statements = [insert_sql(table, extent.end, inserts)]
        extent.end += inserts
        # Updates wander through the table, so that they do not always meet the same rows.
        room = max(1, extent.end - extent.first - deletes - updates)
        at = extent.first + deletes + self._version * 7919 % room
        statements.append(update_sql(table, at, updates, self._version))
        if deletes:
            statements.append(delete_sql(table, extent.first, deletes))
            extent.first += deletes
        return statements
