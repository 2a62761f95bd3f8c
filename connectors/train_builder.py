"""Rows of changes to trains: one per partition, a car per resource, numbered densely. Pure.

A decoder appends values to the open `Rows` of a resource; `pack` turns all that waits into at
most one train for each partition. Taking everything each time keeps two promises simple: a
partition's train holds every change of it up to the manifest's `last`, and a transaction read
to its end is acknowledged with the trains of one packing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datarail.position import Identity, Lane
from datarail.train import CarEntry, Manifest, raw_schema

#: The target of a row that goes to every partition (truncate).
EVERY = 0xFFFF

CREATE, UPDATE, DELETE, READ, TRUNCATE = 99, 117, 100, 114, 116  # c u d r t

Mask = npt.NDArray[np.bool_]
U64 = npt.NDArray[np.uint64]
N = TypeVar("N", bound=np.generic)


@dataclass(slots=True)
class Reached:
    """How far one partition of raw.<station> is: last seq by lane, last stream change."""

    seq: dict[Lane, int] = field(default_factory=dict)
    last: Identity | None = None

    def take(self, lane: Lane, rows: int) -> tuple[int, int]:
        """The next `rows` numbers of a lane, first and last."""
        first = self.seq.get(lane, 0) + 1
        self.seq[lane] = first + rows - 1
        return first, first + rows - 1


class Rows:
    """Changes of one resource under one schema, waiting to be packed.

    flat: the values of all rows in sequence, len(items) each. One entry a row: ops, index,
    target (partition, or EVERY). second: numbers of the rows with part 1. unchanged: row number
    → bitmap of items not sent. runs: (first row, position, xid, commit) for each transaction.
    """

    __slots__ = (
        "closed",
        "commit",
        "flat",
        "index",
        "items",
        "key",
        "ops",
        "resource",
        "runs",
        "schema",
        "second",
        "target",
        "unchanged",
        "width",
    )

    def __init__(self, resource: str, items: Sequence[str], key: Sequence[int]) -> None:
        self.resource = resource
        self.items = tuple(items)
        self.key = tuple(key)
        self.width = len(items)
        self.schema = raw_schema(self.items)
        self.closed = False
        self.clear()

    def clear(self) -> None:
        self.flat: list[bytes | None] = []
        self.ops = bytearray()
        self.index: list[int] = []
        self.target = array("H")
        self.second: list[int] = []
        self.unchanged: dict[int, int] = {}
        self.runs: list[tuple[int, int, int, int]] = []
        self.commit = 0


@dataclass(slots=True)
class Columns:
    """One packing's rows of a resource as arrays, for a filter to look at."""

    resource: str
    ops: npt.NDArray[np.uint8]
    position: U64
    xid: U64
    key: list[pa.Array]


#: Says which rows to keep; None: all. Called in the order of the stream.
Filter = Callable[[Columns], Mask | None]


@dataclass(slots=True)
class Packed:
    """One train to send."""

    partition: int
    manifest: Manifest
    cars: list[pa.RecordBatch]


class TrainBuilder:
    """Collects rows of all resources of a station and packs them.

    reached: one per partition, as found in Kafka; rows at or below its `last` are repeats of
    what is there already and are dropped. rows and bytes: what waits now.
    """

    def __init__(self, station: str, epoch: int, reached: list[Reached], keep: Filter | None = None) -> None:
        self.station = station
        self.epoch = epoch
        self.reached = reached
        self.keep = keep
        self.rows = 0
        self.bytes = 0
        self.waiting = [0] * len(reached)
        #: The newest change packed in this run. It starts at nothing: what one partition had
        #: before a crash says nothing about the others.
        self.last: Identity | None = None
        self.repeats = 0
        self._open: list[Rows] = []
        # Up to here a row may be a repeat; past it nobody needs to look.
        self._repeat_until = max(
            (r.last.position for r in reached if r.last and r.last.epoch == epoch), default=0
        )

    def open(self, resource: str, items: Sequence[str], key: Sequence[int]) -> Rows:
        """A new car's rows; the rows already waiting under an older schema keep their own car."""
        rows = Rows(resource, items, key)
        self._open.append(rows)
        return rows

    def close(self, rows: Rows) -> None:
        """No more rows come under this schema: forget it once what waits is packed."""
        rows.closed = True

    def pack(self, now: int) -> list[Packed]:
        """Everything that waits, as trains. now: microseconds since the epoch."""
        trains: dict[int, Packed] = {}
        for rows in self._open:
            if rows.ops:
                self._pack_rows(rows, trains, now)
                rows.clear()
        self._open = [rows for rows in self._open if not rows.closed]
        self.rows = self.bytes = 0
        self.waiting = [0] * len(self.reached)
        for partition, train in trains.items():
            place = self.reached[partition]
            before = place.last if place.last is not None and place.last.epoch == self.epoch else None
            train.manifest.last = place.last = max(filter(None, (before, self.last)), default=None)
        return [trains[partition] for partition in sorted(trains)]

    def _pack_rows(self, rows: Rows, trains: dict[int, Packed], now: int) -> None:
        count = len(rows.ops)
        starts = np.fromiter((run[0] for run in rows.runs), np.int64, len(rows.runs))
        lengths = np.diff(np.append(starts, count))
        position = _spread([run[1] for run in rows.runs], lengths, np.uint64)
        xid = _spread([run[2] for run in rows.runs], lengths, np.uint64)
        commit = _spread([run[3] for run in rows.runs], lengths, np.int64)
        index = np.array(rows.index, np.uint64)
        part = np.zeros(count, np.uint8)
        part[rows.second] = 1
        ops = np.frombuffer(bytes(rows.ops), np.uint8)
        target = np.array(rows.target, np.uint16)
        values = [_text(rows.flat[number :: rows.width]) for number in range(rows.width)]
        kept: Mask | None = None
        if self.keep is not None:
            kept = self.keep(Columns(rows.resource, ops, position, xid, [values[k] for k in rows.key]))
        newest = Identity(self.epoch, int(position[-1]), int(index[-1]), int(part[-1]))
        self.last = newest if self.last is None else max(self.last, newest)
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(ops),
                pa.array(np.full(count, Lane.STREAM, np.uint8)),
                pa.array(np.zeros(count, np.uint64)),  # _seq: per partition, below
                pa.array(np.full(count, self.epoch, np.uint32)),
                pa.array(position),
                pa.array(index),
                pa.array(part),
                pa.array(xid),
                pa.array(commit).view(_UTC),
                _bitmaps(rows.unchanged, count, rows.width),
                *values,
            ],
            schema=rows.schema,
        )
        for partition in range(len(self.reached)):
            mask = (target == partition) | (target == EVERY)
            if kept is not None:
                mask &= kept
            if position[0] <= self._repeat_until:
                repeat = mask & self._repeats(partition, position, index, part)
                self.repeats += int(np.count_nonzero(repeat))
                mask &= ~repeat
            number = int(np.count_nonzero(mask))
            if number == 0:
                continue
            car = batch if number == count else batch.filter(pa.array(mask))
            self._add_car(trains, partition, rows.resource, car, ops[mask], commit[mask], now)

    def _repeats(self, partition: int, position: U64, index: U64, part: npt.NDArray[np.uint8]) -> Mask:
        last = self.reached[partition].last
        if last is None or last.epoch != self.epoch:
            return np.zeros(len(position), bool)
        before = (index < last.index) | ((index == last.index) & (part <= last.part))
        found: Mask = (position < last.position) | ((position == last.position) & before)
        return found

    def _add_car(
        self,
        trains: dict[int, Packed],
        partition: int,
        resource: str,
        car: pa.RecordBatch,
        ops: npt.NDArray[np.uint8],
        commit: npt.NDArray[np.int64],
        now: int,
    ) -> None:
        first, last = self.reached[partition].take(Lane.STREAM, car.num_rows)
        car = car.set_column(2, "_seq", pa.array(np.arange(first, last + 1, dtype=np.uint64)))
        train = trains.get(partition)
        if train is None:
            manifest = Manifest(self.station, self.epoch, now, {Lane.STREAM: (first, last)})
            train = trains[partition] = Packed(partition, manifest, [])
        train.manifest.seq[Lane.STREAM] = (train.manifest.seq[Lane.STREAM][0], last)
        train.manifest.cars.append(
            CarEntry(
                resource,
                Lane.STREAM,
                car.num_rows,
                count_ops(ops, partition),
                first_commit=int(commit.min()),
                last_commit=int(commit.max()),
            )
        )
        train.cars.append(car)


def count_ops(ops: npt.NDArray[np.uint8], partition: int) -> dict[str, int]:
    """Changes by operation. A truncate goes everywhere and is counted by partition 0 alone."""
    written = ops.tobytes()
    return {
        chr(op): number
        for op in (CREATE, UPDATE, DELETE, READ, TRUNCATE)
        if (number := written.count(op)) and (op != TRUNCATE or partition == 0)
    }


_UTC = pa.timestamp("us", "UTC")


def _spread(values: list[int], lengths: npt.NDArray[np.int64], kind: type[N]) -> npt.NDArray[N]:
    return np.repeat(np.array(values, kind), lengths)


def _text(values: list[bytes | None]) -> pa.Array:
    try:
        return pa.array(values, pa.utf8())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        # A source in SQL_ASCII lets any bytes in. They are shown, not dropped.
        shown = [None if value is None else value.decode(errors="backslashreplace") for value in values]
        return pa.array(shown, pa.utf8())


def _bitmaps(unchanged: dict[int, int], count: int, width: int) -> pa.Array:
    if not unchanged:
        return pa.nulls(count, pa.binary())
    size = (width + 7) // 8
    bitmaps: list[bytes | None] = [None] * count
    for row, bits in unchanged.items():
        bitmaps[row] = bits.to_bytes(size, "little")
    return pa.array(bitmaps, pa.binary())
