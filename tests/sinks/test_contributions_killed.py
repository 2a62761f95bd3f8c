"""Themes and indicators as the processes they are, killed -9 again and again in mid-work."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from kafka import KafkaProducer
from trains import Maker, Row, contract_of, create_topic, delete_topic, new_station, person

from datarail.contract_file import read_stations
from datarail.indicators import read_indicators
from datarail.settings import Settings
from datarail.themes import read_themes
from datarail.topics import train as train_topic
from datarail.train import encode
from sinks.clickhouse import ClickHouse
from sinks.indicators.query import read
from sinks.redis_calls import connect
from sinks.themes.lookup import lookup

TRAINS, ROWS, KEYS = 160, 30, 400
PATIENCE = 90.0


@pytest.fixture
def line(servers: Settings, tmp_path: Path) -> Iterator[tuple[Settings, str]]:
    """A working folder with one station of its own, on the session's servers."""
    station = new_station()
    (tmp_path / "stations").mkdir()
    (tmp_path / ".datarail").mkdir()
    ports = servers.folder / ".datarail" / "ports.json"
    (tmp_path / ".datarail" / "ports.json").write_bytes(ports.read_bytes())
    kinds = {"id": "integer", "name": "string", "age": "integer", "born": "date", "note": "string"}
    feed = {"store": "population", "key": "note", "fields": {"name": "name", "birth_date": "born"}}
    items = {item: {"type": kind} for item, kind in kinds.items()}
    contract = contract_of(station, {"items": items, "feeds": [feed]})
    (tmp_path / "stations" / f"{station}.yaml").write_text(yaml.safe_dump(contract))
    of = {"station": station, "resource": "person"}
    indicators = {
        "people": {**of, "title": "人数", "by": ["name"]},
        "ages": {**of, "title": "年龄", "measure": "sum", "item": "age"},
    }
    (tmp_path / "indicators.yaml").write_text(yaml.safe_dump({"indicators": indicators}))
    create_topic(servers, train_topic(station))
    yield Settings.load(tmp_path), station
    delete_topic(servers, train_topic(station))


@contextmanager
def process(settings: Settings, sink: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "DATARAIL_FOLDER": str(settings.folder)}
    environment.pop("DATARAIL_METRICS_PORT", None)
    with log.open("ab") as file:
        started = subprocess.Popen([sys.executable, "-m", "sinks", sink], env=environment, stderr=file)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def send_all(settings: Settings, station: str, rows: dict[str, dict[str, Any]], pause: float) -> None:
    """Creates, updates that move a row to another golden record, deletes, a truncate; `rows`
    becomes what is there in the end."""
    rng = random.Random(7)
    makers = [Maker(station, partition) for partition in (0, 1)]
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    for number in range(TRAINS):
        batch = []
        for _ in range(ROWS):
            key = 2 * rng.randrange(KEYS // 2) + number % 2  # a key stays in its partition
            if rng.random() < 0.1:
                batch.append(person(key, op="d"))
                rows.pop(str(key), None)
                continue
            written = {
                "name": f"名{rng.randrange(5)}",
                "age": str(rng.randrange(90)),
                "note": f"{station}/{rng.randrange(99)}",
            }
            batch.append(person(key, written=written))
            rows[str(key)] = written
        if number in (60, 61):  # a truncate goes to every partition
            batch.append(Row(key="", op="t"))
            for key in [key for key in rows if int(key) % 2 == number % 2]:
                del rows[key]
        arrival = makers[number % 2].arrival(batch)
        value, headers = encode(arrival.train.manifest, arrival.train.cars)
        producer.send(arrival.topic, value, partition=number % 2, headers=headers)
        time.sleep(pause)
    producer.flush()
    producer.close()


def golden(settings: Settings, station: str) -> dict[str, set[str]]:
    """theme key → source keys that contribute to it, in Redis."""
    client = connect(settings.redis)
    found = {}
    for number in range(99):
        texts = client.hgetall(f"golden:{{population/{station}/{number}}}")
        alive = {
            name.decode().split("/", 2)[2] for name, text in texts.items() if "d" not in orjson.loads(text)
        }
        if alive:
            found[f"{station}/{number}"] = alive
    client.close()
    return found


def in_sql(settings: Settings, station: str) -> dict[str, set[str]]:
    store = ClickHouse(settings.clickhouse)
    found: dict[str, set[str]] = {}
    for who, key in store.rows(
        "SELECT theme_key, source_key FROM theme.population_source FINAL "
        "WHERE station = {station:String} AND is_deleted = 0",
        station=station,
    ):
        found.setdefault(who, set()).add(key)
    store.close()
    return found


def totals(settings: Settings) -> dict[str, dict[Any, Any]]:
    contracts = read_stations(settings.stations)
    client = connect(settings.redis)
    readings = read(client, read_indicators(settings.folder, contracts), contracts)
    client.close()
    return {name: reading.values for name, reading in readings.items()}


@pytest.mark.parametrize("sink", ["themes", "indicators"])
def test_killed_again_and_again_it_is_the_final_state(
    line: tuple[Settings, str], sink: str, tmp_path: Path
) -> None:
    settings, station = line
    rows: dict[str, dict[str, Any]] = {}
    sender = threading.Thread(target=send_all, args=(settings, station, rows, 0.25))
    sender.start()
    rng = random.Random(3)
    log = tmp_path / "log"
    while sender.is_alive():
        with process(settings, sink, log) as running:
            time.sleep(rng.uniform(8.0, 14.0))  # the group gives up a dead one after ten seconds
            running.send_signal(signal.SIGKILL)
    sender.join()

    def right() -> bool:
        if sink == "themes":
            expected: dict[str, set[str]] = {}
            for key, row in rows.items():
                expected.setdefault(row["note"], set()).add(key)
            return golden(settings, station) == expected == in_sql(settings, station)
        people: dict[Any, int] = {}
        for row in rows.values():
            people[row["name"],] = people.get((row["name"],), 0) + 1
        return totals(settings) == {
            "people": people,
            "ages": {(): sum(int(row["age"]) for row in rows.values())},
        }

    with process(settings, sink, log):
        until = time.monotonic() + PATIENCE
        while not right():
            assert time.monotonic() < until, log.read_text()[-4000:]
            time.sleep(0.3)
    assert re.search(r"from offset [1-9]", log.read_text()), "no life but the last one did anything"
    if sink == "themes":
        some = next(iter(rows.values()))["note"]
        client = connect(settings.redis)
        record = lookup(client, "population", some, read_themes(settings.folder))
        client.close()
        assert record is not None and record["fields"]["birth_date"]["value"] == "1980-01-02"
