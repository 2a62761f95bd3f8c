"""What goes wrong with a PostgreSQL source: each has a clear message, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors import log_topics
from connectors.shipper import Shipper
from connectors.train_builder import Packed
from datarail.position import Lane
from datarail.settings import Settings
from datarail.train import Manifest
from deploy import line
from tests.connectors.databases import Database
from tests.connectors.raw import fold
from tests.connectors.running import eventually
from tests.connectors.station import Station, Writer, check_counting, department, seed


@pytest.fixture
def station(
    servers: Settings, database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Station]:
    station = Station(servers, database, tmp_path, f"{department(request)}.trouble")
    yield station
    station.connector.kill()


def test_wrong_password(station: Station, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("not the password")
    station.connector.start()
    assert station.connector.wait() == 1
    assert "the password is wrong" in station.connector.said()
    assert "not the password" not in station.connector.said()


def test_missing_privileges(station: Station, database: Database) -> None:
    database.transaction([f"CREATE ROLE {database.name} LOGIN PASSWORD 'x'"])
    try:
        url = database.url.rpartition("@")[2]
        station.document["source"] = {"url": f"postgresql://{database.name}:x@{url}"}
        station.write()
        station.connector.start()
        assert station.connector.wait() == 1
        assert "let the DBA (or the tables' owner) run: CREATE PUBLICATION" in station.connector.said()
        database.transaction(
            [
                f"GRANT CREATE ON DATABASE {database.name} TO {database.name}",
                f"ALTER TABLE ledger OWNER TO {database.name}",
            ]
        )
        station.connector.start()
        assert station.connector.wait() == 1
        assert "a privilege is missing" in station.connector.said()
    finally:
        database.transaction(
            [f"REASSIGN OWNED BY {database.name} TO postgres", f"DROP OWNED BY {database.name}"]
        )
        database.transaction([f"DROP ROLE {database.name}"])


def test_one_bad_table_does_not_stop_the_others(station: Station, database: Database) -> None:
    seed(database, 3)
    station.resources["gone"] = {"table": "gone", "key": "id", "items": {"id": {}}}
    station.write()
    station.connector.start()
    station.wait("the table public.gone does not exist")
    station.settle()


def test_wrong_key_in_the_contract(station: Station, database: Database) -> None:
    database.transaction(["CREATE TABLE other (a integer PRIMARY KEY, b integer)"])
    station.resources["other"] = {"table": "other", "key": "b", "items": {"a": {}, "b": {}}}
    station.write()
    station.connector.start()
    station.wait("replica identity is a")


def test_dropped_column(station: Station, database: Database) -> None:
    seed(database, 3)
    station.connector.start()
    station.wait("streaming")
    database.transaction(["ALTER TABLE ledger DROP COLUMN note", "UPDATE ledger SET n = 1 WHERE id = 1"])
    station.wait("the column note is gone from public.ledger")
    eventually(lambda: any(row.lane == Lane.STREAM for row in station.raw()), "changes go on")
    assert [row.values for row in station.raw() if row.lane == Lane.STREAM] == [{"id": "1", "n": "1"}]


def test_lost_key_never_stops_the_department(station: Station, database: Database) -> None:
    seed(database, 3)
    station.connector.start()
    station.wait("streaming")
    database.transaction(["ALTER TABLE ledger DROP CONSTRAINT ledger_pkey"])
    station.wait("has lost its primary key")
    database.transaction(["UPDATE ledger SET n = n + 1", "DELETE FROM ledger WHERE id = 2"])
    database.transaction(["ALTER TABLE ledger ADD PRIMARY KEY (id)"])
    station.connector.stop()
    station.connector.start()
    rows = station.settle()
    assert any(row.op == "t" and row.lane == Lane.SNAPSHOT for row in rows)


ANEW = {
    "dropped": ["DROP TABLE ledger", "CREATE TABLE ledger (id integer PRIMARY KEY, n integer, note text)"],
    "swapped": [
        "CREATE TABLE new (id integer PRIMARY KEY, n integer, note text)",
        "ALTER TABLE ledger RENAME TO old",
        "ALTER TABLE new RENAME TO ledger",
    ],
}


@pytest.mark.parametrize("how", ANEW)
def test_a_table_made_anew_is_read_anew(station: Station, database: Database, how: str) -> None:
    """As nightly loads do it; what the stream brings after it is captured too."""
    seed(database, 5)
    station.connector.start()
    station.wait("streaming")
    database.transaction(["UPDATE ledger SET n = 1"])
    station.settle()
    database.transaction([*ANEW[how], "INSERT INTO ledger VALUES (3, 7, 'three'), (9, 7, 'nine')"])
    station.settle()
    database.transaction(["UPDATE ledger SET n = 8 WHERE id = 3"])
    rows = station.settle()
    assert any(row.values["n"] == "8" and row.lane == Lane.STREAM for row in rows)
    assert "public.ledger is not published any more" in station.connector.said().replace('"', "")


def test_a_table_made_anew_where_the_dba_publishes(station: Station, database: Database) -> None:
    seed(database, 5)
    database.transaction(
        ["CREATE TABLE other (id integer PRIMARY KEY)", "CREATE PUBLICATION pub FOR TABLE ledger, other"]
    )
    database.transaction([f"SELECT pg_create_logical_replication_slot('s_{database.name}', 'pgoutput')"])
    leave_to_the_dba(station, database)
    station.resources["other"] = {"table": "other", "key": "id", "items": {"id": {}}}
    station.write()
    station.connector.start()
    station.wait("streaming")
    database.transaction([*ANEW["dropped"], "INSERT INTO ledger VALUES (3, 7, 'three')"])
    station.wait('let the DBA run: ALTER PUBLICATION "pub" ADD TABLE "public"."ledger"; then restart')
    database.transaction(["INSERT INTO other VALUES (1)"])
    eventually(lambda: station.caught_up("other", ["id"]), "the other table goes on")
    database.transaction(["ALTER PUBLICATION pub ADD TABLE ledger"])
    station.connector.stop()
    station.connector.start()
    station.settle()


def test_lost_slot(station: Station, database: Database) -> None:
    seed(database, 5)
    station.connector.start()
    station.wait("streaming")
    station.connector.stop()
    database.transaction(
        [
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE database = current_database()"
        ]
    )
    database.transaction(["DELETE FROM ledger WHERE id = 1", "UPDATE ledger SET n = 7 WHERE id = 2"])
    station.connector.start()
    assert station.connector.wait() == 1
    assert "--resnapshot" in station.connector.said()
    station.connector.start("--resnapshot")
    rows = station.settle()
    assert {row.identity.epoch for row in rows} == {1, 2}


def leave_to_the_dba(station: Station, database: Database) -> None:
    """Slot and publication are the DBA's: s_<database> and pub."""
    entry = station.document["source"]
    assert isinstance(entry, dict)
    station.document["source"] = {
        **entry,
        "managed": False,
        "slot": f"s_{database.name}",
        "publication": "pub",
    }


def test_managed_by_the_dba(station: Station, database: Database) -> None:
    seed(database, 3)
    leave_to_the_dba(station, database)
    station.write()
    station.connector.start()
    assert station.connector.wait() == 1
    assert 'let the DBA run: CREATE PUBLICATION "pub" FOR TABLE "public"."ledger"' in station.connector.said()
    database.transaction(["CREATE PUBLICATION pub FOR ALL TABLES"])
    station.connector.start()
    assert station.connector.wait() == 1
    assert f"pg_create_logical_replication_slot('s_{database.name}', 'pgoutput')" in station.connector.said()
    database.transaction([f"SELECT pg_create_logical_replication_slot('s_{database.name}', 'pgoutput')"])
    database.transaction(["CREATE TABLE others (id integer PRIMARY KEY)", "INSERT INTO others VALUES (1)"])
    database.transaction(["UPDATE ledger SET n = 1"])
    station.connector.start()
    station.settle()


def test_partitions_that_the_dba_published_by_their_own_names(station: Station, database: Database) -> None:
    database.transaction(
        [
            "CREATE TABLE visit (id integer PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM (1) TO (100)",
            "CREATE PUBLICATION pub FOR TABLE ledger, visit",
        ]
    )
    leave_to_the_dba(station, database)
    station.resources["visit"] = {"table": "visit", "key": "id", "items": {"id": {}}}
    station.write()
    station.connector.start()
    assert station.connector.wait() == 1
    mend = 'ALTER PUBLICATION "pub" SET (publish_via_partition_root = true)'
    assert f"let the DBA run: {mend}" in station.connector.said()
    database.transaction([mend])
    database.transaction([f"SELECT pg_create_logical_replication_slot('s_{database.name}', 'pgoutput')"])
    station.connector.start()
    station.wait("streaming")
    database.transaction(["INSERT INTO visit VALUES (7)"])
    eventually(lambda: station.caught_up("visit"), "its changes come by its name", of=station.connector)


def test_an_unlogged_table_does_not_stop_the_others(station: Station, database: Database) -> None:
    database.transaction(["CREATE UNLOGGED TABLE cache (id integer PRIMARY KEY)"])
    seed(database, 3)
    station.resources["cache"] = {"table": "cache", "key": "id", "items": {"id": {}}}
    station.write()
    station.connector.start()
    station.wait("public.cache cannot be captured: it is unlogged")
    station.settle()


def test_source_goes_away(station: Station, database: Database) -> None:
    seed(database, 50)
    station.connector.start()
    station.wait("streaming")
    writer = Writer(database, 50)
    writer.start()
    for _ in range(2):
        time.sleep(1)
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'datarail%'"
        )
    time.sleep(3)
    writer.end()
    check_counting(station.settle())
    assert "the source is away" in station.connector.said()
    assert "Traceback" not in station.connector.said()


def test_idle_source_keeps_no_log(station: Station, database: Database, servers: Settings) -> None:
    seed(database, 3)
    station.connector.start()
    station.wait("streaming")
    other = Database(servers)
    try:
        other.transaction(
            ["CREATE TABLE noise AS SELECT i, repeat('x', 500) FROM generate_series(1, 40000) i"]
        )
    finally:
        other.drop()
    eventually(
        lambda: bool(
            database.query(
                "SELECT 1 FROM pg_replication_slots WHERE database = current_database() "
                "AND pg_current_wal_lsn() - confirmed_flush_lsn < 1000000"
            )
        ),
        "the slot lets the log go",
    )


def test_rate_cap(station: Station, database: Database) -> None:
    seed(database, 1500)
    entry = station.document["source"]
    assert isinstance(entry, dict)
    station.document["source"] = {**entry, "snapshot": {"rows_per_second": 500}}
    station.write()
    began = time.monotonic()
    station.connector.start()
    station.settle()
    assert time.monotonic() - began >= 2.5


def test_large_transaction(station: Station, database: Database) -> None:
    station.connector.start()
    station.wait("streaming")
    database.transaction(
        ["INSERT INTO ledger SELECT i, 0, repeat('x', 50) FROM generate_series(1, 120000) i"]
    )
    rows = station.settle()
    assert len({row.identity.position for row in rows}) == 1
    assert {row.identity.index for row in rows} == set(range(120000))


@contextmanager
def kafka_silent(servers: Settings) -> Iterator[None]:
    """Kafka neither answers nor hangs up."""
    kafka = next(part.pid for part in line.parts(servers) if part.name == "kafka")
    assert kafka
    os.kill(kafka, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka, signal.SIGCONT)


def test_a_shipper_ends_with_trains_under_way(servers: Settings) -> None:
    log_topics.ensure(servers, "ending.trouble")
    shipper = Shipper(servers, "ending.trouble", servers.partitions)
    shipper.send(Packed(0, Manifest("ending.trouble", 1, 0), []))
    shipper.drain(seconds=30)
    with kafka_silent(servers):
        shipper.send(Packed(0, Manifest("ending.trouble", 1, 0), []))
        sender = shipper._producer._sender
        shipper.close()
        assert not sender.is_alive()


def test_kafka_goes_away(station: Station, database: Database, servers: Settings) -> None:
    seed(database, 50)
    station.connector.start()
    station.wait("streaming")
    writer = Writer(database, 50)
    writer.start()
    time.sleep(1)
    with kafka_silent(servers):
        time.sleep(20)
    time.sleep(2)
    writer.end()
    eventually(station.caught_up, "all is captured", 90, of=station.connector)
    rows = station.raw()
    check_counting(rows)
    assert fold(rows, "ledger", ["id"])


def test_source_and_kafka_go_away_together(station: Station, database: Database, servers: Settings) -> None:
    seed(database, 50)
    station.connector.start()
    station.wait("streaming")
    writer = Writer(database, 50)
    writer.start()
    time.sleep(1)
    with kafka_silent(servers):
        time.sleep(1)
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'datarail%'"
        )
        time.sleep(6)
    time.sleep(2)
    writer.end()
    eventually(station.caught_up, "all is captured", 90, of=station.connector)
    check_counting(station.raw())
    assert "Traceback" not in station.connector.said()
