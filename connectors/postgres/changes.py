"""Changes read many at once, on their way to the builder: as blocks, or one by one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import repeat
from zlib import crc32

import numpy as np

from connectors.many_rows import I64, U8, U64, ManyRows, Mask
from connectors.postgres import decode, tuples
from connectors.postgres.relations import key_crc
from connectors.rows import DELETE, EVERY, TRUNCATE, Rows
from datarail.position import Identity
from datarail.small_car import FEW


@dataclass(slots=True)
class Place:
    """Where in the stream its reader is.

    position, xid (64 bits), commit_time (microseconds): of the transaction begun last; index: of
    the next row message in it; open: whether we are inside one. committed: end LSN of the last
    transaction read whole.
    """

    xid: int
    position: int = 0
    commit_time: int = 0
    index: int = 0
    open: bool = False
    committed: int = 0

    def begin(self, begin: decode.Begin) -> None:
        self.open = True
        self.position, self.commit_time, self.index = begin.position, begin.commit, 0
        self.xid = decode.widen(begin.xid, self.xid)

    def commit(self, end: int) -> None:
        self.open = False
        self.committed = end


@dataclass(slots=True)
class Changes:
    """The wanted changes of many messages, in their order; one entry a change.

    data: the messages and tuples.PADDING. start, end: where a change's message is in it; at start +
    6 its tuple. owner: its place among owners. position … part as in `ManyRows`.
    """

    data: bytes
    owners: list[Rows]
    start: I64
    end: I64
    owner: I64
    ops: U8
    position: U64
    xid: U64
    commit: I64
    index: U64
    part: U8

    def chosen(self, which: Mask) -> Changes:
        fields = ("start", "end", "owner", "ops", "position", "xid", "commit", "index", "part")
        return replace(self, **{name: getattr(self, name)[which] for name in fields})


Few = tuple[Rows, int, bytes, int, Place]


def split(changes: Changes, epoch: int, partitions: int) -> tuple[list[Few], list[ManyRows]]:
    """The changes of resources that have but a few, one by one for `Capture`; the others as blocks."""
    total: Counter[str] = Counter()
    by_owner = np.bincount(changes.owner, minlength=len(changes.owners))
    for rows, count in zip(changes.owners, by_owner.tolist(), strict=True):
        total[rows.resource] += count
    few = np.array([total[rows.resource] <= FEW for rows in changes.owners], bool)
    # A resource's rows of an older schema come in a block before those of the newer one.
    groups: dict[tuple[int, int], list[int]] = {}
    older: Counter[str] = Counter()
    for number, rows in enumerate(changes.owners):
        if not few[number]:
            groups.setdefault((older[rows.resource], rows.width), []).append(number)
            older[rows.resource] += 1
    blocks = [_block(changes, groups[key], epoch, partitions) for key in sorted(groups)]
    return (list(_singly(changes.chosen(few[changes.owner]))) if few.any() else []), blocks


def _singly(changes: Changes) -> Iterable[Few]:
    columns = (changes.owner, changes.ops, changes.start, changes.end, changes.part)
    places = (changes.xid, changes.position, changes.commit, changes.index)
    for (owner, op, start, end, part), place in zip(
        zip(*(column.tolist() for column in columns), strict=True),
        zip(*(column.tolist() for column in places), strict=True),
        strict=True,
    ):
        yield changes.owners[owner], op, changes.data[start:end], part, Place(*place)


def _block(changes: Changes, numbers: list[int], epoch: int, partitions: int) -> ManyRows:
    owners = [changes.owners[number] for number in numbers]
    place = np.full(len(changes.owners), -1, np.int64)
    place[numbers] = np.arange(len(numbers))
    if len(numbers) < len(changes.owners):
        changes = changes.chosen(place[changes.owner] >= 0)
    values, unchanged = tuples.values(changes.data, changes.start + 6, changes.end, owners[0].width)
    if unchanged is not None:
        unchanged[changes.ops == DELETE] = False
    block = ManyRows(
        owners,
        place[changes.owner].astype(np.uint16),
        changes.ops,
        np.full(len(changes.ops), EVERY, np.uint16),
        changes.position,
        changes.index,
        changes.part,
        changes.xid,
        changes.commit,
        values,
        tuples.STEP,
        unchanged,
    )
    for number, rows in enumerate(owners):
        which = np.flatnonzero((block.owner == number) & (block.ops != TRUNCATE))
        crcs = _crcs(block, rows, which, epoch)
        block.target[which] = np.fromiter(crcs, np.int64, len(which)) % partitions
    return block


def _crcs(block: ManyRows, rows: Rows, which: I64, epoch: int) -> Iterable[int]:
    """`key_crc` of these changes."""
    parts = [block.written(which, item).to_pylist() for item in rows.key]
    if len(parts) == 1 and None not in parts[0] and b"".join(parts[0]).isascii():
        return map(crc32, parts[0], repeat(rows.crc))
    place = [column[which].tolist() for column in (block.position, block.index, block.part)]
    identities = map(Identity, repeat(epoch), *place)
    keys = zip(*parts, strict=True) if parts else repeat((), len(which))
    return (key_crc(rows, key, identity) for key, identity in zip(keys, identities, strict=True))
