"""Rows of changes to trains: one per partition, a car per resource, numbered densely. Pure.

A decoder appends values to the open `Rows` of a resource; `pack` turns all that waits into at
most one train for each partition. Taking everything each time keeps two promises simple: a
partition's train holds every change of it up to the manifest's `last`, and a transaction read
to its end is acknowledged with the trains of one packing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.few_rows import FewRows
from connectors.many_rows import U16, U64, ManyRows, Mask
from connectors.rows import Rows, count_ops, texts
from datarail.position import Identity, Lane
from datarail.small_car import FEW
from datarail.train import Car, CarEntry, Manifest


@dataclass(slots=True)
class Reached:
    """How far one partition of raw.<station> is: last seq by lane, last stream change."""

    seq: dict[Lane, int] = field(default_factory=dict)
    last: Identity | None = None

    def past(self, edge: Identity) -> Reached:
        """A copy that is at `edge` at least: all changes before it are there, or not wanted."""
        return Reached(dict(self.seq), max(self.last, edge) if self.last else edge)

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
        self._many: list[ManyRows] = []
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

    def add(self, many: ManyRows) -> None:
        """Rows in columns, of resources that are open; they come after all that `Rows` hold."""
        self._many.append(many)

    def pack(self, now: int) -> list[Packed]:
        """Everything that waits, as trains. now: microseconds since the epoch."""
        trains: dict[int, Packed] = {}
        for rows in self._open:
            if rows.ops:
                self._pack_rows(rows, trains, now)
                rows.clear()
        for many in self._many:
            self._pack_many(many, trains, now)
        self._many = []
        self._open = [rows for rows in self._open if not rows.closed]
        self.rows = self.bytes = 0
        self.waiting = [0] * len(self.reached)
        for partition, train in trains.items():
            place = self.reached[partition]
            before = place.last if place.last is not None and place.last.epoch == self.epoch else None
            train.manifest.last = place.last = max(filter(None, (before, self.last)), default=None)
        return [trains[partition] for partition in sorted(trains)]

    def _pack_rows(self, rows: Rows, trains: dict[int, Packed], now: int) -> None:
        if len(rows.ops) <= FEW and self.keep is None and rows.runs[0][1] > self._repeat_until:
            self._pack_few(FewRows(rows), trains, now)
        else:
            self._pack_many(ManyRows.of(rows), trains, now)

    def _pack_many(self, many: ManyRows, trains: dict[int, Packed], now: int) -> None:
        self._reach(many.newest(self.epoch))
        partitions = len(self.reached)
        rows, partition = many.placed(partitions)
        if self.keep is not None:
            kept = self._kept(many, self.keep)[rows]
            rows, partition = rows[kept], partition[kept]
        if int(many.position[0]) <= self._repeat_until:
            fresh = ~self._repeats(partition, many.position[rows], many.index[rows], many.part[rows])
            self.repeats += len(rows) - int(np.count_nonzero(fresh))
            rows, partition = rows[fresh], partition[fresh]
        for part in many.parts(rows, partition, partitions, self.epoch):
            first, last = self.reached[part.partition].take(Lane.STREAM, len(part.ops))
            part.columns[2] = pa.array(np.arange(first, last + 1, dtype=np.uint64))
            car = pa.RecordBatch.from_arrays(part.columns, schema=part.rows.schema)
            resource = part.rows.resource
            self._add_car(trains, part.partition, resource, car, part.ops, (first, last), part.commit, now)

    @staticmethod
    def _kept(many: ManyRows, keep: Filter) -> Mask:
        kept = np.ones(len(many), bool)
        for number, owner in enumerate(many.owners):
            rows = np.flatnonzero(many.owner == number)
            if len(rows):
                key = [texts(many.written(rows, item)) for item in owner.key]
                columns = Columns(owner.resource, many.ops[rows], many.position[rows], many.xid[rows], key)
                mask = keep(columns)
                if mask is not None:
                    kept[rows] = mask
        return kept

    def _repeats(self, partition: U16, position: U64, index: U64, part: npt.NDArray[np.uint8]) -> Mask:
        found = np.zeros(len(partition), bool)
        for number, place in enumerate(self.reached):
            last = place.last
            if last is not None and last.epoch == self.epoch:
                before = (index < last.index) | ((index == last.index) & (part <= last.part))
                before = (position < last.position) | ((position == last.position) & before)
                found |= (partition == number) & before
        return found

    def _reach(self, newest: Identity) -> None:
        self.last = newest if self.last is None else max(self.last, newest)

    def _pack_few(self, few: FewRows, trains: dict[int, Packed], now: int) -> None:
        self._reach(few.newest(self.epoch))
        for partition in few.partitions(len(self.reached)):
            chosen = few.chosen(partition)
            first, last = self.reached[partition].take(Lane.STREAM, len(chosen))
            commits = [few.commit[row] for row in chosen]
            ops = bytes(few.rows.ops[row] for row in chosen)
            car = few.car(chosen, self.epoch, first)
            span = (min(commits), max(commits))
            self._add_car(trains, partition, few.rows.resource, car, ops, (first, last), span, now)

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
