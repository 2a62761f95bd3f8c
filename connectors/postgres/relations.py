"""The tables a slot tells of, and what of a message depends on its table. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from connectors.postgres import decode
from connectors.rows import CREATE, DELETE, TRUNCATE, UPDATE, Rows, text
from connectors.train_builder import TrainBuilder
from datarail.keys import key_text
from datarail.position import Identity

_OPS = {decode.INSERT: CREATE, decode.UPDATE: UPDATE, decode.DELETE: DELETE, decode.TRUNCATE: TRUNCATE}
#: By kind of message: the operation it is, 0 for those without rows.
OPS = bytes(_OPS.get(kind, 0) for kind in range(256))


@dataclass(slots=True, frozen=True)
class Wanted:
    """A resource as the contract has it. key: its items, empty for a table without one."""

    resource: str
    key: tuple[str, ...]
    items: tuple[str, ...]


class Relations:
    """Which rows the changes of a table go to, by its oid: `rows`, None for one not wanted.

    wanted: (schema, table) → resource. notice: told of schema changes, in words for people.
    """

    def __init__(
        self,
        builder: TrainBuilder,
        wanted: Mapping[tuple[str, str], Wanted],
        notice: Callable[[str, str], None],
    ) -> None:
        self.builder = builder
        self.wanted = wanted
        self.notice = notice
        self.rows: dict[int, Rows | None] = {}
        self._tables: dict[int, decode.Relation] = {}

    def of(self, oid: int) -> Rows | None:
        try:
            return self.rows[oid]
        except KeyError:
            raise decode.Malformed(f"a change of relation {oid}, which was never told") from None

    def news(self, table: decode.Relation) -> bool:
        """Whether a table is not as it was told last."""
        known = self._tables.get(table.oid)
        return known is None or (known.columns, known.schema, known.name) != (
            table.columns,
            table.schema,
            table.name,
        )

    def tell(self, table: decode.Relation) -> None:
        """From here on the table is this."""
        if not self.news(table):
            return
        self._tables[table.oid] = table
        rows = self.rows.get(table.oid)
        if rows is not None:
            self.builder.close(rows)
        wanted = self.wanted.get((table.schema, table.name))
        if wanted is None:
            self.rows[table.oid] = None
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
        self.rows[table.oid] = self.builder.open(wanted.resource, table.columns, key)


def key_crc(rows: Rows, parts: Sequence[bytes | None], identity: Identity) -> int:
    """What decides the partition: datarail.keys.partition_of before its modulo. parts: the key
    items as written."""
    if len(parts) == 1:
        value = parts[0] or b""
        # What is no UTF-8 has another key than its bytes.
        return crc32(value if value.isascii() else (text(value) or "").encode(), rows.crc)
    return crc32(key_text([text(part) for part in parts], identity).encode(), rows.crc)


def plain(data: bytes, key: Sequence[int]) -> list[tuple[bytes, int]]:
    """An update that brings its old row, as messages without one, each with its part: the update,
    or a delete and an insert where the key changed. key: numbers of its columns."""
    change = decode.update(data)
    old = change.old or []
    new: decode.Values = []
    unchanged = decode.append_tuple(data, change.at, new)
    if len(new) != len(old):
        raise decode.Malformed(f"an update from {len(old)} columns to {len(new)}")
    told = data[change.at :]
    if unchanged and change.full:
        # The whole old row came along: what did not change stands there.
        new = [old[number] if unchanged >> number & 1 else value for number, value in enumerate(new)]
        unchanged = 0
        told = decode.tuple_bytes(new)
    oid = data[1:5]
    if any(old[number] != new[number] and not unchanged >> number & 1 for number in key):
        return [(b"D" + oid + b"K" + decode.tuple_bytes(old), 0), (b"I" + oid + b"N" + told, 1)]
    return [(b"U" + oid + b"N" + told, 0)]
