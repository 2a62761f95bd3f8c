"""Many changes to cars: rows of several resources as arrays, sorted and cut at once. Pure.

A car's price in NumPy and Arrow calls does not depend on its rows, and with many resources cars
are many. So all rows of one width are brought into the order of their cars by one sort, all their
values by one `take`, and a car's columns are slices of what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.rows import EVERY, UTC, Rows, texts
from datarail.position import Identity, Lane

Mask = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Part:
    """The rows of one car: all but _seq, which the builder numbers."""

    partition: int
    rows: Rows
    ops: bytes
    columns: list[pa.Array]
    #: The least and the greatest time of commit.
    commit: tuple[int, int]


@dataclass(slots=True)
class ManyRows:
    """Changes in the order of the stream, of resources with equally many items.

    owners: those resources, in the order of their cars; owner: a row's place among them. The value
    of row r, item i is `values` (binary) at (r * width + i) * step. unchanged: rows × width, None
    where all were sent. target, part and so on: as in `Rows`, one entry a row.
    """

    owners: list[Rows]
    owner: U16
    ops: U8
    target: U16
    position: U64
    index: U64
    part: U8
    xid: U64
    commit: I64
    values: pa.Array
    step: int
    unchanged: Mask | None

    @classmethod
    def of(cls, rows: Rows) -> ManyRows:
        """All that waits in one `Rows`, at least one row."""
        count = len(rows.ops)
        starts = np.fromiter((run[0] for run in rows.runs), np.int64, len(rows.runs))
        lengths = np.diff(np.append(starts, count))
        part = np.zeros(count, np.uint8)
        part[rows.second] = 1
        unchanged = None
        if rows.unchanged:
            unchanged = np.zeros((count, rows.width), bool)
            for row, bits in rows.unchanged.items():
                unchanged[row] = [bits >> item & 1 for item in range(rows.width)]
        return cls(
            [rows],
            np.zeros(count, np.uint16),
            np.frombuffer(bytes(rows.ops), np.uint8),
            np.array(rows.target, np.uint16),
            np.repeat(np.array([run[1] for run in rows.runs], np.uint64), lengths),
            np.array(rows.index, np.uint64),
            part,
            np.repeat(np.array([run[2] for run in rows.runs], np.uint64), lengths),
            np.repeat(np.array([run[3] for run in rows.runs], np.int64), lengths),
            pa.array(rows.flat, pa.binary()),
            1,
            unchanged,
        )

    def __len__(self) -> int:
        return len(self.ops)

    @property
    def width(self) -> int:
        return self.owners[0].width

    def newest(self, epoch: int) -> Identity:
        """The identity of the last row."""
        return Identity(epoch, int(self.position[-1]), int(self.index[-1]), int(self.part[-1]))

    def written(self, rows: I64, item: int) -> pa.Array:
        """One item of some rows, as bytes."""
        return self.values.take(pa.array((rows * self.width + item) * self.step))

    def placed(self, partitions: int) -> tuple[I64, U16]:
        """Every row with its partition, in order; a row for every partition is there for each."""
        rows = np.arange(len(self))
        every = self.target == EVERY
        if not every.any():
            return rows, self.target
        times = np.where(every, partitions, 1)
        rows = np.repeat(rows, times)
        place = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
        return rows, np.where(every[rows], place, self.target[rows]).astype(np.uint16)

    def parts(self, rows: I64, partition: U16, partitions: int, epoch: int) -> Iterator[Part]:
        """The cars of these rows (numbers, ascending) in these partitions, resource by resource."""
        if len(rows) == 0:
            return
        car = self.owner[rows].astype(np.uint32) * partitions + partition
        order = np.argsort(car, kind="stable")
        rows, car = rows[order], car[order]
        starts = np.flatnonzero(np.append(True, car[1:] != car[:-1]))
        ends = np.append(starts[1:], len(rows))
        ops, commit = self.ops[rows], self.commit[rows]
        count, width = len(rows), self.width
        meta = [
            pa.array(ops),
            pa.array(np.full(count, Lane.STREAM, np.uint8)),
            pa.nulls(count, pa.uint64()),  # _seq
            pa.array(np.full(count, epoch, np.uint32)),
            pa.array(self.position[rows]),
            pa.array(self.index[rows]),
            pa.array(self.part[rows]),
            pa.array(self.xid[rows]),
            pa.array(commit).view(UTC),
            self._bitmaps(rows),
        ]
        # Car by car, within it item by item.
        first = rows * (width * self.step)
        items = (np.arange(width) * self.step)[:, None]
        places = [(first[start:end] + items).ravel() for start, end in zip(starts, ends, strict=True)]
        values = texts(self.values.take(pa.array(np.concatenate(places))))
        least, most = np.minimum.reduceat(commit, starts), np.maximum.reduceat(commit, starts)
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            length = end - start
            owner, place = divmod(int(car[start]), partitions)
            columns = [column.slice(start, length) for column in meta]
            columns += [values.slice(start * width + item * length, length) for item in range(width)]
            yield Part(
                place,
                self.owners[owner],
                ops[start:end].tobytes(),
                columns,
                (int(least[number]), int(most[number])),
            )

    def _bitmaps(self, rows: I64) -> pa.Array:
        count = len(rows)
        if self.unchanged is None:
            return pa.nulls(count, pa.binary())
        unchanged = self.unchanged[rows]
        bits = np.packbits(unchanged, axis=1, bitorder="little")
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(bits.shape[1])
        valid = np.packbits(unchanged.any(axis=1), bitorder="little")
        buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(bits)]
        return pa.Array.from_buffers(pa.binary(), count, buffers)
