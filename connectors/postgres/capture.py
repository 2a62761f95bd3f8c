"""From pgoutput messages to the builder's rows: transactions, relations, changes. Pure.

The hot path (Insert, Update without an old tuple) makes no object per row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

from connectors.postgres import decode
from connectors.rows import CREATE, DELETE, EVERY, TRUNCATE, UPDATE, Rows
from connectors.train_builder import TrainBuilder
from datarail.keys import key_text
from datarail.position import Identity


@dataclass(slots=True, frozen=True)
class Wanted:
    """A resource as the contract has it. key: its items, empty for a table without one."""

    resource: str
    key: tuple[str, ...]
    items: tuple[str, ...]


class Capture:
    """Feeds one slot's messages to a builder.

    wanted: (schema, table) → resource; other tables are counted in the index and left out.
    near_xid: any recent 64-bit transaction id of the source, to widen the stream's 32 bits.
    notice: told of schema changes, in words for people. committed: end LSN of the last
    transaction read whole; open: whether we are inside one.
    """

    def __init__(
        self,
        builder: TrainBuilder,
        wanted: Mapping[tuple[str, str], Wanted],
        near_xid: int = 0,
        notice: Callable[[str, str], None] = lambda resource, text: None,
    ) -> None:
        self.builder = builder
        self.wanted = wanted
        self.notice = notice
        self.committed = 0
        self.open = False
        self.position = 0
        self._xid = near_xid
        self.commit_time = 0  # of the transaction read last, microseconds since the epoch
        self._index = 0
        self._rows: dict[int, Rows | None] = {}
        self._crc: dict[int, int] = {}
        self._tables: dict[int, decode.Relation] = {}
        self._partitions = len(builder.reached)

    def feed(self, data: bytes) -> None:
        """Take one message. Raises decode.Malformed for what protocol version 1 does not have."""
        kind = data[0]
        if kind == decode.INSERT:
            oid = (data[1] << 24) | (data[2] << 16) | (data[3] << 8) | data[4]
            self._append(oid, CREATE, data, 6)
            self._index += 1
        elif kind == decode.UPDATE:
            oid = (data[1] << 24) | (data[2] << 16) | (data[3] << 8) | data[4]
            if data[5] == 78:  # N: no old tuple
                self._append(oid, UPDATE, data, 6)
            else:
                self._update(oid, data)
            self._index += 1
        elif kind == decode.DELETE:
            rows = self._rows[decode.relation_of(data)]
            if rows is not None:
                self._append_old(decode.relation_of(data), rows, decode.delete(data).old or [])
                self.builder.bytes += len(data)
            self._index += 1
        elif kind == decode.BEGIN:
            begin = decode.begin(data)
            self.open = True
            self.position, self.commit_time, self._index = begin.position, begin.commit, 0
            self._xid = decode.widen(begin.xid, self._xid)
        elif kind == decode.COMMIT:
            self.committed = decode.commit_end(data)
            self.open = False
        elif kind == decode.RELATION:
            self._relation(decode.relation(data))
        elif kind == decode.TRUNCATE:
            self._truncate(data)
        elif kind not in (decode.TYPE, decode.ORIGIN, decode.MESSAGE):
            raise decode.Malformed(f"a message of kind {chr(kind)!r}")

    def _append(self, oid: int, op: int, data: bytes, at: int) -> None:
        rows = self._rows[oid]
        if rows is None:
            return
        flat = rows.flat
        base = len(flat)
        unchanged = decode.append_tuple(data, at, flat)
        if unchanged:
            rows.unchanged[len(rows.ops)] = unchanged
        if rows.commit != self.position:
            self._run(rows)
        key = rows.key
        if len(key) == 1:
            partition = crc32(flat[base + key[0]] or b"", self._crc[oid]) % self._partitions
        else:
            partition = self._partition(oid, rows, base, 0)
        rows.ops.append(op)
        rows.index.append(self._index)
        rows.target.append(partition)
        builder = self.builder
        builder.waiting[partition] += 1
        builder.rows += 1
        builder.bytes += len(data)

    def _append_old(self, oid: int, rows: Rows, old: decode.Values) -> None:
        base = len(rows.flat)
        rows.flat.extend(old)
        if rows.commit != self.position:
            self._run(rows)
        partition = self._partition(oid, rows, base, 0)
        rows.ops.append(DELETE)
        rows.index.append(self._index)
        rows.target.append(partition)
        self._count(partition)

    def _update(self, oid: int, data: bytes) -> None:
        rows = self._rows[oid]
        if rows is None:
            return
        change = decode.update(data)
        old = change.old or []
        new: decode.Values = []
        unchanged = decode.append_tuple(data, change.at, new)
        if unchanged and change.full:
            # The whole old row came along: what did not change stands there.
            for number in range(len(new)):
                if unchanged >> number & 1:
                    new[number] = old[number]
            unchanged = 0
        moved = any(old[number] != new[number] and not unchanged >> number & 1 for number in rows.key)
        if moved:
            self._append_old(oid, rows, old)
        base = len(rows.flat)
        rows.flat.extend(new)
        row = len(rows.ops)
        if unchanged:
            rows.unchanged[row] = unchanged
        if rows.commit != self.position:
            self._run(rows)
        part = 1 if moved else 0
        partition = self._partition(oid, rows, base, part)
        if moved:
            rows.second.append(row)
        rows.ops.append(CREATE if moved else UPDATE)
        rows.index.append(self._index)
        rows.target.append(partition)
        self.builder.bytes += len(data)
        self._count(partition)

    def _truncate(self, data: bytes) -> None:
        for oid in decode.truncated(data):
            rows = self._rows.get(oid)
            if rows is not None:
                rows.flat.extend([None] * rows.width)
                if rows.commit != self.position:
                    self._run(rows)
                rows.ops.append(TRUNCATE)
                rows.index.append(self._index)
                rows.target.append(EVERY)
                for partition in range(1, self._partitions):
                    self.builder.waiting[partition] += 1
                self._count(0)
            self._index += 1

    def _run(self, rows: Rows) -> None:
        rows.commit = self.position
        rows.runs.append((len(rows.ops), self.position, self._xid, self.commit_time))

    def _count(self, partition: int) -> None:
        self.builder.waiting[partition] += 1
        self.builder.rows += 1

    def _partition(self, oid: int, rows: Rows, base: int, part: int) -> int:
        parts = [(rows.flat[base + number] or b"").decode(errors="backslashreplace") for number in rows.key]
        text = key_text(parts, Identity(self.builder.epoch, self.position, self._index, part))
        return crc32(text.encode(), self._crc[oid]) % self._partitions

    def _relation(self, table: decode.Relation) -> None:
        known = self._tables.get(table.oid)
        rows = self._rows.get(table.oid)
        if known is not None and (known.columns, known.schema, known.name) == (
            table.columns,
            table.schema,
            table.name,
        ):
            return
        self._tables[table.oid] = table
        if rows is not None:
            self.builder.close(rows)
        wanted = self.wanted.get((table.schema, table.name))
        if wanted is None:
            self._rows[table.oid] = None
            return
        for name in table.columns:
            if name not in wanted.items:
                self.notice(
                    wanted.resource, f"the column {name} is not in the contract: it is carried as written"
                )
        for name in wanted.items:
            if name not in table.columns:
                self.notice(
                    wanted.resource,
                    f"the column {name} is gone from {table.schema}.{table.name}: take the item out of the "
                    "contract or restore the column; until then changes come without it",
                )
        key = [table.columns.index(name) for name in wanted.key if name in table.columns]
        self._rows[table.oid] = self.builder.open(wanted.resource, table.columns, key)
        self._crc[table.oid] = crc32(wanted.resource.encode())
