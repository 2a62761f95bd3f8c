"""What every kind of connector must do, whatever it reads. A kind's test inherits this class and
gives a `Source`; the tests come with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors import control
from datarail.contract_file import read_contract
from datarail.errors import Terminal
from datarail.position import Lane
from datarail.settings import Settings
from tests.connectors.raw import check_partitions
from tests.connectors.running import eventually
from tests.connectors.station import KEY, Source, Station, Writer, check_counting, department, seed


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
