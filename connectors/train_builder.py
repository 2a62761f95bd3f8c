"""Rows of changes to trains: one per partition, a car per resource, numbered densely. Pure.

A decoder appends values to the open `Rows` of a resource; `pack` turns all that waits into at
most one train for each partition. Taking everything each time keeps two promises simple: a
partition's train holds every change of it up to the manifest's `last`, and a transaction read
to its end is acknowledged with the trains of one packing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.few_rows import FewRows
from connectors.rows import EVERY, UTC, Rows, bitmaps, count_ops, texts
from datarail.position import Identity, Lane
from datarail.small_car import FEW
from datarail.train import Car, CarEntry, Manifest

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
    cars: list[Car]


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
        if count <= FEW and self.keep is None and rows.runs[0][1] > self._repeat_until:
            self._pack_few(FewRows(rows), trains, now)
            return
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
        values = [texts(rows.flat[number :: rows.width]) for number in range(rows.width)]
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
                pa.array(commit).view(UTC),
                bitmaps(rows.unchanged, count, rows.width),
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
            first, last = self.reached[partition].take(Lane.STREAM, number)
            car = car.set_column(2, "_seq", pa.array(np.arange(first, last + 1, dtype=np.uint64)))
            span = (int(commit[mask].min()), int(commit[mask].max()))
            self._add_car(
                trains, partition, rows.resource, car, ops[mask].tobytes(), (first, last), span, now
            )

    def _pack_few(self, few: FewRows, trains: dict[int, Packed], now: int) -> None:
        newest = few.newest(self.epoch)
        self.last = newest if self.last is None else max(self.last, newest)
        for partition in few.partitions(len(self.reached)):
            chosen = few.chosen(partition)
            first, last = self.reached[partition].take(Lane.STREAM, len(chosen))
            commits = [few.commit[row] for row in chosen]
            ops = bytes(few.rows.ops[row] for row in chosen)
            car = few.car(chosen, self.epoch, first)
            span = (min(commits), max(commits))
            self._add_car(trains, partition, few.rows.resource, car, ops, (first, last), span, now)

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
        car: Car,
        ops: bytes,
        seq: tuple[int, int],
        commit: tuple[int, int],
        now: int,
    ) -> None:
        train = trains.get(partition)
        if train is None:
            manifest = Manifest(self.station, self.epoch, now, {Lane.STREAM: seq})
            train = trains[partition] = Packed(partition, manifest, [])
        train.manifest.seq[Lane.STREAM] = (train.manifest.seq[Lane.STREAM][0], seq[1])
        told = count_ops(ops, partition)
        entry = CarEntry(
            resource, Lane.STREAM, car.num_rows, told, first_commit=commit[0], last_commit=commit[1]
        )
        train.manifest.cars.append(entry)
        train.cars.append(car)


def _spread(values: list[int], lengths: npt.NDArray[np.int64], kind: type[N]) -> npt.NDArray[N]:
    return np.repeat(np.array(values, kind), lengths)
