"""Clean trains for the sinks' tests: small, with every kind of column, and sent to real Kafka."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from datarail.columns import META
from datarail.position import Identity, Lane
from datarail.settings import Settings
from datarail.topics import train as train_topic
from datarail.train import CarEntry, Manifest, Train, encode
from sinks.port import Arrival

#: as-written items of the sample resource, and the cleaned ones' types
WRITTEN = ("id", "name", "age", "born", "note")
CLEANED = {
    "id": pa.int64(),
    "name": pa.utf8(),
    "age": pa.int64(),
    "born": pa.date32(),
    "note": pa.utf8(),
}


def new_station() -> str:
    """A station nobody else has."""
    return f"t{uuid.uuid4().hex[:10]}.sys"


def contract_of(station: str, resource: dict[str, Any]) -> dict[str, Any]:
    """A contract, as its file would have it, whose only resource is `person`, keyed by `id`."""
    department, system = station.split(".")
    return {
        "department": {"code": department},
        "system": {"code": system},
        "source": {"url": "postgresql://nobody@127.0.0.1/none"},
        "resources": {"person": {"table": "person", "key": "id"} | resource},
    }


@dataclass
class Row:
    """One change. written: by item; a missing item is null, `...` is unchanged (TOAST)."""

    key: str
    op: str = "u"
    written: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    findings: list[dict[str, str]] | None = None
    lane: Lane = Lane.STREAM
    pos: int | None = None
    idx: int = 0
    part: int = 0
    epoch: int = 1
    xid: int = 100
    commit: int | None = None


@dataclass
class Maker:
    """Makes the trains of one station and partition, numbering their changes."""

    station: str
    partition: int = 0
    resource: str = "person"
    items: Sequence[str] = WRITTEN
    seq: dict[Lane, int] = field(default_factory=dict)
    position: int = 1000
    offset: int = 0

    def train(self, rows: Sequence[Row], resource: str | None = None, captured: int | None = None) -> Train:
        """One train with one car per lane of these rows."""
        now = int(time.time() * 1e6) if captured is None else captured
        manifest = Manifest(self.station, epoch=1, captured=now)
        cars = []
        for lane in sorted({row.lane for row in rows}):
            chosen = [row for row in rows if row.lane == lane]
            first = self.seq.get(lane, 0) + 1
            self.seq[lane] = first + len(chosen) - 1
            manifest.seq[lane] = (first, self.seq[lane])
            cars.append(self._car(chosen, first, now))
            ops: dict[str, int] = {}
            for row in chosen:
                if row.op != "t" or self.partition == 0:
                    ops[row.op] = ops.get(row.op, 0) + 1
            manifest.cars.append(
                CarEntry(
                    resource or self.resource,
                    lane,
                    len(chosen),
                    ops,
                    held=sum(row.held for row in chosen),
                    first_commit=min(row.commit or now for row in chosen),
                    last_commit=max(row.commit or now for row in chosen),
                )
            )
        manifest.last = Identity(1, self.position, 0)
        encode(manifest, cars)  # fills in sizes and checksum
        return Train(manifest, cars)

    def arrival(self, rows: Sequence[Row], resource: str | None = None) -> Arrival:
        """The train as the loop would hand it over, at the next offset."""
        self.offset += 1
        return Arrival(train_topic(self.station), self.partition, self.offset - 1, self.train(rows, resource))

    def _car(self, rows: Sequence[Row], first: int, now: int) -> pa.RecordBatch:
        values: dict[str, list[Any]] = {name: [] for name, _ in META}
        for index, row in enumerate(rows):
            if row.pos is None:
                self.position += 1
            unchanged = sum(1 << bit for bit, item in enumerate(self.items) if row.written.get(item) is ...)
            size = (len(self.items) + 7) // 8
            meta = (
                *(ord(row.op), int(row.lane), first + index, row.epoch),
                *(self.position if row.pos is None else row.pos, row.idx, row.part, row.xid),
                *(row.commit or now, unchanged.to_bytes(size, "little") if unchanged else None),
            )
            for (name, _), value in zip(META, meta, strict=True):
                values[name].append(value)
        columns = [pa.array(values[name], kind) for name, kind in META]
        names = [name for name, _ in META]
        for item in self.items:
            names.append("_w_" + item)
            texts = [row.written.get(item) for row in rows]
            columns.append(pa.array([None if text is ... else text for text in texts], pa.utf8()))
        names += ["_key", "_held", "_findings"]
        columns.append(pa.array([row.key for row in rows], pa.utf8()))
        columns.append(pa.array([row.held for row in rows], pa.bool_()))
        findings = [orjson.dumps(row.findings).decode() if row.findings else None for row in rows]
        columns.append(pa.array(findings, pa.utf8()))
        for item in self.items:
            names.append(item)
            texts = [None if row.written.get(item) is ... else row.written.get(item) for row in rows]
            columns.append(pa.array(texts, pa.utf8()).cast(CLEANED.get(item, pa.utf8())))
        return pa.RecordBatch.from_arrays(columns, names=names)


def person(number: int, **more: Any) -> Row:
    """A plausible change of one person."""
    written = {
        "id": str(number),
        "name": f"张{number}",
        "age": str(number % 90),
        "born": "1980-01-02",
        "note": "备注",
    }
    written |= more.pop("written", {})
    return Row(key=str(number), written=written, **more)


def create_topic(settings: Settings, topic: str, partitions: int = 2) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    try:
        admin.create_topics([NewTopic(topic, partitions, 1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        admin.close()


def send(settings: Settings, arrivals: Sequence[Arrival], topic: str | None = None) -> None:
    """Put arrivals into Kafka, in order, where they say; they must be the partition's first."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka, acks="all")
    for arrival in arrivals:
        value, headers = encode(arrival.train.manifest, arrival.train.cars)
        sent = producer.send(topic or arrival.topic, value, partition=arrival.partition, headers=headers)
        assert sent.get(30).offset == arrival.offset or topic is not None
    producer.close()


def delete_topic(settings: Settings, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    admin.delete_topics([topic])
    admin.close()
