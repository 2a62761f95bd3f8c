"""Many messages at once: what `Capture.feed` does one by one, in NumPy calls that all share. Pure.

The messages stand in one buffer. Those that come once a row or once a transaction are read as
columns; the rare ones (a table told, a truncate, an update that brings its old row) one by one and
turned into messages like the others: kind, relation, a byte, and the tuple from byte 6 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connectors.many_rows import I64, U8, U64
from connectors.postgres import decode, tuples
from connectors.postgres.changes import Changes, Place
from connectors.postgres.relations import OPS, Relations, plain
from connectors.rows import Rows

#: The least length of a message by its kind: up to the first column's kind, where it has columns.
_LEAST = np.ones(256, np.int64)
_LEAST[[decode.INSERT, decode.UPDATE, decode.DELETE]] = 8
_LEAST[decode.BEGIN], _LEAST[decode.COMMIT] = 21, 26
_ROW = np.zeros(256, bool)
_ROW[[decode.INSERT, decode.UPDATE, decode.DELETE]] = True
_OPS = np.frombuffer(OPS, np.uint8)
_RARE = ~_ROW
_RARE[[decode.BEGIN, decode.COMMIT]] = False


@dataclass(slots=True)
class _Plain:
    """A message that stands for (part of) a rare one. index: added to that of the rare one."""

    message: bytes
    part: int
    owner: int
    index: int = 0


def read(messages: Sequence[bytes], place: Place, relations: Relations) -> Changes:
    """The wanted changes of these messages (at least one); moves `place` past them and tells
    `relations` of tables. Raises decode.Malformed."""
    return _Reading(messages, relations).changes(place)


class _Reading:
    def __init__(self, messages: Sequence[bytes], relations: Relations) -> None:
        self.messages = messages
        self.relations = relations
        self._lay(messages)
        self.kinds = tuples.octets(self.data)[self.start]
        if (self.size < _LEAST[self.kinds]).any():
            raise decode.Malformed("a message ends too early")
        self.weight = _ROW[self.kinds].astype(np.int64)  # what a message adds to the index
        self.owners: list[Rows] = []
        self.owner = np.full(len(messages), -1, np.int64)
        self.plain: dict[int, list[_Plain]] = {}

    def _lay(self, messages: Sequence[bytes]) -> None:
        self.size = np.fromiter(map(len, messages), np.int64, len(messages))
        self.start = np.cumsum(self.size) - self.size
        self.data = b"".join([*messages, bytes(tuples.PADDING)])

    def changes(self, place: Place) -> Changes:
        self._rare()
        position, xid, commit, index = self._turns(place)
        which, start, end, owner, added, part = self._rows()
        return Changes(
            self.data,
            self.owners,
            start,
            end,
            owner,
            ops=_OPS[tuples.octets(self.data)[start]],
            position=position[which],
            xid=xid[which],
            commit=commit[which],
            index=index[which] + added,
            part=part,
        )

    def _turns(self, place: Place) -> tuple[U64, U64, I64, U64]:
        """position, xid, commit and index of every message."""
        u64, begins = tuples.u64(self.data), np.flatnonzero(self.kinds == decode.BEGIN)
        commits = np.flatnonzero(self.kinds == decode.COMMIT)
        turn = np.cumsum(self.kinds == decode.BEGIN)
        at = self.start[begins]
        position = np.append(np.uint64(place.position), u64[at + 1])
        commit = np.append(place.commit_time, u64[at + 9].astype(np.int64) + decode.PG_EPOCH)
        xid = np.array([place.xid, *_widened(tuples.u32(self.data)[at + 17], place.xid)], np.uint64)
        index = np.cumsum(self.weight) - self.weight
        first = np.append(-place.index, index[begins])
        place.index = int(self.weight.sum() - first[-1])
        place.position, place.xid, place.commit_time = int(position[-1]), int(xid[-1]), int(commit[-1])
        if len(commits):
            place.committed = decode.commit_end(self.messages[commits[-1]])
        if len(begins) or len(commits):
            place.open = not len(commits) or (len(begins) > 0 and begins[-1] > commits[-1])
        return position[turn], xid[turn], commit[turn], (index - first[turn]).astype(np.uint64)

    def _rare(self) -> None:
        """Go through the rare messages in order, and tell each row message its owner on the way."""
        byte, kinds = tuples.octets(self.data), self.kinds
        rows = np.flatnonzero(_ROW[kinds])
        tag = byte[self.start[rows] + 5]
        deletes = kinds[rows] == decode.DELETE
        if (deletes & (tag != decode.KEY) & (tag != decode.OLD)).any():
            raise decode.Malformed("a delete has no old tuple")
        rare = _RARE[kinds]
        rare[rows[(kinds[rows] == decode.UPDATE) & (tag != decode.NEW)]] = True
        done = 0
        for number in np.flatnonzero(rare).tolist():
            message = self.messages[number]
            if message[0] == decode.RELATION:
                table = decode.relation(message)
                if self.relations.news(table):
                    self._own(done, number)
                    done = number
                    self.relations.tell(table)
            elif message[0] == decode.UPDATE:
                owner = self.relations.of(decode.relation_of(message))
                if owner is not None:
                    self.plain[number] = [
                        _Plain(each, part, self._number(owner)) for each, part in plain(message, owner.key)
                    ]
            elif message[0] == decode.TRUNCATE:
                oids = decode.truncated(message)
                self.weight[number] = len(oids)
                emptied = [(at, self.relations.of(oid)) for at, oid in enumerate(oids)]
                self.plain[number] = [self._emptied(rows, at) for at, rows in emptied if rows is not None]
            elif message[0] not in (decode.TYPE, decode.ORIGIN, decode.MESSAGE):
                raise decode.Malformed(f"a message of kind {chr(message[0])!r}")
        self._own(done, len(kinds))

    def _own(self, first: int, end: int) -> None:
        """Give the row messages from first to end to those who own their tables now."""
        which = first + np.flatnonzero(_ROW[self.kinds[first:end]])
        oids, places = np.unique(tuples.u32(self.data)[self.start[which] + 1], return_inverse=True)
        owners = [self.relations.of(oid) for oid in oids.tolist()]
        numbers = np.array([-1 if rows is None else self._number(rows) for rows in owners], np.int64)
        self.owner[which] = numbers[places]

    def _number(self, rows: Rows) -> int:
        """Its place among owners: a resource's rows of an older schema are before the newer ones."""
        for number, known in enumerate(self.owners):
            if known is rows:
                return number
        self.owners.append(rows)
        return len(self.owners) - 1

    def _emptied(self, rows: Rows, index: int) -> _Plain:
        nothing = b"T\0\0\0\0N" + decode.tuple_bytes([None] * rows.width)
        return _Plain(nothing, 0, self._number(rows), index)

    def _rows(self) -> tuple[I64, I64, I64, I64, U64, U8]:
        """Of every wanted change: number of its message, start, end, owner, what is to be added to
        the index, part."""
        if not self.plain:
            which = np.flatnonzero(self.owner >= 0)
            start = self.start[which]
            nothing = np.zeros(len(which), np.uint64)
            return (
                which,
                start,
                start + self.size[which],
                self.owner[which],
                nothing,
                nothing.astype(np.uint8),
            )
        times = (self.owner >= 0).astype(np.int64)
        messages = list(self.messages)
        for number, told in self.plain.items():
            times[number] = len(told)
            messages[number] = b"".join(each.message for each in told)
        self._lay(messages)
        which = np.repeat(np.arange(len(messages)), times)
        start, owner = self.start[which], self.owner[which]
        end = start + self.size[which]
        added, part = np.zeros(len(which), np.uint64), np.zeros(len(which), np.uint8)
        first = np.cumsum(times) - times
        for number, told in self.plain.items():
            at = int(self.start[number])
            for row, each in enumerate(told, int(first[number])):
                start[row], end[row] = at, at + len(each.message)
                at += len(each.message)
                owner[row], added[row], part[row] = each.owner, each.index, each.part
        return which, start, end, owner, added, part


def _widened(xids: npt.NDArray[np.uint32], near: int) -> list[int]:
    """`decode.widen` of each, nearest to the one before."""
    wide = []
    for xid in xids.tolist():
        near = decode.widen(xid, near)
        wide.append(near)
    return wide
