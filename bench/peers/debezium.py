"""Debezium measured: snapshot, a drained backlog, latency, each with the settings that suit it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import orjson
import psutil
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from bench.backlog import Backlog
from bench.load import load
from bench.peers.connect import TUNINGS, Worker
from bench.rail import Rail
from bench.report import Report, quantile
from bench.say import say
from datarail.errors import Terminal


@dataclass(frozen=True)
class Size:
    """rows: of the table, and changes of one backlog, the same for everyone; seconds: of the latency
    run; runs: backlogs; warm_up: seconds of steady load before latency counts, as Java's compiler
    needs them."""

    rows: int
    seconds: float
    runs: int = 3
    warm_up: float = 30.0
    rate: int = 1000


def measure(rail: Rail, backlog: Backlog, size: Size, report: Report) -> None:
    """Every tuning: the first load of the table, then a backlog of as many updates, then latency."""
    for name in TUNINGS:
        say(f"Debezium, {name}")
        _one(rail, backlog, name, size, report)


def _one(rail: Rail, backlog: Backlog, name: str, size: Size, report: Report) -> None:
    table = rail.tables[0].name
    _clear(rail)
    rows = backlog.extents[table].end - backlog.extents[table].first
    worker = Worker(rail.settings, rail.source, table, TUNINGS[name])
    try:
        with worker, closing(_Topic(rail, worker)) as topic:
            began = rail.wait_slot("count(*) > 0", "made", 120)
            with _cost(worker, report, f"debezium.{name}.snapshot", rows):
                done = topic.wait(rows)
            _tell(report, f"debezium.{name}.snapshot.captured", rows / (done - began))
            for _ in range(size.runs):
                rows += _stream(rail, backlog, worker, topic, rows, size.rows, report, f"debezium.{name}")
            ages = _latency(rail, backlog, size, worker.topic)
            for word, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
                report.add(f"debezium.{name}.latency.{size.rate}.raw.{word}", "ms", quantile(ages, share))
            say(f"  latency p50 {quantile(ages, 0.5):.1f}, p99 {quantile(ages, 0.99):.1f} ms")
    finally:
        _clear(rail)


def _stream(
    rail: Rail,
    backlog: Backlog,
    worker: Worker,
    topic: _Topic,
    before: int,
    wanted: int,
    report: Report,
    name: str,
) -> int:
    """Drain one backlog into a topic that has `before` records; returns how many they were."""
    worker.stop()
    rail.wait_slot("NOT bool_or(active)", "free", 60)
    with closing(rail.connect()) as connection:
        changes = backlog.updates(connection, wanted, 1000)
    worker.resume()
    began = rail.wait_slot("bool_or(active)", "taken up", 120)
    with _cost(worker, report, f"{name}.stream", changes):
        done = topic.wait(before + changes)
    _tell(report, f"{name}.stream.captured", changes / (done - began))
    return changes


def _tell(report: Report, name: str, rate: float) -> None:
    report.add(name, "rows/s", rate)
    say(f"  {name}: {rate:,.0f} rows/s")


class _Topic:
    """The connector's topic: how many records it has."""

    def __init__(self, rail: Rail, worker: Worker) -> None:
        self._consumer = KafkaConsumer(bootstrap_servers=rail.settings.kafka, metadata_max_age_ms=1000)
        self._place = TopicPartition(worker.topic, 0)
        self._check: Callable[[], None] = worker.check

    def close(self) -> None:
        self._consumer.close()

    def wait(self, records: int, seconds: float = 900.0) -> float:
        """The moment it has so many."""
        deadline = time.monotonic() + seconds
        looked = time.monotonic()
        while self._records() < records:
            if time.monotonic() - looked > 5:
                looked = time.monotonic()
                self._check()
            if looked > deadline:
                raise Terminal(f"Debezium: {self._records():,} of {records:,} rows", part="bench")
            time.sleep(0.05)
        return time.time()

    def _records(self) -> int:
        if self._place.topic not in self._consumer.topics():
            return 0
        return int(self._consumer.end_offsets([self._place])[self._place])


@contextmanager
def _cost(worker: Worker, report: Report, name: str, rows: int) -> Iterator[None]:
    assert worker.process is not None
    process = psutil.Process(worker.process.pid)
    before = process.cpu_times()
    yield
    after = process.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    report.add(f"{name}.cpu", "CPU s per million rows", seconds / rows * 1e6)
    report.add(f"{name}.rss", "MB", process.memory_info().rss / 1e6)


def _latency(rail: Rail, backlog: Backlog, size: Size, topic: str) -> list[float]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    reader = spawn.Process(target=listen, args=(rail.settings.kafka, topic, theirs), daemon=True)
    reader.start()
    try:
        ours.recv()
        load(rail, backlog, size.rate, size.warm_up)
        since = time.time() * 1e6
        load(rail, backlog, size.rate, size.seconds)
        time.sleep(3)
        ours.send("stop")
        pairs: list[tuple[int, int]] = ours.recv()
    finally:
        reader.kill()
    return [(seen - commit) / 1000 for commit, seen in pairs if commit > since]


def listen(servers: str, topic: str, pipe: Connection) -> None:
    """Read a Debezium topic from its end on; sends "ready", at the end [(commit, seen)] in µs."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, fetch_min_bytes=1)
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek_to_end(place)
    consumer.position(place)
    pipe.send("ready")
    kept: list[tuple[int, bytes]] = []
    while not pipe.poll():
        for records in consumer.poll(timeout_ms=200).values():
            seen = time.time_ns() // 1000
            kept += [(seen, record.value) for record in records]
    consumer.close()
    pipe.send([(_commit(value), seen) for seen, value in kept])


def _commit(value: bytes) -> int:
    source: dict[str, Any] = orjson.loads(value)["source"]
    return int(source["ts_us"])


def _clear(rail: Rail) -> None:
    """Drop what a Debezium run left in the source and in Kafka."""
    with closing(rail.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = 'debezium'"
        )
        cursor.execute("DROP PUBLICATION IF EXISTS dbz_publication")
    (rail.settings.home / "connect" / "offsets").unlink(missing_ok=True)
    admin = KafkaAdminClient(bootstrap_servers=rail.settings.kafka)
    try:
        left = [topic for topic in admin.list_topics() if topic.startswith("dbz.")]
        if left:
            admin.delete_topics(left)
            time.sleep(3)
    finally:
        admin.close()
