"""A handful of changes as small cars, without the price of NumPy and Arrow for every call. Pure.

Under a light load with many resources nearly every car has one row, and what it costs is what a
commit costs. In Arrow they are the cars that `TrainBuilder` makes of many rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.rows import EVERY, Rows, text
from datarail.position import Identity, Lane
from datarail.small_car import Row, SmallCar, shape


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

    def car(self, chosen: Sequence[int], epoch: int, first: int) -> SmallCar:
        """A raw car of these rows; their _seq begins at `first`."""
        rows, width, second, unchanged = self.rows, self.rows.width, self.rows.second, self.rows.unchanged
        size = (width + 7) // 8
        made: list[Row] = []
        for row in chosen:
            bits = unchanged.get(row)
            made.append(
                [
                    *(rows.ops[row], _STREAM, first + len(made), epoch, self.position[row], rows.index[row]),
                    *(1 if row in second else 0, self.xid[row], self.commit[row]),
                    None if bits is None else bits.to_bytes(size, "little").hex(),
                    *[text(value) for value in rows.flat[row * width : (row + 1) * width]],
                ]
            )
        return SmallCar(shape(rows.items), made)


_STREAM = int(Lane.STREAM)
