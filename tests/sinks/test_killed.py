"""Sinks as the processes they are: killed -9 in mid-work, and ClickHouse killed under them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from trains import Maker, create_topic, delete_topic, new_station, person

from datarail.errors import Transient
from datarail.settings import Settings
from datarail.topics import raw
from datarail.topics import train as train_topic
from datarail.train import encode
from deploy import line, supervision
from sinks.clickhouse import ClickHouse, Refused
from sinks.ledger.query import per_hop

TRAINS, ROWS = 240, 40
PATIENCE = 60.0


@pytest.fixture(scope="module", autouse=True)
def alone(servers: Settings) -> None:
    """A process reads every station there is: what other tests have left half landed is not for these."""
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka)
    left = [topic for topic in admin.list_topics() if topic.startswith(("train.", "raw."))]
    if left:
        admin.delete_topics(left)
    admin.close()


@pytest.fixture
def station(servers: Settings) -> Iterator[str]:
    name = new_station()
    for topic in (train_topic(name), raw(name)):
        create_topic(servers, topic)
    yield name
    for topic in (train_topic(name), raw(name)):
        delete_topic(servers, topic)


@contextmanager
def process(servers: Settings, sink: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "DATARAIL_FOLDER": str(servers.folder)}
    environment.pop("DATARAIL_METRICS_PORT", None)
    with log.open("ab") as file:
        started = subprocess.Popen([sys.executable, "-m", "sinks", sink], env=environment, stderr=file)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def both(station: str) -> list[Maker]:
    return [Maker(station, partition) for partition in (0, 1)]


def send_all(servers: Settings, makers: list[Maker], pause: float) -> None:
    producer = KafkaProducer(bootstrap_servers=servers.kafka)
    for number in range(TRAINS):
        arrival = makers[number % 2].arrival([person(number * ROWS + row) for row in range(ROWS)])
        value, headers = encode(arrival.train.manifest, arrival.train.cars)
        producer.send(arrival.topic, value, partition=number % 2, headers=headers)
        time.sleep(pause)
    producer.flush()
    producer.close()


def landed(servers: Settings, station: str) -> list[int] | None:
    """[rows, places, keys] in history; None while there is no answer."""
    store = ClickHouse(servers.clickhouse)
    try:
        found = store.rows(
            "SELECT count(), uniqExact(_partition, _seq), uniqExact(_key) FROM "
            f"merge('history', '^{station.replace('.', '[.]')}[.]person$')"
        )
    except (Transient, Refused):
        return None
    finally:
        store.close()
    return found[0]


def counted(servers: Settings, station: str) -> int | None:
    """Changes in the ledger; None while there is no answer."""
    try:
        return sum(row["counted"] for row in per_hop(servers, station, "person"))
    except Transient:
        return None


def test_history_killed_again_and_again_lands_every_row_once(
    servers: Settings, station: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    log = tmp_path / "log"
    send_all(servers, both(station), 0)
    for _ in range(4):
        with process(servers, "history", log):
            time.sleep(chance.uniform(1.5, 4.0))
    all_of_them = [TRAINS * ROWS] * 3
    with process(servers, "history", log) as last:
        deadline = time.monotonic() + PATIENCE
        while landed(servers, station) != all_of_them:
            assert time.monotonic() < deadline, f"{landed(servers, station)}\n{log.read_text()[-3000:]}"
            time.sleep(0.5)
        time.sleep(2)
        last.send_signal(signal.SIGTERM)
        assert last.wait(15) == 0
    assert landed(servers, station) == all_of_them, log.read_text()[-3000:]


def test_clickhouse_killed_under_history_and_ledger(servers: Settings, station: str, tmp_path: Path) -> None:
    logs = [tmp_path / "history", tmp_path / "ledger"]
    with process(servers, "history", logs[0]) as history, process(servers, "ledger", logs[1]) as ledger:
        sending = threading.Thread(target=send_all, args=(servers, both(station), 0.03))
        sending.start()
        for _ in range(2):
            time.sleep(3)
            os.kill(supervision.processes(servers)["clickhouse"]["pid"], signal.SIGKILL)
        sending.join()
        deadline = time.monotonic() + PATIENCE
        while landed(servers, station) != [TRAINS * ROWS] * 3 or counted(servers, station) != TRAINS * ROWS:
            assert time.monotonic() < deadline, logs[0].read_text()[-2000:] + logs[1].read_text()[-2000:]
            time.sleep(0.5)
        time.sleep(2)
        assert history.poll() is None and ledger.poll() is None  # they waited, and did not give up
    assert landed(servers, station) == [TRAINS * ROWS] * 3
    assert counted(servers, station) == TRAINS * ROWS


def test_kafka_away_for_a_while(servers: Settings, station: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    makers = both(station)
    with process(servers, "history", log) as history:

        def wait_for(rows: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while (found := landed(servers, station)) is None or found[:2] != [rows] * 2:
                assert time.monotonic() < deadline, f"{found}\n{log.read_text()[-3000:]}"
                time.sleep(0.5)

        send_all(servers, makers, 0)
        wait_for(TRAINS * ROWS)
        os.kill(supervision.processes(servers)["kafka"]["pid"], signal.SIGKILL)
        supervision.stop(servers, ["kafka"])
        time.sleep(12)  # more than the group's patience
        assert history.poll() is None, log.read_text()[-3000:]
        line.up(servers, only_servers=True)
        send_all(servers, makers, 0)
        wait_for(2 * TRAINS * ROWS)
        history.send_signal(signal.SIGTERM)
        assert history.wait(15) == 0
