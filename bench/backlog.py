"""Changes committed while nobody reads: inserts, updates and deletes over all tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Writes load and knows what the tables hold afterwards.

    skewed: nine of ten transactions are the first table's, the others share the tenth.
    """

    def __init__(self, tables: Sequence[WideTable], rows: int, *, skewed: bool = False) -> None:
        self.tables = list(tables)
        self.extents = {table.name: Extent(0, rows) for table in self.tables}
        self.skewed = skewed
        self._version = 0
        self._turn = 0

    def mixed(self, connection: Any, changes: int, each: int = 1000) -> int:
        """Commit at least `changes` changes, `each` a transaction: 30 % inserts, 60 % updates, 10 %
        deletes, the tables in turn. connection: autocommit. Returns how many they were."""
        return self._write(connection, changes, lambda table: self._transaction(table, each))

    def inserts(self, connection: Any, changes: int, each: int = 1000) -> int:
        """As mixed, but new rows only."""
        return self._write(connection, changes, lambda table: [self._insert(table, each)])

    def updates(self, connection: Any, changes: int, each: int = 1000) -> int:
        """As mixed, but updates only; at most all rows of a table in one transaction."""
        return self._write(connection, changes, lambda table: [self._update(table, each)])

    def deletes(self, connection: Any, changes: int, each: int = 1000) -> int:
        """As mixed, but the oldest rows go; at most half of each table's."""
        room = sum((extent.end - extent.first) // 2 for extent in self.extents.values())
        return self._write(connection, min(changes, room), lambda table: [self._delete(table, each)])

    def _write(self, connection: Any, changes: int, statements: Callable[[WideTable], list[str]]) -> int:
        done = 0
        with connection.cursor() as cursor:
            # What is measured comes afterwards: only the writing need not wait for the disk.
            cursor.execute("SET synchronous_commit = off")
            while done < changes:
                made = statements(self._next())
                if len(made) > 1:
                    cursor.execute("BEGIN")
                for statement in made:
                    cursor.execute(statement)
                    done += cursor.rowcount
                if len(made) > 1:
                    cursor.execute("COMMIT")
            cursor.execute("SET synchronous_commit = on")
            cursor.execute("SELECT pg_switch_wal()")
            # Nor is what the writing leaves to do for the source, which would come at any moment after.
            cursor.execute("SELECT pg_stat_force_next_flush()")  # or it is counted after the vacuum
            cursor.execute(f"VACUUM (ANALYZE) {', '.join(table.name for table in self.tables)}")
            cursor.execute("CHECKPOINT")
        return done

    def _next(self) -> WideTable:
        turn, self._turn = self._turn, self._turn + 1
        if not self.skewed or len(self.tables) == 1:
            return self.tables[turn % len(self.tables)]
        return self.tables[1 + turn // 10 % (len(self.tables) - 1)] if turn % 10 == 9 else self.tables[0]

    def _insert(self, table: WideTable, each: int) -> str:
        extent = self.extents[table.name]
        extent.end += each
        return insert_sql(table, extent.end - each, each)

    def _update(self, table: WideTable, each: int) -> str:
        extent = self.extents[table.name]
        self._version += 1
        first = extent.first
        if each < extent.end - extent.first:
            first += self._version * each % (extent.end - extent.first - each)
        return update_sql(table, first, min(each, extent.end - first), self._version)

    def _delete(self, table: WideTable, each: int) -> str:
        extent = self.extents[table.name]
        extent.first += each
        return delete_sql(table, extent.first - each, each)

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
