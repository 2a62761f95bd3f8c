"""Which changes of the stream a snapshot has already delivered (DESIGN rule 4). Pure.

A change is dropped only if its key lies in a chunk whose snapshot saw its transaction. Past
the last chunk's log position nothing can be: a commit is logged before it becomes visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from connectors.many_rows import Mask
from connectors.rows import TRUNCATE
from connectors.train_builder import Columns

Key = tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Snapshot:
    """A pg_snapshot: transactions below xmin and those below xmax not in running are visible."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def saw(self, xid: int) -> bool:
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)


@dataclass(slots=True, frozen=True)
class Chunk:
    """A range of keys, up to and with `high` (None: to the end), as one snapshot read it.

    lsn: the log's position after that snapshot was taken.
    """

    high: Key | None
    snapshot: Snapshot
    lsn: int


#: (resource, upper bounds of its chunks but the last, keys) → the chunk number of each key.
Locate = Callable[[str, Sequence[Key], Sequence[Key]], Sequence[int]]


class Overlap:
    """The builder's filter while the stream still runs over what the chunks read.

    until: the log position past which nothing is looked at. locate: asks the source, since
    only it knows its collations.
    """

    def __init__(self, chunks: dict[str, list[Chunk]], locate: Locate) -> None:
        self._chunks = {resource: found for resource, found in chunks.items() if found}
        self._locate = locate
        self.until = max((chunk.lsn for found in self._chunks.values() for chunk in found), default=0)
        self.dropped = 0

    def passed(self, position: int) -> bool:
        """Whether a stream at this commit position needs no filter any more."""
        return position >= self.until

    def keep(self, columns: Columns) -> Mask | None:
        """The rows to keep, None for all."""
        chunks = self._chunks.get(columns.resource)
        if not chunks or columns.position[0] >= self.until:
            return None
        kept = np.ones(len(columns.ops), bool)
        start = 0
        for at in [*np.flatnonzero(columns.ops == TRUNCATE).tolist(), len(kept)]:
            kept[start:at] = ~self._seen(chunks, columns, start, at)
            if at < len(kept):
                xid = int(columns.xid[at])
                if all(chunk.snapshot.saw(xid) for chunk in chunks):
                    kept[at] = False
                else:
                    # The table is empty here: from now on the stream alone tells all of it, also
                    # what chunks read after the truncate, whose rows it takes away.
                    del self._chunks[columns.resource]
                    break
            start = at + 1
        self.dropped += int(np.count_nonzero(~kept))
        return kept

    def _seen(self, chunks: list[Chunk], columns: Columns, start: int, end: int) -> Mask:
        xids = columns.xid[start:end]
        seen = np.zeros(end - start, bool)
        doubtful: list[int] = []
        for xid in np.unique(xids).tolist():
            saw = [chunk.snapshot.saw(xid) for chunk in chunks]
            rows = np.flatnonzero(xids == xid)
            if all(saw):
                seen[rows] = True
            elif any(saw):
                doubtful += rows.tolist()
        if doubtful:
            bounds = [chunk.high for chunk in chunks[:-1] if chunk.high is not None]
            keys = _keys(columns.key, [start + row for row in doubtful])
            for row, number in zip(doubtful, self._locate(columns.resource, bounds, keys), strict=True):
                seen[row] = chunks[number].snapshot.saw(int(xids[row]))
        return seen


def _keys(columns: list[pa.Array], rows: list[int]) -> list[Key]:
    taken = [column.take(pa.array(rows)).to_pylist() for column in columns]
    return list(zip(*taken, strict=True))
