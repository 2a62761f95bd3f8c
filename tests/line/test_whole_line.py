"""The whole line on the real servers: flow, kill everything in turn, prove the balance."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from datarail.contract_file import read_stations
from datarail.indicators import read_indicators
from tests.line import reference
from tests.line.conftest import City

pytestmark = [pytest.mark.whole_line, pytest.mark.timeout(900)]

KILLED = [
    "connector-police.household",
    "streams",
    "sink-history",
    "sink-themes",
    "sink-indicators",
    "redis",
    "clickhouse",
    "kafka",
]


def test_status_tells_parts_and_resources(city: City) -> None:
    deadline = time.monotonic() + 30  # the streams may just have been started again
    while True:
        status = city.json("status")
        states = {part["name"]: part["state"] for part in status["parts"]}
        if set(states.values()) == {"running"}:
            break
        assert time.monotonic() < deadline, states
    assert {"kafka", "clickhouse", "redis", "postgres", "streams", "connector-grid.events"} <= set(states)
    assert len(status["resources"]) >= 10
    for row in status["resources"]:
        assert row["captured"] == row["landed"] + row["quarantined"] + row["filtered"] + row["lag_rows"]
        assert {"rate", "state"} <= set(row)
        assert {"p50", "p99"} <= set(row["freshness_ms"])
    assert sum(row["captured"] for row in status["resources"]) >= 19_000
    assert sum(row["quarantined"] for row in status["resources"]) > 0
    assert sum(row["filtered"] for row in status["resources"]) > 0


def test_every_part_may_be_killed_and_the_audit_balances(city: City) -> None:
    pause = 4.0
    load = city.load(400, seconds=len(KILLED) * (pause + 4))
    for part in KILLED:
        time.sleep(pause)
        city.kill(part)
    _, told = load.communicate(timeout=300)
    assert load.returncode == 0, told
    document = city.audit(180)
    assert document["balanced"], json.dumps(document, indent=1)
    for row in document["resources"]:
        assert (row["missing"], row["extra"], row["differing"]) == (0, 0, 0)
        assert row["captured"] == row["landed"] + row["quarantined"] + row["filtered"]


def test_history_themes_and_indicators_hold_each_change_once(city: City) -> None:
    assert city.audit()["balanced"]
    stations = read_stations(city.settings.stations)
    for station, contract in stations.items():
        for name in contract.resources:
            assert reference.twice_in_history(city.settings, station, name) == 0, f"{station}.{name}"
    for store in ("population", "legal_entity"):
        expected = reference.theme_keys(city.settings, stations, store)
        rows = reference.clickhouse(city.settings).execute(
            f"SELECT theme_key, count() FROM theme.{store}_source FINAL WHERE theme_key != '' GROUP BY 1"
        )
        assert dict(rows) == dict(expected)
        for key in list(expected)[:10]:
            golden = city.json("lookup", store, key)
            assert golden["contributions"] == expected[key]
    definitions = read_indicators(city.folder, stations)
    read = city.json("indicators")
    for name, definition in definitions.items():
        told = {
            tuple(each or "" for each in row["dimensions"]): Decimal(str(row["value"]))
            for row in read[name]["values"]
        }
        told = {place: value for place, value in told.items() if value}
        assert told == reference.indicator(city.settings, stations, definition), name


def test_a_subscriber_gets_each_change_once_and_in_order(city: City) -> None:
    city.audit()
    done = city.run("subscribe", "clean.police.person", "--idle", "8", "--json")
    assert done.returncode == 0, done.stderr
    seen: set[tuple[str, int, int]] = set()
    last: dict[str, tuple[int, ...]] = {}
    for text in done.stdout.splitlines():
        delivery = json.loads(text)
        source = delivery["value"]["source"]
        identity = (source["epoch"], source["pos"], source["idx"], source["part"])
        assert (delivery["key"], *identity) not in seen
        seen.add((delivery["key"], *identity))
        assert last.get(delivery["key"], (0,)) < identity
        last[delivery["key"]] = identity
    status = city.json("status")
    row = next(
        r for r in status["resources"] if (r["station"], r["resource"]) == ("police.household", "person")
    )
    assert len(seen) == row["landed"]


@pytest.mark.parametrize("sink", ["history", "themes", "indicators", "quarantine"])
def test_a_sink_may_be_made_anew(city: City, sink: str) -> None:
    before = city.json("indicators"), {r["resource"]: r["landed"] for r in city.json("status")["resources"]}
    done = city.run("rebuild", sink, "--yes")
    assert done.returncode == 0, done.stderr
    document = city.audit(180)
    assert document["balanced"], json.dumps(document, indent=1)
    after = city.json("indicators"), {r["resource"]: r["landed"] for r in city.json("status")["resources"]}
    assert after == before
