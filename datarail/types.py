"""The types an item can be cleaned to, and what each is in Arrow and ClickHouse."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

ItemType = Literal["string", "integer", "decimal", "float", "boolean", "date", "timestamp", "json", "bytes"]

#: What ClickHouse's Date32 and DateTime64 hold; a value outside is a finding, never stored.
FIRST_YEAR, LAST_YEAR = 1900, 2299


def arrow_type(kind: ItemType, precision: int = 38, scale: int = 6) -> pa.DataType:
    """string, json, bytes (as \\x hex text) are text; timestamps are UTC microseconds."""
    match kind:
        case "integer":
            return pa.int64()
        case "decimal":
            return pa.decimal128(precision, scale)
        case "float":
            return pa.float64()
        case "boolean":
            return pa.bool_()
        case "date":
            return pa.date32()
        case "timestamp":
            return pa.timestamp("us", "UTC")
        case _:
            return pa.utf8()


def clickhouse_type(kind: ItemType, precision: int = 38, scale: int = 6) -> str:
    """The ClickHouse column of a cleaned item."""
    match kind:
        case "integer":
            name = "Int64"
        case "decimal":
            name = f"Decimal({precision}, {scale})"
        case "float":
            name = "Float64"
        case "boolean":
            name = "Bool"
        case "date":
            name = "Date32"
        case "timestamp":
            name = "DateTime64(6, 'UTC')"
        case _:
            name = "String"
    return f"Nullable({name})"
