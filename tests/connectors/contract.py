"""What every kind of connector must do, whatever it reads. A kind's test inherits this class and
gives a `Source`; the tests come with it.

The table they use: `ledger(id integer primary key, n integer, note text)`. Each update adds one to
n, so the values of n seen for one id tell at once of a gap, a repeat or a swap.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from connectors import control
from datarail.contract_file import read_contract
from datarail.errors import Terminal
from datarail.position import Lane
from datarail.settings import Settings
from tests.connectors.raw import Row, check_identities, check_partitions, fold, read_rows
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


class ConnectorContract:
    """Inherit, and give `source` as a fixture."""

    @pytest.fixture
    def source(self) -> Source:
        raise AssertionError("a kind's test class gives its source")

    @pytest.fixture
    def station(
        self, servers: Settings, source: Source, tmp_path: Path, request: pytest.FixtureRequest
    ) -> Iterator[Station]:
        name = department(request)
        station = Station(servers, source, tmp_path, f"{name}.{type(self).__name__.lower()}")
        yield station
        station.connector.kill()

    def test_order_and_values(self, station: Station) -> None:
        seed(station.source, 5)
        station.connector.start()
        station.wait("streaming")
        station.source.transaction(
            ["UPDATE ledger SET note = NULL WHERE id = 1", "INSERT INTO ledger VALUES (9, 1, '')"]
        )
        station.source.transaction(["DELETE FROM ledger WHERE id = 2"])
        rows = station.settle()
        assert [row.op for row in rows if row.lane == Lane.SNAPSHOT] == ["r"] * 5
        stream = sorted((row for row in rows if row.lane == Lane.STREAM), key=lambda row: row.identity)
        assert [(row.op, row.values["id"]) for row in stream] == [("u", "1"), ("c", "9"), ("d", "2")]
        assert stream[0].identity.position == stream[1].identity.position < stream[2].identity.position
        assert [row.identity.index for row in stream] == [0, 1, 0]
        assert stream[0].values["note"] is None
        assert stream[1].values["note"] == ""
        check_partitions(rows, "ledger", KEY, station.settings.partitions)

    def test_snapshot_and_stream_meet(self, station: Station) -> None:
        seed(station.source, 5000)
        writer = Writer(station.source, 5000)
        writer.start()
        station.connector.start()
        station.wait("streaming")
        time.sleep(1)
        writer.end()
        check_counting(station.settle())

    def test_kill_while_streaming(self, station: Station) -> None:
        seed(station.source, 300)
        station.connector.start()
        station.wait("streaming")
        writer = Writer(station.source, 300)
        writer.start()
        for _ in range(4):
            time.sleep(1.2)
            station.connector.kill()
            station.connector.start()
        time.sleep(1)
        writer.end()
        check_counting(station.settle())

    def test_kill_while_snapshotting(self, station: Station) -> None:
        seed(station.source, 6000)
        writer = Writer(station.source, 6000)
        writer.start()
        for pause in (1.6, 1.7, 1.8, 2.0):
            station.connector.start()
            time.sleep(pause)
            station.connector.kill()
        station.connector.start()
        station.wait("streaming")
        writer.end()
        rows = station.settle()
        assert sum(1 for row in rows if row.op == "r") >= 6000
        check_counting(rows, snapshot_may_run_ahead=True)

    def test_killed_after_each_note(self, station: Station, tmp_path: Path) -> None:
        seed(station.source, 700)
        notes = tmp_path / "notes"
        for run in range(60):
            station.source.transaction(
                [
                    "UPDATE ledger SET n = n + 1 WHERE id IN (1, 600)",
                    f"INSERT INTO ledger VALUES ({1000 + run}, 0, 'new')",
                    f"DELETE FROM ledger WHERE id = {1000 + run - 1}",
                ]
            )
            if not station.dies(notes):
                break
        rows = station.settle()
        check_counting(rows, snapshot_may_run_ahead=True)
        noted = [line.partition(" after ")[0] for line in notes.read_text().splitlines()]
        chunks = {what.removesuffix(" done=True") for what in noted if what.endswith(" done=True")}
        assert len(chunks) == 2
        assert {f"{chunk} gone" for chunk in chunks} <= set(noted)

    def test_truncate(self, station: Station) -> None:
        seed(station.source, 20)
        station.connector.start()
        station.wait("streaming")
        station.source.transaction(["TRUNCATE ledger"])
        station.source.transaction(["INSERT INTO ledger VALUES (1, 1, 'after')"])
        rows = station.settle()
        assert sum(1 for row in rows if row.op == "t") == station.settings.partitions

    def test_key_change(self, station: Station) -> None:
        seed(station.source, 20)
        station.connector.start()
        station.wait("streaming")
        station.source.transaction(["UPDATE ledger SET id = id + 100"])
        rows = station.settle()
        stream = sorted((row for row in rows if row.lane == Lane.STREAM), key=lambda row: row.identity)
        assert [(row.op, row.identity.part) for row in stream] == [("d", 0), ("c", 1)] * 20

    def test_pause_and_resume(self, station: Station) -> None:
        seed(station.source, 3)
        station.connector.start()
        station.wait("streaming")
        control.pause(station.settings, station.name)
        station.wait("paused")
        assert control.paused(station.settings) == {station.name}
        station.source.transaction(["UPDATE ledger SET n = n + 1"])
        time.sleep(1)
        assert len(station.raw()) == 3
        control.resume(station.settings, station.name)
        check_counting(station.settle())

    def test_detach_and_attach_again(self, station: Station) -> None:
        seed(station.source, 3)
        station.connector.start()
        station.wait("streaming")
        contract = read_contract(station.file)
        with pytest.raises(Terminal, match="stop"):
            control.detach(station.settings, contract)
        assert station.connector.stop() == 0
        assert control.detach(station.settings, contract)
        assert control.detach(station.settings, contract) == []
        assert not station.source.holds()
        station.source.transaction(["DELETE FROM ledger WHERE id = 1"])
        station.connector.start()
        rows = station.settle()
        assert {row.identity.epoch for row in rows} == {1, 2}

    @pytest.mark.parametrize("read", [True, False], ids=["read", "half"])
    def test_resource_taken_out_and_back(self, station: Station, tmp_path: Path, read: bool) -> None:
        """What changed meanwhile is not lost, whether the table had been read to its end or not."""
        seed(station.source, 3)
        station.source.transaction(
            ["CREATE TABLE other (id integer PRIMARY KEY, n integer)"]
            + [f"INSERT INTO other VALUES ({i}, 0)" for i in range(700)]
        )
        other = {"table": "other", "key": "id", "items": {"id": {}, "n": {}}}
        station.resources["other"] = other
        station.write()
        if read:
            station.connector.start()
            eventually(lambda: station.caught_up("other", ["id"]), "the table is read")
            station.connector.stop()
        else:
            station.connector.start_dying(tmp_path / "notes", at="chunk/other/00000000 done=True")
            station.connector.wait()
        del station.resources["other"]
        station.write()
        station.connector.start()
        station.source.transaction(
            [
                "UPDATE other SET n = 1 WHERE id IN (1, 600)",
                "DELETE FROM other WHERE id IN (2, 601)",
                "INSERT INTO other VALUES (1000, 1)",
                "UPDATE ledger SET n = 1",
            ]
        )
        station.settle()
        station.connector.stop()
        station.resources["other"] = other
        station.write()
        station.connector.start()
        eventually(lambda: station.caught_up("other", ["id"]), "what changed meanwhile is captured")
        station.source.transaction(["UPDATE other SET n = 2 WHERE id IN (3, 602)"])
        eventually(lambda: station.caught_up("other", ["id"]), "the table's stream is captured")
        check_counting([row for row in station.settle() if row.resource == "ledger"])

    def test_added_resource(self, station: Station) -> None:
        seed(station.source, 3)
        station.connector.start()
        station.wait("streaming")
        station.source.transaction(["UPDATE ledger SET n = 1"])
        station.settle()
        station.connector.stop()
        station.source.transaction(
            [
                "CREATE TABLE other (a integer, b varchar(20), PRIMARY KEY (a, b))",
                "INSERT INTO other VALUES (1, 'x'), (2, 'y')",
            ]
        )
        station.resources["other"] = {"table": "other", "key": ["a", "b"], "items": {"a": {}, "b": {}}}
        station.write()
        station.connector.start()
        eventually(lambda: station.caught_up("other", ["a", "b"]), "the new table is captured")
        station.source.transaction(
            ["INSERT INTO other VALUES (3, 'z')", "UPDATE ledger SET n = 2 WHERE id = 1"]
        )
        eventually(lambda: station.caught_up("other", ["a", "b"]), "the new table's stream is captured")
        check_counting([row for row in station.settle() if row.resource == "ledger"])
