"""PostgreSQL 10 keeps the contract of connectors too, but for what it does not tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from connectors.postgres.draft import draft
from connectors.postgres.probe import probe
from datarail.settings import Settings
from tests.connectors.contract import ConnectorContract
from tests.connectors.databases import Database
from tests.connectors.older_postgres import OlderPostgres, older_postgres
from tests.connectors.running import eventually
from tests.connectors.station import Source, Station, department, seed
from tests.connectors.test_golden import GOLDEN, played


@pytest.fixture(scope="module")
def older(servers: Settings) -> Iterator[OlderPostgres]:
    with older_postgres(servers) as server:
        yield server


@pytest.fixture
def address(older: OlderPostgres) -> Callable[[str], str]:
    return older.address


class TestPostgres10(ConnectorContract):
    @pytest.fixture
    def source(self, database: Database) -> Source:
        return database

    def test_truncate(self, station: Station) -> None:
        source = station.source
        assert isinstance(source, Database)
        notes = [point.text for point in probe(source.url, source.password).points if point.level == "note"]
        assert any("does not tell a TRUNCATE" in note for note in notes)
        seed(source, 20)
        station.connector.start()
        station.wait("streaming")
        source.transaction(["TRUNCATE ledger", "INSERT INTO ledger VALUES (1, 1, 'after')"])
        eventually(lambda: any(row.op == "c" for row in station.raw()), "what comes after it is captured")
        assert not station.caught_up()
        station.connector.stop()
        station.connector.start("--resnapshot")  # as the note says
        station.settle()


@pytest.mark.parametrize("name", ["keys", "no_key", "schema_change", "toast", "types"])
def test_golden(name: str, servers: Settings, older: OlderPostgres, tmp_path: Path) -> None:
    found = played(name, Database(servers, older.address), servers, tmp_path)
    told = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    # Before 12 a number is written with as many digits as tell it from every other, not as few.
    for row in told:
        row["row"] = {item: _LONG.get(value, value) for item, value in row["row"].items()}
    assert found == [row for row in told if row["op"] != "t"]


_LONG = {"0.1": "0.100000000000000006"}


def test_a_partitioned_table_is_left_out_and_its_partitions_can_be_captured(
    database: Database, servers: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database.transaction(
        [
            "CREATE TABLE visit (id integer NOT NULL, day date NOT NULL) PARTITION BY RANGE (day)",
            "CREATE TABLE visit_01 PARTITION OF visit (PRIMARY KEY (id)) "
            "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        ]
    )
    (refused,) = [p for p in probe(database.url, database.password).points if "partitioned" in p.text]
    assert refused.level == "note" and '"public"."visit" is left out' in refused.text
    text = draft(database.url, database.password, "a", "b", {"file": "password"})
    assert '"public"."visit" is left out: it is partitioned' in text
    assert list(yaml.safe_load(text)["resources"]) == ["ledger"]

    station = Station(servers, database, tmp_path, f"{department(request)}.older")
    items: dict[str, object] = {"id": {}, "day": {}}
    station.resources["visit"] = {"table": "visit", "items": items}
    station.resources["visit_01"] = {"table": "visit_01", "key": "id", "items": items}
    station.write()
    try:
        station.connector.start()
        station.wait("public.visit cannot be captured: it is partitioned")
        station.wait("streaming")
        database.transaction(["INSERT INTO visit VALUES (1, '2026-01-03')"])
        seed(database, 3)
        station.settle()
        eventually(lambda: station.caught_up("visit_01"), "the partition is captured")
    finally:
        station.connector.kill()
