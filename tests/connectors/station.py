"""A connector under test, its source, and what tells that no change was lost, repeated or swapped.

The table they use: `ledger(id integer primary key, n integer, note text)`. Each update adds one to
n, so the values of n seen for one id tell at once of a gap, a repeat or a swap.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from datarail.settings import Settings
from tests.connectors.raw import Row, check_identities, fold, read_rows
from tests.connectors.running import Connector, eventually

KEY = ["id"]
Statements = Callable[[list[str]], None]


class Source(Protocol):
    """One database made for one test, with the table in it."""

    def transaction(self, statements: list[str]) -> None:
        """Run statements as one committed transaction."""
        ...

    def session(self) -> Statements:
        """`transaction` on a connection of its own, for a thread."""
        ...

    def rows(self, table: str) -> dict[tuple[str | None, ...], dict[str, str | None]]:
        """The table's rows by primary key, as written."""
        ...

    def source_entry(self, folder: Path) -> dict[str, object]:
        """The contract's `source`."""
        ...

    def holds(self) -> bool:
        """Whether the source keeps something for us (a slot)."""
        ...


class Station:
    """A connector under test with its source."""

    def __init__(self, settings: Settings, source: Source, folder: Path, name: str) -> None:
        self.source = source
        self.name = name
        (folder / "stations").mkdir()
        department, _, system = name.partition(".")
        entry = source.source_entry(folder)
        entry["snapshot"] = {"chunk_rows": 500}
        self.file = folder / "stations" / f"{name}.yaml"
        self.resources: dict[str, object] = {
            "ledger": {
                "table": "ledger",
                "key": "id",
                "items": {"id": {"type": "integer"}, "n": {}, "note": {}},
            }
        }
        self.document = {
            "department": {"code": department},
            "system": {"code": system},
            "source": entry,
            "resources": self.resources,
        }
        self.write()
        self.connector = Connector(settings, folder, name)
        self.settings = self.connector.settings

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.document, allow_unicode=True))

    def raw(self) -> list[Row]:
        rows = read_rows(self.settings, self.name)
        check_identities(rows)
        return rows

    def caught_up(self, table: str = "ledger", key: list[str] | None = None) -> bool:
        return fold(read_rows(self.settings, self.name), table, key or KEY) == self.source.rows(table)

    def wait(self, said: str) -> None:
        eventually(lambda: said in self.connector.said(), f"the log says {said!r}", of=self.connector)

    def settle(self) -> list[Row]:
        try:
            eventually(self.caught_up, "all is captured", of=self.connector)
        except AssertionError as error:
            error.add_note(self.difference())
            raise
        return self.raw()

    def dies(self, notes: Path) -> bool:
        """Start a connector that is killed at its next new note; False: it streams and has none."""
        before = self.connector.said().count("streaming from")
        self.connector.start_dying(notes)

        def decided() -> bool:
            return not self.connector.lives or self.connector.said().count("streaming from") > before

        eventually(decided, "it is killed, or streams", of=self.connector)
        until = time.monotonic() + 4
        while self.connector.lives and time.monotonic() < until:
            time.sleep(0.05)
        return not self.connector.lives

    def difference(self, table: str = "ledger") -> str:
        """Where what was captured is not what the table holds, with each such row's changes."""
        rows = read_rows(self.settings, self.name)
        captured, held = fold(rows, table, KEY), self.source.rows(table)
        keys = [key for key in captured.keys() | held.keys() if captured.get(key) != held.get(key)]
        told = [f"{len(keys)} of {len(held)} rows differ"]
        for key in sorted(keys, key=str)[:5]:
            told.append(f"{key}: captured {captured.get(key)}, held {held.get(key)}")
            changes = [
                row for row in rows if row.resource == table and (row.op == "t" or row.key(KEY) == key)
            ]
            told += [f"  {row}" for row in sorted(changes, key=lambda row: row.identity)]
        return "\n".join(told)


def department(request: pytest.FixtureRequest) -> str:
    """A department's code that is the test's own."""
    return "t" + "".join(letter for letter in request.node.name.lower() if letter.isalnum())[-30:]


def seed(source: Source, rows: int) -> None:
    source.transaction([f"INSERT INTO ledger VALUES ({i}, 0, 'row {i}')" for i in range(rows)])


class Writer(threading.Thread):
    """Commits small mixed transactions until told to end."""

    def __init__(self, source: Source, rows: int, seed_number: int = 1) -> None:
        super().__init__(daemon=True)
        self._transaction = source.session()
        self._random = random.Random(seed_number)
        self._rows = rows
        self._new = 1_000_000
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            statements = []
            for _ in range(self._random.choice([1, 1, 3, 20])):
                kind = self._random.random()
                row = self._random.randrange(self._rows)
                if kind < 0.8:
                    statements.append(f"UPDATE ledger SET n = n + 1 WHERE id = {row}")
                elif kind < 0.9:
                    self._new += 1
                    statements.append(f"INSERT INTO ledger VALUES ({self._new}, 0, 'new')")
                else:
                    statements.append(
                        f"DELETE FROM ledger WHERE id = {self._new - self._random.randrange(1, 9)}"
                    )
            self._transaction(statements)
            time.sleep(0.002)

    def end(self) -> None:
        self._ended.set()
        self.join(10)


def check_counting(rows: list[Row], snapshot_may_run_ahead: bool = False) -> None:
    """Every id's n goes up one by one: no change lost, none twice, none swapped."""
    by_key: dict[str | None, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.identity):
        if row.op != "t":
            by_key[row.values["id"]].append(row)
    for key, changes in by_key.items():
        last: int | None = None
        for row in changes:
            if row.op == "d":
                last = None
                continue
            now = int(row.values["n"] or 0)
            first_after_snapshot = snapshot_may_run_ahead and row is changes[1] if len(changes) > 1 else False
            if last is not None and not (first_after_snapshot and now <= last + 1):
                assert now == last + 1, f"id {key}: n {last} is followed by {now}"
            last = now
        assert sum(1 for row in changes if row.op == "r") <= 1, f"id {key} is read twice in the snapshot"
