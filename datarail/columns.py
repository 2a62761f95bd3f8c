"""The columns of a car and what they are called; what they hold is said in datarail.train."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

WRITTEN = "_w_"

META: list[tuple[str, pa.DataType]] = [
    ("_op", pa.uint8()),
    ("_lane", pa.uint8()),
    ("_seq", pa.uint64()),
    ("_epoch", pa.uint32()),
    ("_pos", pa.uint64()),
    ("_idx", pa.uint64()),
    ("_part", pa.uint8()),
    ("_xid", pa.uint64()),
    ("_commit", pa.timestamp("us", "UTC")),
    ("_unchanged", pa.binary()),
]
#: What cleaning adds after the as-written items, before the cleaned ones.
ADDED: list[tuple[str, pa.DataType]] = [("_key", pa.utf8()), ("_held", pa.bool_()), ("_findings", pa.utf8())]


def column(item: str) -> str:
    """The column of an item's cleaned value; injective, never a meta column's name."""
    return "_" + item if item.startswith("_") else item


def item_of(column_name: str) -> str:
    """The inverse of `column`."""
    return column_name[1:] if column_name.startswith("__") else column_name


def raw_schema(items: Sequence[str]) -> pa.Schema:
    """The schema of a raw car whose resource has these items, in the source's order."""
    return pa.schema([*META, *((WRITTEN + item, pa.utf8()) for item in items)])
