"""Rebuilding the sinks in ClickHouse from Kafka, whole or as far back as Kafka goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition
from test_history import TestHistory as History
from trains import delete_topic

from datarail.errors import Terminal
from datarail.settings import Settings
from datarail.topics import train as train_topic
from sinks.clickhouse import ClickHouse
from sinks.history import open_sink
from sinks.port import Arrival
from sinks.rebuild import rebuild


@pytest.fixture
def landed(servers: Settings) -> Iterator[tuple[str, list[Arrival]]]:
    """A station in Kafka and in history."""
    station, arrivals = History().trains(servers)
    sink = open_sink(servers, {})
    History().feed(sink, station, arrivals)
    sink.close()
    yield station, arrivals
    delete_topic(servers, train_topic(station))


def state(servers: Settings, station: str) -> object:
    return History().state(servers, station)


def test_history_is_the_same_after_a_rebuild(servers: Settings, landed: tuple[str, list[Arrival]]) -> None:
    station, _ = landed
    before = state(servers, station)
    store = ClickHouse(servers.clickhouse)
    table = f"history.`{station}.person`"
    store.command(f"ALTER TABLE {table} DELETE WHERE _seq = 2", {"mutations_sync": 2})
    store.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE _seq = 3")
    store.close()
    assert state(servers, station) != before
    told: list[str] = []
    rebuild(servers, "history", told.append)
    assert state(servers, station) == before
    assert "landed again from Kafka" in told[-1]
    sink = open_sink(servers, {})
    assert [sink.resume(train_topic(station), partition).offset for partition in (0, 1)] == [4, 2]
    sink.close()


def test_what_kafka_keeps_no_more_stays(servers: Settings, landed: tuple[str, list[Arrival]]) -> None:
    station, _ = landed
    before = state(servers, station)
    admin = KafkaAdminClient(bootstrap_servers=servers.kafka)
    admin.delete_records({TopicPartition(train_topic(station), 0): 2})
    admin.close()
    told: list[str] = []
    rebuild(servers, "history", told.append)
    assert state(servers, station) == before
    # Six creates, an update and a delete came before; partition 1 is whole in Kafka.
    assert f"history: {station}.person keeps 8 rows that are older than what Kafka keeps" in told


def test_quarantine_and_ledger_can_be_rebuilt_too(
    servers: Settings, landed: tuple[str, list[Arrival]]
) -> None:
    for name in ("quarantine", "ledger"):
        told: list[str] = []
        rebuild(servers, name, told.append)
        assert "landed again" in told[-1]


def test_a_sink_there_is_none_of_is_named(servers: Settings) -> None:
    with pytest.raises(Terminal, match="no sink 'histroy' → one of: history, themes"):
        rebuild(servers, "histroy", print)
