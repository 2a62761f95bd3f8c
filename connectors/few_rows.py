"""A handful of changes as cars, without the price that NumPy has for every call. Pure.

Under a light load with many resources nearly every car has one row, and what it costs is what a
commit costs. The columns are those that `TrainBuilder` makes of many rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pyarrow as pa

from connectors.rows import EVERY, UTC, Rows, bitmaps, texts
from datarail.position import Identity, Lane

#: Up to here one Python step a row costs less than a NumPy call a column.
FEW = 16


class FewRows:
    """All rows of an open `Rows` (at least one): by row its position, xid and commit."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.position: list[int] = []
        self.xid: list[int] = []
        self.commit: list[int] = []
        ends = [run[0] for run in rows.runs[1:]] + [len(rows.ops)]
        for (first, position, xid, commit), end in zip(rows.runs, ends, strict=True):
            length = end - first
            self.position += [position] * length
            self.xid += [xid] * length
            self.commit += [commit] * length

    def newest(self, epoch: int) -> Identity:
        """The identity of the last row."""
        last = len(self.rows.ops) - 1
        return Identity(epoch, self.position[last], self.rows.index[last], int(last in self.rows.second))

    def partitions(self, number: int) -> Sequence[int]:
        """Those of `number` partitions that get any row, in order."""
        targets = set(self.rows.target)
        return range(number) if EVERY in targets else sorted(targets)

    def chosen(self, partition: int) -> list[int]:
        """The rows for one partition, in order."""
        return [row for row, target in enumerate(self.rows.target) if target in (partition, EVERY)]

    def car(self, chosen: Sequence[int], epoch: int, first: int) -> pa.RecordBatch:
        """A raw car of these rows; their _seq begins at `first`."""
        rows, count = self.rows, len(chosen)
        part = [int(row in rows.second) for row in chosen] if rows.second else [0] * count
        unchanged = {at: rows.unchanged[row] for at, row in enumerate(chosen) if row in rows.unchanged}
        flat, width = rows.flat, rows.width
        # One array for all items: an array each would cost five times as much.
        values = texts([flat[row * width + item] for item in range(width) for row in chosen])
        return pa.RecordBatch.from_arrays(
            [
                _numbers(_U8, "B", [rows.ops[row] for row in chosen]),
                _numbers(_U8, "B", [Lane.STREAM] * count),
                _numbers(_U64, "Q", range(first, first + count)),
                _numbers(_U32, "I", [epoch] * count),
                _numbers(_U64, "Q", [self.position[row] for row in chosen]),
                _numbers(_U64, "Q", [rows.index[row] for row in chosen]),
                _numbers(_U8, "B", part),
                _numbers(_U64, "Q", [self.xid[row] for row in chosen]),
                _numbers(UTC, "q", [self.commit[row] for row in chosen]),
                bitmaps(unchanged, count, width),
                *(values.slice(item * count, count) for item in range(width)),
            ],
            schema=rows.schema,
        )


_U8, _U32, _U64 = pa.uint8(), pa.uint32(), pa.uint64()


def _numbers(kind: pa.DataType, code: str, values: Sequence[int]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(array(code, values))])
