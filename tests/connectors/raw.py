"""What stands in raw.<station>, read back and judged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from datarail import topics
from datarail.columns import WRITTEN
from datarail.keys import key_text, partition_of
from datarail.position import Identity, Lane
from datarail.settings import Settings
from datarail.train import Train, decode


@dataclass
class Row:
    partition: int
    resource: str
    op: str
    lane: Lane
    seq: int
    identity: Identity
    xid: int
    commit: datetime
    unchanged: bytes | None
    values: dict[str, str | None]

    def key(self, items: list[str]) -> tuple[str | None, ...]:
        return tuple(self.values[item] for item in items)


def read_trains(settings: Settings, station: str) -> list[tuple[int, Train]]:
    """Every train of a station with its partition, in order within partitions."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False)
    topic = topics.raw(station)
    trains = []
    try:
        for partition in sorted(consumer.partitions_for_topic(topic) or ()):
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            end = consumer.end_offsets([place])[place]
            while consumer.position(place) < end:
                found = consumer.poll(500).get(place, [])
                trains += [(partition, decode(message.value, message.headers)) for message in found]
    finally:
        consumer.close()
    return trains


def read_rows(settings: Settings, station: str) -> list[Row]:
    """Every row. Raises AssertionError where numbers or partitions do not hold."""
    return rows_of(read_trains(settings, station), station)


def rows_of(trains: list[tuple[int, Train]], station: str) -> list[Row]:
    rows = []
    reached: dict[tuple[int, Lane], int] = defaultdict(int)
    for partition, train in trains:
        assert train.manifest.station == station
        for lane, (first, last) in train.manifest.seq.items():
            assert first == reached[partition, lane] + 1, (
                f"partition {partition} {lane.name}: a gap or repeat"
            )
            reached[partition, lane] = last
        for entry, car in zip(train.manifest.cars, train.cars, strict=True):
            rows += [_row(partition, entry.resource, record) for record in car.to_pylist()]
    return rows


def _row(partition: int, resource: str, record: dict[str, Any]) -> Row:
    return Row(
        partition,
        resource,
        chr(record["_op"]),
        Lane(record["_lane"]),
        record["_seq"],
        Identity(record["_epoch"], record["_pos"], record["_idx"], record["_part"]),
        record["_xid"],
        record["_commit"],
        record["_unchanged"],
        {name.removeprefix(WRITTEN): value for name, value in record.items() if name.startswith(WRITTEN)},
    )


def check_identities(rows: list[Row]) -> None:
    """No change twice; changes of a resource within a partition in the source's order."""
    seen = set()
    last: dict[tuple[int, str], Identity] = {}
    for row in rows:
        if row.op != "t":
            assert (row.resource, row.identity) not in seen, f"sent twice: {row}"
            seen.add((row.resource, row.identity))
        if row.lane == Lane.STREAM:
            place = (row.partition, row.resource)
            assert place not in last or last[place] < row.identity, f"out of order: {row}"
            last[place] = row.identity


def check_partitions(rows: list[Row], resource: str, key: list[str], partitions: int) -> None:
    for row in rows:
        if row.resource == resource and row.op != "t":
            text = key_text(list(row.key(key)), row.identity)
            assert row.partition == partition_of(resource, text, partitions)


def fold(
    rows: list[Row], resource: str, key: list[str]
) -> dict[tuple[str | None, ...], dict[str, str | None]]:
    """The table as the changes leave it, each key by its newest identity."""
    table: dict[tuple[str | None, ...], dict[str, str | None]] = {}
    for row in sorted((r for r in rows if r.resource == resource), key=lambda r: r.identity):
        if row.op == "t":
            table.clear()
        elif row.op == "d":
            table.pop(row.key(key), None)
        else:
            before = table.get(row.key(key), {})
            bits = int.from_bytes(row.unchanged or b"", "little")
            table[row.key(key)] = {
                item: before.get(item) if bits >> number & 1 else value
                for number, (item, value) in enumerate(row.values.items())
            }
    return table
