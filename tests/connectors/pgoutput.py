"""pgoutput messages written for tests, by the protocol's page: the inverse of connectors.postgres.decode."""

from __future__ import annotations

from struct import pack

from connectors.postgres.decode import PG_EPOCH

#: A column as it is sent: text (or its bytes), None for null, UNCHANGED.
UNCHANGED = object()


def begin(position: int, commit: int, xid: int) -> bytes:
    return b"B" + pack(">QqI", position, commit - PG_EPOCH, xid)


def commit(position: int, end: int, at: int) -> bytes:
    return b"C" + pack(">BQQq", 0, position, end, at - PG_EPOCH)


def relation(
    oid: int, schema: str, name: str, columns: list[str], key: list[str], replident: str = "d"
) -> bytes:
    body = b"".join(
        pack(">B", column in key) + column.encode() + b"\0" + pack(">Ii", 25, -1) for column in columns
    )
    head = pack(">I", oid) + schema.encode() + b"\0" + name.encode() + b"\0" + replident.encode()
    return b"R" + head + pack(">H", len(columns)) + body


def row(values: list[object]) -> bytes:
    parts = [pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            text = value if isinstance(value, bytes) else str(value).encode()
            parts.append(b"t" + pack(">I", len(text)) + text)
    return b"".join(parts)


def insert(oid: int, values: list[object]) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(values)


def update(oid: int, values: list[object], old: list[object] | None = None, kind: bytes = b"K") -> bytes:
    before = b"" if old is None else kind + row(old)
    return b"U" + pack(">I", oid) + before + b"N" + row(values)


def delete(oid: int, old: list[object], kind: bytes = b"K") -> bytes:
    return b"D" + pack(">I", oid) + kind + row(old)


def truncate(*oids: int) -> bytes:
    return b"T" + pack(">IB", len(oids), 0) + b"".join(pack(">I", oid) for oid in oids)
