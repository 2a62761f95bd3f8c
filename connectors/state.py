"""What a connector must remember beyond its trains: in the compacted topic datarail.state.

Keys, under `<station>/`:
  epoch              {"epoch", "system", "timeline", "slot", "floor", "xid"}: the log the epoch stands for;
                     slot null: detached
  reached            {"partitions", "index"}: how far each partition was when the lanes last changed
                     over, and the index of the next row that a snapshot reads
  snapshot/<resource>  {"epoch", "floor", "state": "running" | "done" | "lost", "truncate"}
  chunk/<resource>/<n> {"high", "snapshot", "lsn", "index", "offsets", "done"}: noted before the
                     chunk's first row is sent, and again when all of it is safe
  control            {"paused", "resnapshot"}: what people asked for
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from connectors import log_topics
from connectors.train_builder import Reached
from datarail import topics
from datarail.errors import Transient
from datarail.position import Identity, Lane
from datarail.settings import Settings

Record = dict[str, Any]


class State:
    """One station's part of the topic. Every `put` is safe in Kafka when it returns.

    All methods raise Transient when Kafka is away.
    """

    def __init__(self, settings: Settings, station: str) -> None:
        self._settings = settings
        self._prefix = f"{station}/"
        self._records: dict[str, Record] = {}
        #: Offsets of what was put here: it comes back to us, also when it is not the newest any more.
        self._put_at: dict[str, int] = {}
        self._producer: KafkaProducer | None = None
        self._consumer = _reader(settings)
        try:
            _read_to_end(self._consumer, self._take)
        except KafkaError as error:
            raise log_topics.away(settings, error) from error

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def find(self, prefix: str) -> Iterator[tuple[str, Record]]:
        """Records whose key begins so, by the rest of the key, in order."""
        for key in sorted(self._records):
            if key.startswith(prefix):
                yield key[len(prefix) :], self._records[key]

    def put(self, key: str, record: Record | None) -> None:
        """Set or (None) forget a record."""
        self.put_all({key: record})

    def put_all(self, records: dict[str, Record | None]) -> None:
        """`put` of several, in their order: where we are killed, the first of them are there."""
        try:
            if self._producer is None:
                # Idempotent, since only so a retry keeps the order.
                self._producer = KafkaProducer(
                    **self._settings.kafka_access.kafka_python(),
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                )
            futures = {
                key: self._producer.send(
                    topics.STATE,
                    key=(self._prefix + key).encode(),
                    value=None if record is None else orjson.dumps(record),
                )
                for key, record in records.items()
            }
            for key, future in futures.items():
                self._put_at[key] = future.get(timeout=60).offset
        except KafkaError as error:
            raise log_topics.away(self._settings, error) from error
        for key, record in records.items():
            self._set(key, record)

    def refresh(self) -> None:
        """Take what others wrote (pause, resume). Quick; silent when Kafka is away."""
        self._take(0)

    def close(self) -> None:
        if self._producer is not None:
            log_topics.end(self._producer, 2)
        self._consumer.close()

    def _take(self, milliseconds: int) -> None:
        for records in self._consumer.poll(milliseconds).values():
            for record in records:
                key = (record.key or b"").decode()
                rest = key.removeprefix(self._prefix)
                if rest != key and record.offset > self._put_at.get(rest, -1):
                    self._set(rest, orjson.loads(record.value) if record.value else None)

    def _set(self, key: str, record: Record | None) -> None:
        if record is None:
            self._records.pop(key, None)
        else:
            self._records[key] = record


def stations_where(settings: Settings, key: str, holds: Callable[[Record], bool]) -> set[str]:
    """The stations whose record of this key holds, in one reading of the topic."""
    found: dict[str, bool] = {}
    consumer = _reader(settings)

    def take(milliseconds: int) -> None:
        for records in consumer.poll(milliseconds).values():
            for record in records:
                station, _, rest = (record.key or b"").decode().partition("/")
                if rest == key:
                    found[station] = record.value is not None and holds(orjson.loads(record.value))

    try:
        _read_to_end(consumer, take)
    except KafkaError as error:
        raise log_topics.away(settings, error) from error
    finally:
        consumer.close()
    return {station for station, held in found.items() if held}


def _reader(settings: Settings) -> KafkaConsumer:
    try:
        return log_topics.reader(settings)
    except KafkaError as error:
        raise log_topics.away(settings, error) from error


def _read_to_end(consumer: KafkaConsumer, take: Callable[[int], None]) -> None:
    places = [
        TopicPartition(topics.STATE, number) for number in log_topics.partitions_of(consumer, topics.STATE)
    ]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    patience = time.monotonic() + 60
    while any(consumer.position(place) < ends[place] for place in places):
        take(500)
        if time.monotonic() > patience:
            raise Transient(f"the topic {topics.STATE} cannot be read to its end", part="connector")


def reached_record(reached: list[Reached]) -> Record:
    return {
        "partitions": [
            {
                "seq": {str(int(lane)): last for lane, last in place.seq.items()},
                "last": place.last.text() if place.last else None,
            }
            for place in reached
        ]
    }


def reached_of(record: Record | None, partitions: int) -> list[Reached]:
    """What `reached_record` noted; nothing noted: the beginning."""
    places = (record or {"partitions": []})["partitions"]
    reached = [
        Reached(
            {Lane(int(lane)): last for lane, last in place["seq"].items()},
            Identity.parse(place["last"]) if place["last"] else None,
        )
        for place in places
    ]
    return reached + [Reached() for _ in range(partitions - len(reached))]
