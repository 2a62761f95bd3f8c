"""pgoutput, protocol version 1: message bytes to values. Pure.

Source: PostgreSQL documentation, "Logical Replication Message Formats". Integers are big-endian;
text is in the session's client encoding, UTF-8 here. Values stay bytes, as the server wrote them.

`append_tuple` puts a row's values at the end of one flat list, no object per row. Many rows at
once are read by connectors.postgres.tuples. Begin, Commit and Relation here may cost what they like.
"""

from __future__ import annotations

from struct import Struct

#: Microseconds between the Unix epoch and PostgreSQL's (2000-01-01).
PG_EPOCH = 946_684_800_000_000

BEGIN, COMMIT, RELATION, TYPE, ORIGIN, MESSAGE = 66, 67, 82, 89, 79, 77  # B C R Y O M
INSERT, UPDATE, DELETE, TRUNCATE = 73, 85, 68, 84  # I U D T

NEW, KEY, OLD = 78, 75, 79  # N K O: what a tuple is
NULL, UNCHANGED, TEXT = 110, 117, 116  # n u t: how a column is sent

_U32 = Struct(">I").unpack_from
_BEGIN = Struct(">QqI").unpack_from
_COMMIT = Struct(">BQQq").unpack_from

Values = list[bytes | None]


class Malformed(ValueError):
    """Bytes that are no message of protocol version 1."""


class Begin:
    """position: LSN of the commit; commit: microseconds since the Unix epoch, UTC; xid: 32 bits."""

    __slots__ = ("commit", "position", "xid")

    def __init__(self, position: int, commit: int, xid: int) -> None:
        self.position = position
        self.commit = commit
        self.xid = xid


class Relation:
    """A table as it is from here on. identity: numbers of the columns flagged as key."""

    __slots__ = ("columns", "identity", "name", "oid", "replident", "schema", "types")

    def __init__(
        self,
        oid: int,
        schema: str,
        name: str,
        replident: str,
        columns: tuple[str, ...],
        types: tuple[int, ...],
        identity: tuple[int, ...],
    ) -> None:
        self.oid = oid
        self.schema = schema
        self.name = name
        self.replident = replident
        self.columns = columns
        self.types = types
        self.identity = identity


def begin(data: bytes) -> Begin:
    position, at, xid = _BEGIN(data, 1)
    return Begin(position, at + PG_EPOCH, xid)


def commit_end(data: bytes) -> int:
    """The LSN after the commit: what may be acknowledged once all of it is safe."""
    end: int = _COMMIT(data, 1)[2]
    return end


def relation(data: bytes) -> Relation:
    oid = _U32(data, 1)[0]
    schema, at = _string(data, 5)
    name, at = _string(data, at)
    replident = chr(data[at])
    count = (data[at + 1] << 8) | data[at + 2]
    at += 3
    columns: list[str] = []
    types: list[int] = []
    identity: list[int] = []
    for number in range(count):
        if data[at] & 1:
            identity.append(number)
        column, at = _string(data, at + 1)
        columns.append(column)
        types.append(_U32(data, at)[0])
        at += 8
    # An empty name is pg_catalog in the protocol.
    return Relation(
        oid, schema or "pg_catalog", name, replident, tuple(columns), tuple(types), tuple(identity)
    )


def truncated(data: bytes) -> list[int]:
    """The relations of a Truncate message."""
    count = _U32(data, 1)[0]
    return [_U32(data, 6 + 4 * number)[0] for number in range(count)]


def relation_of(data: bytes) -> int:
    """The relation an Insert, Update or Delete is about."""
    return (data[1] << 24) | (data[2] << 16) | (data[3] << 8) | data[4]


def append_tuple(data: bytes, at: int, into: Values) -> int:
    """Append the values of the tuple that starts at `at`; returns a bitmap of the unchanged ones
    (bit i: column i was not sent because it did not change; its value here is None)."""
    unchanged = 0
    count = (data[at] << 8) | data[at + 1]
    at += 2
    append = into.append
    for number in range(count):
        kind = data[at]
        if kind == TEXT:
            start = at + 5
            at = start + _U32(data, at + 1)[0]
            append(data[start:at])
        elif kind == NULL:
            append(None)
            at += 1
        elif kind == UNCHANGED:
            append(None)
            unchanged |= 1 << number
            at += 1
        else:
            raise Malformed(f"column {number} is sent as {chr(kind)!r}, not as text")
    if at > len(data):
        raise Malformed("a tuple ends after its message")
    return unchanged


def tuple_end(data: bytes, at: int) -> int:
    """Where the tuple that starts at `at` ends."""
    count = (data[at] << 8) | data[at + 1]
    at += 2
    for _ in range(count):
        at += 5 + _U32(data, at + 1)[0] if data[at] == TEXT else 1
    return at


def tuple_bytes(values: Values, unchanged: int = 0) -> bytes:
    """The inverse of `append_tuple`."""
    parts = [len(values).to_bytes(2, "big")]
    for number, value in enumerate(values):
        if unchanged >> number & 1:
            parts.append(b"u")
        elif value is None:
            parts.append(b"n")
        else:
            parts += (b"t", len(value).to_bytes(4, "big"), value)
    return b"".join(parts)


class Change:
    """An update's old side. full: the whole old row (REPLICA IDENTITY FULL), else its key columns
    alone, the others None. at: where the new tuple starts."""

    __slots__ = ("at", "full", "old")

    def __init__(self, old: Values | None, full: bool, at: int) -> None:
        self.old = old
        self.full = full
        self.at = at


def update(data: bytes) -> Change:
    kind = data[5]
    if kind == NEW:
        return Change(None, False, 6)
    if kind != KEY and kind != OLD:
        raise Malformed(f"an update has a tuple of kind {chr(kind)!r}")
    old: Values = []
    append_tuple(data, 6, old)
    at = tuple_end(data, 6)
    if data[at] != NEW:
        raise Malformed("an update has no new tuple")
    return Change(old, kind == OLD, at + 1)


def check_delete(data: bytes) -> None:
    """Raises Malformed where a delete has no old tuple; it begins at 6."""
    if data[5] != KEY and data[5] != OLD:
        raise Malformed(f"a delete has a tuple of kind {chr(data[5])!r}")


def widen(xid: int, near: int) -> int:
    """The 64-bit transaction id whose low half is xid, nearest to one known (both within 2^31)."""
    wide = (near & ~0xFFFFFFFF) | xid
    if wide - near > 1 << 31 and wide >= 1 << 32:
        return wide - (1 << 32)
    if near - wide > 1 << 31:
        return wide + (1 << 32)
    return wide


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
