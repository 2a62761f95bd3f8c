"""The worker on a real Kafka: killed in mid-load, given garbage, and asked to stop."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from datarail import topics
from datarail.contract import Contract, Resource
from datarail.position import Lane
from datarail.settings import Settings
from datarail.train import Train, decode
from tests.streams.cars import GOOD, PERSON, car, citizen_id, contract, train

REPOSITORY = Path(__file__).parents[2]
BAD = {"citizen_id": "110105194912310021"}


class Worker:
    """`python -m streams` over a working folder of its own."""

    def __init__(self, servers: Settings, folder: Path, station: Contract) -> None:
        self.station = station.station
        self.kafka = servers.kafka
        self.folder = folder
        (folder / "stations").mkdir()
        text = yaml.safe_dump(json.loads(station.model_dump_json()), allow_unicode=True)
        (folder / "stations" / f"{self.station}.yaml").write_text(text, encoding="utf-8")
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.producer = KafkaProducer(bootstrap_servers=self.kafka, acks="all")

    def start(self) -> None:
        own = {
            "DATARAIL_FOLDER": str(self.folder),
            "DATARAIL_KAFKA": self.kafka,
            "DATARAIL_PARTITIONS": "2",
            "DATARAIL_STREAMS_GROUP": f"streams-{self.station}",
            "POLARS_MAX_THREADS": "1",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams"], cwd=REPOSITORY, env={**os.environ, **own}, stderr=log
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()
        self.producer.close()

    def send(self, value: bytes, headers: list[tuple[str, bytes]], partition: int = 0) -> None:
        self.producer.send(topics.raw(self.station), value, headers=headers, partition=partition)

    def read(self, topic: str, partition: int = 0) -> list[Any]:
        """Everything a partition holds now."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka, enable_auto_commit=False)
        place = TopicPartition(topic, partition)
        try:
            consumer.assign([place])
            end = consumer.end_offsets([place])[place]
            consumer.seek_to_beginning(place)
            records: list[Any] = []
            while consumer.position(place) < end:
                for found in consumer.poll(500).values():
                    records += found
            return records
        finally:
            consumer.close()

    def trains(self, partition: int = 0) -> list[Train]:
        found = self.read(topics.train(self.station), partition)
        return [decode(record.value, record.headers) for record in found]

    def wait_for(self, raw_offset: int, partition: int = 0, seconds: float = 60) -> list[Train]:
        """The clean trains, once they cover the raw records below this offset."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.trains(partition)
            if found and found[-1].manifest.raw and found[-1].manifest.raw[1] >= raw_offset:
                return found
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(f"raw offset {raw_offset} was not passed: {self.log.read_text()[-3000:]}")


@pytest.fixture
def worker(servers: Settings, tmp_path: Path) -> Iterator[Worker]:
    station = contract({"person": PERSON}, department="s" + uuid.uuid4().hex[:8], system="x")
    made = Worker(servers, tmp_path, station)
    made.start()
    _until_topic(made)
    yield made
    made.close()


def _until_topic(worker: Worker) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        consumer = KafkaConsumer(bootstrap_servers=worker.kafka)
        known = consumer.topics()
        consumer.close()
        if topics.train(worker.station) in known:
            return
        time.sleep(0.2)
    raise AssertionError(f"the worker makes no topics: {worker.log.read_text()}")


def people(first: int, count: int) -> list[dict[str, str | None]]:
    return [GOOD | {"id": str(i), "citizen_id": citizen_id(i % 499)} for i in range(first, first + count)]


def seqs(trains: list[Train]) -> list[int]:
    return [seq for each in trains for batch in each.cars for seq in batch.column("_seq").to_pylist()]


def test_killed_in_mid_load_nothing_is_lost_and_nothing_comes_twice(worker: Worker) -> None:
    trains, rows = 150, 40
    for number in range(trains):
        for partition in (0, 1):
            batch = car(people(number * rows + 1, rows), first_seq=number * rows + 1)
            worker.send(*train(batch, station=worker.station, partition=partition), partition)
        worker.producer.flush()
        if number in (30, 70, 110):
            worker.wait_for(number - 8)  # it has a few trains in hand
            worker.kill()
            worker.start()
    expected = list(range(1, trains * rows + 1))
    for partition in (0, 1):
        found = worker.wait_for(trains, partition)
        assert seqs(found) == expected
        spans = [each.manifest.raw for each in found]
        assert all(one and two and one[1] == two[0] for one, two in itertools.pairwise(spans))
        counted = sum(car.counted for each in found for car in each.manifest.cars)
        assert counted == trains * rows
        # The clean topic may repeat a change after a crash, with its identity, never lose one.
        records = worker.read(topics.clean(worker.station, "person"), partition)
        positions = {json.loads(record.value)["source"]["pos"] for record in records}
        assert positions == {1000 + seq for seq in expected}
    assert worker.stop() == 0


def test_a_corrupt_train_goes_to_quarantine_and_the_rest_goes_on(worker: Worker) -> None:
    value, headers = train(car(people(1, 5)), station=worker.station)
    worker.send(value[:200] + bytes([value[200] ^ 1]) + value[201:], headers)
    worker.send(b"no train at all", [])
    worker.send(*train(car(people(6, 2), first_seq=6), station=worker.station))
    worker.producer.flush()
    found = worker.wait_for(3)
    assert seqs(found) == [6, 7]
    entries = [entry for each in found for entry in each.manifest.cars]
    assert sum(entry.unreadable for entry in entries) == 5
    kept = [json.loads(record.value) for record in worker.read(topics.QUARANTINE)]
    kept = [record for record in kept if record["station"] == worker.station]
    assert [(record["kind"], record["offset"]) for record in kept] == [("record", 0), ("record", 1)]


def test_held_changes_and_unknown_resources(worker: Worker) -> None:
    worker.send(*train(car([GOOD, GOOD | BAD | {"id": "2"}]), station=worker.station))
    batch = car([{"p": "1"}], first_seq=3)
    worker.send(*train(batch, resource="gone", station=worker.station))
    worker.producer.flush()
    found = worker.wait_for(2)
    assert seqs(found) == [1, 2, 3]
    assert [entry.held for each in found for entry in each.manifest.cars if entry.resource == "person"] == [1]
    records = worker.read(topics.clean(worker.station, "person"))
    assert [record.key for record in records] == [b"1"]
    kept = [json.loads(record.value) for record in worker.read(topics.QUARANTINE)]
    kept = [record for record in kept if record["station"] == worker.station]
    assert [(record["key"], record["findings"][0]["rule"]) for record in kept] == [("2", "citizen_id")]


def test_a_stop_and_a_start_go_on_where_it_was(worker: Worker) -> None:
    worker.send(*train(car(people(1, 3)), station=worker.station))
    worker.producer.flush()
    worker.wait_for(1)
    assert worker.stop() == 0
    worker.send(*train(car(people(1, 3)), station=worker.station))  # a connector that repeats itself
    worker.send(*train(car(people(4, 1), first_seq=4), station=worker.station))
    worker.producer.flush()
    worker.start()
    found = worker.wait_for(3)
    assert seqs(found) == [1, 2, 3, 4]
    assert found[-1].manifest.seq[Lane.STREAM][1] == 4


def test_records_that_did_not_come_with_the_last_train_are_sent_when_the_mark_is_read(worker: Worker) -> None:
    clean = topics.clean(worker.station, "person")

    def passes(number: int) -> list[tuple[bytes, bytes, int]]:
        # Large enough to be compressed on the way.
        raw = car([GOOD | {"id": str(number), "remark": "长" * 3000}, GOOD | BAD], first_seq=2 * number)
        worker.send(*train(raw, station=worker.station, small=True))
        worker.producer.flush()
        worker.wait_for(number)
        assert worker.stop() == 0
        return [(each.key, each.value, each.timestamp) for each in worker.read(clean)]

    (first,) = passes(1)
    worker.start()
    once, second = passes(2)
    assert once == first  # it was there, and is not sent again
    # As if the broker had died between the two: the train is there, its records are not.
    admin = KafkaAdminClient(bootstrap_servers=worker.kafka)
    admin.delete_records({TopicPartition(clean, 0): -1})
    admin.close()
    assert worker.read(clean) == []
    worker.start()
    again, third = passes(3)
    assert again == second
    assert [key for key, *_ in (first, second, third)] == [b"1", b"2", b"3"]
    held = [json.loads(record.value) for record in worker.read(topics.QUARANTINE)]
    assert [each["seq"] for each in held if each["station"] == worker.station] == [3, 5, 7]


def test_a_train_too_large_for_kafka_leaves_in_parts(worker: Worker) -> None:
    # Cleaned it is another text than the written one, and so travels beside it.
    rows = [GOOD | {"id": str(i), "remark": " " + os.urandom(4_500_000).hex()} for i in range(2)]
    big = KafkaProducer(bootstrap_servers=worker.kafka, max_request_size=16 << 20)
    value, headers = train(car(rows), station=worker.station)
    big.send(topics.raw(worker.station), value, headers=headers, partition=0).get(30)
    big.close()
    found = worker.wait_for(1)
    assert seqs(found) == [1, 2]
    assert [each.manifest.raw for each in found] == [(0, 0), (0, 1)]


def test_a_change_too_large_for_kafka_is_held_and_the_line_goes_on(worker: Worker) -> None:
    wide = GOOD | {"id": "2", "remark": "宽" * 6_000_000}  # small in a train, 18 MB as JSON
    # Too large beside its cleaned value, which is another text.
    dense = GOOD | {"id": "4", "remark": " " + os.urandom(9_000_000).hex()}
    big = KafkaProducer(bootstrap_servers=worker.kafka, max_request_size=16 << 20)
    for first, rows in ((1, [GOOD, wide, GOOD | {"id": "3"}]), (4, [dense]), (5, [GOOD | {"id": "5"}])):
        value, headers = train(car(rows, first_seq=first), station=worker.station)
        big.send(topics.raw(worker.station), value, headers=headers, partition=0).get(30)
    big.close()
    found = worker.wait_for(3)
    assert seqs(found) == [1, 2, 3, 4, 5]
    told = [
        (batch.column("_key")[i].as_py(), held)
        for each in found
        for batch in each.cars
        for i, held in enumerate(batch.column("_held").to_pylist())
    ]
    assert told == [("1", False), ("2", True), ("3", False), ("4", True), ("5", False)]
    kept = [json.loads(record.value) for record in worker.read(topics.QUARANTINE)]
    kept = [record for record in kept if record["station"] == worker.station]
    assert [(record["key"], record["findings"][0]["rule"]) for record in kept] == [
        ("2", "size"),
        ("4", "size"),
    ]
    assert all(len(record["written"]["remark"]) < 2000 for record in kept)


def test_a_contract_at_fault_stops_with_one_clear_line(servers: Settings, tmp_path: Path) -> None:
    wrong = contract(
        {
            "r": Resource.model_validate(
                {"table": "t", "items": {"x": {"checks": [{"check": "pattern", "regex": "(?=x)"}]}}}
            )
        },
        "s" + uuid.uuid4().hex[:8],
        "x",
    )
    worker = Worker(servers, tmp_path, wrong)
    try:
        worker.start()
        assert worker.process is not None
        assert worker.process.wait(60) == 1
        assert "no look-around" in worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()
    finally:
        worker.close()
