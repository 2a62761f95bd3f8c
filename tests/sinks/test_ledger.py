"""The ledger: exactly once from manifests, and its balance with the sinks' offsets."""

from __future__ import annotations

import pytest
from contract import SinkContract
from kafka import KafkaAdminClient, TopicPartition
from kafka.structs import OffsetAndMetadata
from test_history import cut_clickhouse
from trains import Maker, create_topic, new_station, person

from datarail.position import Lane, Mark
from datarail.settings import Settings
from datarail.topics import raw
from datarail.topics import train as train_topic
from datarail.train import Train
from sinks.clickhouse import ClickHouse
from sinks.feeds import MANIFESTS
from sinks.ledger import open_sink
from sinks.ledger.query import per_hop, per_minute, totals
from sinks.passing import new_in
from sinks.port import Arrival, Sink


class TestLedger(SinkContract):
    def open(self, settings: Settings, station: str) -> Sink:
        return open_sink(settings, {})

    def state(self, settings: Settings, station: str) -> object:
        # Two runs may fall into two minutes: what is compared is what the minutes sum up to.
        return [{**row, "bytes": 0} for row in per_hop(settings, station, "person")]

    def cut(self, sink: Sink, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        cut_clickhouse(sink, after, error, monkeypatch)


def commit(settings: Settings, sink: str, offsets: dict[tuple[str, int], int]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    values = {TopicPartition(*place): OffsetAndMetadata(end, "", -1) for place, end in offsets.items()}
    admin.alter_group_offsets(f"sink-{sink}", values)
    admin.close()


def test_the_balance_is_open_until_the_last_sink_has_passed(servers: Settings) -> None:
    station = new_station()
    for topic in (raw(station), train_topic(station)):
        create_topic(servers, topic)
    captured, cleaned = Maker(station), Maker(station)
    rows = [person(number, held=number == 3) for number in range(10)]
    first = captured.arrival(rows)
    first = Arrival(raw(station), 0, 0, first.train)
    clean = cleaned.arrival(rows[:8])
    clean.train.manifest.cars[0].filtered = 2  # the contract asked for it
    sink = open_sink(servers, {})
    for arrival in (first, clean):
        sink.resume(arrival.topic, 0)
    sink.write([first])
    sink.flush()
    (total,) = totals(servers, station)
    assert (total.captured, total.landed, total.lag_rows) == (10, 0, 10)

    sink.write([clean])
    sink.flush()
    sink.close()
    (total,) = totals(servers, station)
    assert (total.landed, total.quarantined, total.filtered, total.lag_rows) == (0, 1, 2, 7)
    for name in ("history", "themes"):
        commit(servers, name, {(train_topic(station), 0): 1})
        assert not totals(servers, station)[0].balanced
    commit(servers, "indicators", {(train_topic(station), 0): 1})
    (total,) = totals(servers, station)
    assert (total.landed, total.lag_rows, total.balanced) == (7, 0, True)
    (minute,) = per_minute(servers, station, "person")
    assert [minute[name] for name in ("captured", "cleaned", "quarantined", "filtered")] == [10, 8, 1, 2]


def test_a_ledger_that_was_never_written_is_empty(servers: Settings) -> None:
    assert totals(servers, "nobody.here") == []


def test_truncate_counts_once_though_it_goes_to_every_partition(servers: Settings) -> None:
    station = new_station()
    sink = open_sink(servers, {})
    for partition in (0, 1):
        maker = Maker(station, partition)
        row = person(0, op="t")
        arrival = Arrival(raw(station), partition, 0, maker.train([row]))
        sink.resume(arrival.topic, partition)
        sink.write([arrival])
    sink.flush()
    sink.close()
    assert totals(servers, station)[0].captured == 1


def test_a_train_that_repeats_in_part_is_opened_and_counted_by_its_new_rows() -> None:
    maker = Maker("a.b")
    train = maker.train([person(number, held=number == 4) for number in range(5)])
    cut = new_in(train, Mark(7, {Lane.STREAM: 3}), 0)
    (entry,) = cut.train.manifest.cars
    assert (cut.repeats, entry.rows, entry.ops, entry.held) == (3, 2, {"u": 2}, 1)
    assert cut.train.manifest.seq == {Lane.STREAM: (4, 5)}
    bare = Train(train.manifest, [])
    assert new_in(bare, Mark(7, {Lane.STREAM: 5}), 0).train.manifest.cars == []
    assert MANIFESTS.whole is not None


def test_clickhouse_is_left_with_one_entry_a_batch(servers: Settings) -> None:
    station = new_station()
    maker = Maker(station)
    sink = open_sink(servers, {})
    sink.resume(train_topic(station), 0)
    rows = [person(1, commit=1_700_000_000_000_000)]
    sink.write([maker.arrival(rows) for _ in range(50)])
    sink.flush()
    sink.close()
    store = ClickHouse(servers.clickhouse)
    found = store.rows(
        "SELECT trains, counted, first, end FROM ledger.trains WHERE station = {s:String}", s=station
    )
    store.close()
    assert found == [[50, 50, 0, 50]]
