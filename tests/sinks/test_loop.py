"""The loop that feeds every sink, on a real Kafka: places, repeats, gaps, troubles, latency."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from prometheus_client import REGISTRY
from trains import Maker, create_topic, delete_topic, new_station, person, send

from datarail.errors import Terminal, Transient
from datarail.position import Lane, Mark
from datarail.settings import Settings
from datarail.topics import raw as raw_topic
from datarail.topics import train as train_topic
from datarail.train import encode
from sinks import loop
from sinks.feeds import Feed, open_train
from sinks.ledger.query import committed_by_group
from sinks.loop import Loop
from sinks.passing import moved_on
from sinks.port import Arrival

PATIENCE = 30.0


class Memory:
    """A sink that keeps what it was given; `trouble` is raised by the next calls."""

    def __init__(self, station: str) -> None:
        self.name = f"memory-{uuid.uuid4().hex[:8]}"
        self.feed = Feed(rf"^train\.{station.partition('.')[0]}[a-z]?\..+", open_train)
        self.marks: dict[tuple[str, int], Mark] = {}
        self.taken: list[tuple[int, int, int]] = []  # partition, lane, seq
        self.at: list[float] = []
        self.flushes = 0
        self.trouble: list[Exception] = []

    def resume(self, topic: str, partition: int) -> Mark:
        return self.marks.get((topic, partition), Mark())

    def write(self, arrivals: list[Arrival]) -> None:
        if self.trouble:
            raise self.trouble.pop(0)
        for arrival in arrivals:
            place = (arrival.topic, arrival.partition)
            for car in arrival.train.cars:
                lanes, seqs = car.column("_lane").to_pylist(), car.column("_seq").to_pylist()
                self.taken += [(arrival.partition, *pair) for pair in zip(lanes, seqs, strict=True)]
            self.marks[place] = moved_on(self.resume(*place), arrival.offset, arrival.train)
        self.at.append(time.time())

    def flush(self) -> dict[tuple[str, int], Mark]:
        self.flushes += 1
        return dict(self.marks)

    def close(self) -> None:
        pass


class Late(Memory):
    """A sink that waits a minute with what it has, because that is late already."""

    late, flush_every, lands_at_flush = True, 60.0, True


class Running:
    """A loop in a thread, and what it ended with."""

    def __init__(self, sink: Memory, settings: Settings) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.loop = Loop(sink, settings, self.stop.is_set)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            self.error = error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextmanager
def running(sink: Memory, settings: Settings) -> Iterator[Running]:
    line = Running(sink, settings)
    try:
        yield line
    finally:
        line.end()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def station(servers: Settings) -> Iterator[str]:
    """A station of this test's own; what it leaves in Kafka would stop real sinks."""
    name = new_station()
    create_topic(servers, train_topic(name))
    yield name
    delete_topic(servers, train_topic(name))


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_trains_come_in_order_once_and_offsets_are_shown(servers: Settings, station: str) -> None:
    sink = Memory(station)
    makers = [Maker(station, partition) for partition in (0, 1)]
    send(servers, [maker.arrival([person(n), person(n + 1)]) for maker in makers for n in range(5)])
    with running(sink, servers):
        until(lambda: len(sink.taken) == 20)
        for partition in (0, 1):
            assert [seq for p, _, seq in sink.taken if p == partition] == list(range(1, 11))
        group = f"sink-{sink.name}"
        ends = {(train_topic(station), partition): 5 for partition in (0, 1)}
        until(lambda: committed_by_group(servers, [group])[group] == ends)
    labels = {"hop": sink.name, "station": station, "resource": "person"}
    assert metric("datarail_rows_total", op="u", **labels) == 20
    assert metric("datarail_freshness_seconds_count", **labels) == 20


def test_a_sink_is_handed_no_more_at_once_than_it_may_but_for_one_large_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "ROWS", 5)
    monkeypatch.setattr(loop, "BYTES", 400)
    maker = Maker("a.b")
    trains = [maker.arrival([person(n) for n in range(rows)]) for rows in (2, 3, 1, 7, 2, 2, 1, 1, 1, 1)]
    polled: Any = {TopicPartition("train.a.b", 0): trains[:6], TopicPartition("train.a.b", 1): trains[6:]}
    handed = loop._portions(polled, lambda record: (record, 100))  # type: ignore[arg-type,return-value]
    rows = [[arrival.train.manifest.rows for arrival, _ in portion] for portion in handed]
    assert rows == [[2, 3], [1], [7], [2, 2, 1], [1, 1, 1]]
    monkeypatch.setattr(loop, "BYTES", 200)
    handed = loop._portions(polled, lambda record: (record, 100))  # type: ignore[arg-type,return-value]
    assert [len(portion) for portion in handed] == [2, 1, 1, 2, 2, 2]


def test_it_goes_on_from_the_sinks_mark_and_not_from_the_groups_offset(
    servers: Settings, station: str
) -> None:
    sink = Memory(station)
    maker = Maker(station)
    send(servers, [maker.arrival([person(n)]) for n in range(6)])
    with running(sink, servers):
        until(lambda: len(sink.taken) == 6)
    # A store that lost its last second: the group's offset has passed what it no longer has.
    sink.marks[train_topic(station), 0] = Mark(4, {Lane.STREAM: 4})
    sink.taken.clear()
    with running(sink, servers):
        until(lambda: [seq for _, _, seq in sink.taken] == [5, 6])


def test_a_zombies_second_train_is_dropped_and_a_gap_is_told(servers: Settings, station: str) -> None:
    sink = Memory(station)
    maker, zombie = Maker(station), Maker(station)
    trains = [maker.arrival([person(n) for n in range(3)]), maker.arrival([person(3), person(4)])]
    zombie.train([person(0)])
    zombie.offset = 2
    trains.append(zombie.arrival([person(n) for n in range(1, 7)]))  # seq 2 to 7: 2 to 5 repeat
    late = Maker(station, seq={Lane.STREAM: 9}, offset=3)
    trains.append(late.arrival([person(9)]))  # seq 10: 8 and 9 are missing
    send(servers, trains)
    with running(sink, servers):
        until(lambda: len(sink.taken) == 8)
    assert [seq for _, _, seq in sink.taken] == [1, 2, 3, 4, 5, 6, 7, 10]
    assert metric("datarail_repeats_dropped_total", hop=sink.name, station=station) == 4
    assert metric("datarail_gaps_total", hop=sink.name, station=station) == 1


def test_a_store_away_is_waited_for_and_the_same_trains_come_again(servers: Settings, station: str) -> None:
    sink = Memory(station)
    sink.trouble = [Transient("away"), Transient("still away")]
    send(servers, [Maker(station).arrival([person(1), person(2)])])
    with running(sink, servers) as line:
        until(lambda: len(sink.taken) == 2)
        assert not sink.trouble and line.error is None
    assert metric("datarail_errors_total", hop=sink.name, kind="transient") == 2


def test_a_terminal_error_ends_the_loop(servers: Settings, station: str) -> None:
    sink = Memory(station)
    sink.trouble = [Terminal("falsified")]
    send(servers, [Maker(station).arrival([person(1)])])
    with running(sink, servers) as line:
        until(lambda: not line.thread.is_alive())
    assert isinstance(line.error, Terminal)


def test_a_clean_train_that_cannot_be_opened_stops_it_and_is_named(servers: Settings, station: str) -> None:
    sink = Memory(station)
    maker = Maker(station)
    send(servers, [maker.arrival([person(1)])])
    arrival = maker.arrival([person(2)])
    value, headers = encode(arrival.train.manifest, arrival.train.cars)
    producer = KafkaProducer(bootstrap_servers=servers.kafka)
    producer.send(train_topic(station), value[:-5] + b"wrong", partition=0, headers=headers).get(30)
    producer.close()
    with running(sink, servers) as line:
        until(lambda: not line.thread.is_alive())
    assert isinstance(line.error, Terminal)
    assert f"{train_topic(station)}/0 offset 1" in str(line.error) and "checksum" in str(line.error)


def test_a_store_that_is_ahead_of_kafka_stands_still_and_the_others_go_on(
    servers: Settings, station: str
) -> None:
    sink = Memory(station)
    sink.marks[train_topic(station), 0] = Mark(99, {Lane.STREAM: 500})
    send(servers, [Maker(station).arrival([person(1)]), Maker(station, 1).arrival([person(2)])])
    with running(sink, servers) as line:
        until(lambda: sink.taken)
        time.sleep(0.5)
        assert [partition for partition, _, _ in sink.taken] == [1]
        (reason,) = line.loop.stranded.values()
        assert "has passed offset 99, but Kafka ends at 1" in reason


def test_a_station_attached_later_is_taken_up_within_seconds(servers: Settings, station: str) -> None:
    sink = Memory(station)
    send(servers, [Maker(station).arrival([person(1)])])
    with running(sink, servers):
        until(lambda: sink.taken)
        later = station.replace(".", "b.")
        began = time.monotonic()
        create_topic(servers, train_topic(later))
        send(servers, [Maker(later).arrival([person(2)])])
        until(lambda: len(sink.taken) == 2)
        assert time.monotonic() - began < 10


def test_a_train_is_handed_over_at_once(servers: Settings, station: str) -> None:
    sink = Memory(station)
    maker = Maker(station)
    producer = KafkaProducer(bootstrap_servers=servers.kafka, linger_ms=0)
    waits = []
    with running(sink, servers):
        send(servers, [maker.arrival([person(0)])])
        until(lambda: sink.taken)
        for number in range(1, 40):
            arrival = maker.arrival([person(number)])
            value, headers = encode(arrival.train.manifest, arrival.train.cars)
            sent = time.time()
            producer.send(arrival.topic, value, partition=0, headers=headers)
            until(lambda number=number: len(sink.taken) > number)
            waits.append(sink.at[-1] - sent)
            time.sleep(0.01)
    producer.close()
    assert sorted(waits)[len(waits) // 2] < 0.05
    assert sink.flushes < 20  # about one a second, not one a train


def test_what_is_late_waits_while_raw_trains_are_on_their_way_and_no_longer(
    servers: Settings, station: str
) -> None:
    create_topic(servers, raw_topic(station))
    sink, maker = Late(station), Maker(station)
    raw = [maker.arrival([person(n)]) for n in range(2)]
    send(servers, raw, raw_topic(station))
    cleaned = Maker(station)
    first, second = cleaned.arrival([person(0)]), cleaned.arrival([person(1)])
    first.train.manifest.raw, second.train.manifest.raw = (0, 1), (1, 2)
    try:
        with running(sink, servers):
            send(servers, [first])
            until(lambda: sink.taken)
            time.sleep(2.0)
            assert sink.flushes == 0
            send(servers, [second])
            until(lambda: sink.flushes)
            assert len(sink.taken) == 2
    finally:
        delete_topic(servers, raw_topic(station))


def test_what_is_late_is_flushed_within_a_second_or_two_once_what_comes_is_not(
    servers: Settings, station: str
) -> None:
    create_topic(servers, raw_topic(station))
    sink, maker = Late(station), Maker(station)
    before = int((time.time() - 30) * 1e6)
    comes = [maker.arrival([person(n, commit=before)]) for n in range(4)]
    for arrival in comes:
        arrival.train.manifest.raw = (0, 1)
    send(servers, comes[:2], raw_topic(station))  # the second never comes
    try:
        with running(sink, servers):
            for late in comes:  # all are late: it waits for more
                send(servers, [late])
                time.sleep(0.5)
            assert len(sink.taken) == 4 and sink.flushes == 0
            for n in range(100):
                arrival = maker.arrival([person(10 + n)])
                arrival.train.manifest.raw = (0, 1)
                send(servers, [arrival])
                if sink.flushes:
                    break
                time.sleep(0.1)
            assert sink.flushes == 1
    finally:
        delete_topic(servers, raw_topic(station))


def test_of_a_raw_topic_that_is_gone_nothing_is_on_its_way(servers: Settings, station: str) -> None:
    sink, cleaned = Late(station), Maker(station).arrival([person(0)])
    cleaned.train.manifest.raw = (0, 1)
    with running(sink, servers) as line:
        send(servers, [cleaned])
        until(lambda: sink.flushes)
    assert line.error is None


def test_it_can_be_stopped_while_kafka_is_away(servers: Settings, station: str) -> None:
    sink, began = Memory(station), time.monotonic()
    nowhere = servers.model_copy(update={"kafka": "127.0.0.1:1"})
    Loop(sink, nowhere, lambda: time.monotonic() - began > 1).run()
    assert time.monotonic() - began < 15 and not sink.flushes
