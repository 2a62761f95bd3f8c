"""The snapshot phase of a station: every table still to be read, chunk by chunk, before the stream."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.errors import KafkaError

from connectors import gauges, log_topics
from connectors.postgres.catalog import Table
from connectors.postgres.overlap import Chunk, Key, Snapshot
from connectors.postgres.session import Connection
from connectors.postgres.snapshot import ChunkRead, ChunkReader, leave_out
from connectors.rows import TRUNCATE
from connectors.shipper import Shipper
from connectors.snapshot_trains import SnapshotPacker, row_texts
from connectors.state import Record, State, reached_record
from connectors.train_builder import Packed, Reached
from datarail import topics
from datarail.contract import Contract
from datarail.position import SNAPSHOT_INDEX, Identity, Lane
from datarail.settings import Settings
from datarail.train import as_batch, decode

log = logging.getLogger("connector")


@dataclass(slots=True)
class Before:
    """What stands in Kafka of a chunk begun before a crash."""

    rows: Counter[str]
    truncated: set[int]
    index: int  # the next free one


class Loading:
    """Reads one table after the other. check: called between blocks; raises to stop or pause."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        state: State,
        shipper: Shipper,
        reached: list[Reached],
        connect: Callable[[], Connection],
        url: str,
        check: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._state = state
        self._shipper = shipper
        self._reached = reached
        self._connect = connect
        self._url = url
        self._check = check
        self._topic = topics.raw(contract.station)
        self._started = time.monotonic()
        self._read = 0
        self._consumer = log_topics.reader(settings)

    def close(self) -> None:
        self._consumer.close()

    def load(self, resource: str, table: Table) -> None:
        """Read one table from where it stands to its end."""
        record = self._state.get(f"snapshot/{resource}") or {}
        floor = Identity(record["epoch"], record["floor"], 0)
        chunks = [chunk for _, chunk in self._state.find(f"chunk/{resource}/")]
        begun = chunks.pop() if chunks and not chunks[-1]["done"] else None
        if chunks and chunks[-1]["high"] is None:
            # Killed after the last chunk: only the table's own mark is missing.
            self._state.put(f"snapshot/{resource}", {**record, "state": "done"})
            return
        key = self._contract.resources[resource].key
        plan = self._contract.source.snapshot
        rows = plan.chunk_rows
        if plan.rows_per_second is not None:
            # Small chunks, so that the cap holds from second to second.
            rows = max(100, min(rows, plan.rows_per_second))
        reader = ChunkReader(
            self._connect,
            self._url,
            table,
            key,
            rows,
            first=len(chunks),
            low=_key(chunks[-1]["high"]) if chunks else None,
            known=begun is not None,
            high=_key(begun["high"]) if begun else None,
        )
        log.info("%s: reading %s (about %d rows)", resource, table.sql, table.rows)
        gauges.state(self._contract.station, resource, "snapshot")
        count = 0
        for chunk in reader.chunks():
            count += self._send(resource, table, key, floor, chunk, record, begun)
            begun = None
        self._state.put(f"snapshot/{resource}", {**record, "state": "done"})
        log.info("%s: %d rows read", resource, count)

    def _send(
        self,
        resource: str,
        table: Table,
        key: list[str],
        floor: Identity,
        chunk: ChunkRead,
        record: Record,
        begun: Record | None,
    ) -> int:
        before = Before(Counter(), set(), 0)
        if begun is None:
            index = int((self._state.get("reached") or {}).get("index", 0))
            begun = {
                "high": chunk.high,
                "snapshot": chunk.snapshot,
                "lsn": chunk.lsn,
                "index": index,
                "offsets": self._offsets(),
                "done": False,
            }
        else:
            before = self._sent_before(resource, key, begun)
            index = max(int(begun["index"]), before.index)
            if not key:
                begun = {**begun, "snapshot": chunk.snapshot, "lsn": chunk.lsn}
        name = f"chunk/{resource}/{chunk.number:08d}"
        self._state.put(name, begun)
        station = self._contract.station
        packer = SnapshotPacker(station, resource, key, floor, self._reached, index)
        now = _now()
        if record.get("truncate") and chunk.number == 0:
            missing = [p for p in range(len(self._reached)) if p not in before.truncated]
            self._ship(packer.truncate(missing, [column.name for column in table.columns], now, now))
        count = 0
        for block in chunk.blocks:
            fresh = leave_out(block, key, before.rows)
            self._ship(packer.pack(fresh, now, _now()))
            count += fresh.num_rows
            self._pace(fresh.num_rows)
        self._shipper.drain(self._check)
        # In this order: the next chunk of a successor must find where the index stands.
        self._state.put_all(
            {
                "reached": {**reached_record(self._reached), "index": packer.index},
                name: {**begun, "done": True},
            }
        )
        return count

    def _ship(self, trains: Iterable[Packed]) -> None:
        for train in trains:
            while self._shipper.full:
                if not self._shipper.collect():
                    time.sleep(0.002)
                    self._check()
            self._shipper.send(train)
        self._shipper.collect()
        self._check()

    def _pace(self, rows: int) -> None:
        cap = self._contract.source.snapshot.rows_per_second
        self._read += rows
        while cap and time.monotonic() < self._started + self._read / cap:
            time.sleep(0.02)
            self._check()

    def _offsets(self) -> list[int]:
        places = [TopicPartition(self._topic, number) for number in range(len(self._reached))]
        try:
            ends = self._consumer.end_offsets(places)
        except KafkaError as error:
            raise log_topics.away(self._settings, error) from error
        return [ends[place] for place in places]

    def _sent_before(self, resource: str, key: list[str], begun: Record) -> Before:
        before = Before(Counter(), set(), 0)
        consumer = self._consumer
        for partition, start in enumerate(begun["offsets"]):
            place = TopicPartition(self._topic, partition)
            consumer.assign([place])
            end = consumer.end_offsets([place])[place]
            consumer.seek(place, start)
            while consumer.position(place) < end:
                for message in consumer.poll(500).get(place, []):
                    self._note_sent(before, resource, key, partition, message)
        if before.rows or before.truncated:
            log.info("%s: %d rows of a chunk begun before are in Kafka", resource, sum(before.rows.values()))
        return before

    @staticmethod
    def _note_sent(before: Before, resource: str, key: list[str], partition: int, message: object) -> None:
        train = decode(message.value, message.headers)  # type: ignore[attr-defined]
        for entry, car in zip(train.manifest.cars, map(as_batch, train.cars), strict=True):
            if entry.resource != resource or entry.lane != Lane.SNAPSHOT:
                continue
            index = max(car.column("_idx").to_pylist()) - SNAPSHOT_INDEX + 1
            before.index = max(before.index, index)
            if car.column("_op")[0].as_py() == TRUNCATE:
                before.truncated.add(partition)
            else:
                before.rows.update(row_texts(car, key))


def chunks_of(state: State, resource: str) -> list[Chunk]:
    """The chunks of a table that was read, for the stream's filter."""
    return [
        Chunk(_key(chunk["high"]), Snapshot.parse(chunk["snapshot"]), chunk["lsn"])
        for _, chunk in state.find(f"chunk/{resource}/")
    ]


def _key(values: list[str] | None) -> Key | None:
    return tuple(values) if values is not None else None


def _now() -> int:
    return time.time_ns() // 1000
