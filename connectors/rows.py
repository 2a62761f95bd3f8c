"""What a decoder fills: the changes of one resource, waiting to be packed into cars."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from zlib import crc32

import pyarrow as pa

from datarail.columns import raw_schema

#: The target of a row that goes to every partition (truncate).
EVERY = 0xFFFF

CREATE, UPDATE, DELETE, READ, TRUNCATE = 99, 117, 100, 114, 116  # c u d r t

UTC = pa.timestamp("us", "UTC")


class Rows:
    """Changes of one resource under one schema, waiting to be packed.

    flat: the values of all rows in sequence, len(items) each. One entry a row: ops, index,
    target (partition, or EVERY). second: numbers of the rows with part 1. unchanged: row number
    → bitmap of items not sent. runs: (first row, position, xid, commit) for each transaction.
    crc: what the checksum of every key begins with (datarail.keys.partition_of).
    """

    __slots__ = (
        "closed",
        "commit",
        "crc",
        "flat",
        "index",
        "items",
        "key",
        "ops",
        "resource",
        "runs",
        "schema",
        "second",
        "target",
        "unchanged",
        "width",
    )

    def __init__(self, resource: str, items: Sequence[str], key: Sequence[int]) -> None:
        self.resource = resource
        self.items = tuple(items)
        self.key = tuple(key)
        self.width = len(items)
        self.schema = raw_schema(self.items)
        self.crc = crc32(resource.encode())
        self.closed = False
        self.clear()

    def clear(self) -> None:
        self.flat: list[bytes | None] = []
        self.ops = bytearray()
        self.index: list[int] = []
        self.target = array("H")
        self.second: list[int] = []
        self.unchanged: dict[int, int] = {}
        self.runs: list[tuple[int, int, int, int]] = []
        self.commit = 0


def count_ops(ops: bytes, partition: int) -> dict[str, int]:
    """Changes by operation, of one byte a row. A truncate goes everywhere: partition 0 alone counts it."""
    return {
        chr(op): number
        for op in (CREATE, UPDATE, DELETE, READ, TRUNCATE)
        if (number := ops.count(op)) and (op != TRUNCATE or partition == 0)
    }


def texts(values: pa.Array) -> pa.Array:
    """Values as written (binary), as a text column."""
    try:
        return values.cast(pa.utf8())
    except pa.ArrowInvalid:
        # A source in SQL_ASCII lets any bytes in. They are shown, not dropped.
        return pa.array([text(value) for value in values.to_pylist()], pa.utf8())


def text(value: bytes | None) -> str | None:
    """One value as written; what is no UTF-8 is shown with backslashes."""
    return None if value is None else value.decode(errors="backslashreplace")
