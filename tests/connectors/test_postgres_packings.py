"""How much goes into one train: never more than Kafka takes, whatever the rows are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors import shipper
from connectors.postgres import station as postgres
from connectors.postgres import streaming
from datarail.contract_file import read_contract
from datarail.settings import Settings
from datarail.train import Train
from tests.connectors.databases import Database
from tests.connectors.raw import check_identities, fold, read_trains, rows_of
from tests.connectors.running import eventually
from tests.connectors.station import Station, department

_MOST_BYTES = streaming.MOST_BYTES // 40
_TABLES = [f"file{number:02d}" for number in range(20)]


def _insert(table: str, first: int, last: int, texts: int) -> str:
    """Rows with a note of so many times 88 characters that hardly compress, each row its own; of none: one
    that compresses well."""
    dense = (
        f"(SELECT string_agg(encode(sha512(('{table}' || i || '.' || j)::text::bytea), 'base64'), '') "
        f"FROM generate_series(1, {texts}) j)"
    )
    note = dense if texts else "repeat('x', 600)"
    return f"INSERT INTO {table} SELECT i, {note} FROM generate_series({first}, {last}) i"


@pytest.fixture
def database(servers: Settings) -> Iterator[Database]:
    database = Database(servers)
    database.transaction([f"CREATE TABLE {table} (id integer PRIMARY KEY, note text)" for table in _TABLES])
    yield database
    database.drop()


@pytest.fixture
def station(servers: Settings, database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Station:
    station = Station(servers, database, tmp_path, f"{department(request)}.packings")
    station.resources.clear()
    for table in _TABLES:
        station.resources[table] = {"table": table, "key": "id", "items": {"id": {}, "note": {}}}
    station.write()
    return station


@contextmanager
def _running(station: Station) -> Iterator[None]:
    """The connector on a thread of this process."""
    stop = threading.Event()
    settings = station.settings.model_copy(update={"partitions": 1})  # a packing is one train
    thread = threading.Thread(target=postgres.run, args=(settings, read_contract(station.file), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def capture(
    station: Station, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[[], list[tuple[int, Train]]]:
    """A slot has been made, and nothing is at work. Called, it captures the backlog, with limits a fortieth
    of the real ones and time to reach them, and returns all that came."""
    monkeypatch.setattr(streaming, "MOST_BYTES", _MOST_BYTES)
    monkeypatch.setattr(shipper, "LARGEST", 65536 + _MOST_BYTES * 4 // 3)
    monkeypatch.setattr(streaming, "_LINGER_SECONDS", 60.0)
    monkeypatch.setattr(streaming, "_LINGER_SHARE", 60.0)
    monkeypatch.setattr(streaming, "_GAP_SECONDS", 0.5)
    caplog.set_level(logging.INFO)
    with _running(station):
        eventually(lambda: "streaming from" in caplog.text, "it streams")

    def capture() -> list[tuple[int, Train]]:
        time.sleep(2.5)  # old enough for the largest packings
        with _running(station):
            eventually(lambda: _all_came(station, database), "all is captured")
        trains = read_trains(station.settings, station.name)
        check_identities(rows_of(trains, station.name))
        return trains

    return capture


def _all_came(station: Station, database: Database) -> bool:
    rows = rows_of(read_trains(station.settings, station.name), station.name)
    return all(fold(rows, table, ["id"]) == database.rows(table) for table in _TABLES)


def test_rows_that_suddenly_compress_badly(
    database: Database, capture: Callable[[], list[tuple[int, Train]]], caplog: pytest.LogCaptureFixture
) -> None:
    for first in range(1, 61, 20):
        database.transaction([_insert(table, first, first + 19, 0) for table in _TABLES])
    for first in range(61, 121, 5):
        database.transaction([_insert(table, first, first + 4, 10) for table in _TABLES])
    trains = capture()
    assert max(sum(car.nbytes for car in train.cars) for _, train in trains) > _MOST_BYTES * 1.5
    assert "more than Kafka takes" in caplog.text
    assert "trying again" in caplog.text


def test_a_large_row_after_many_leaves_alone(
    database: Database, capture: Callable[[], list[tuple[int, Train]]], caplog: pytest.LogCaptureFixture
) -> None:
    database.transaction([_insert("file00", 1, 300, 10), _insert("file01", 1, 1, _MOST_BYTES // 88)])
    trains = capture()
    assert [[car.rows for car in train.manifest.cars] for _, train in trains][-1] == [1]
    assert "more than Kafka takes" not in caplog.text
