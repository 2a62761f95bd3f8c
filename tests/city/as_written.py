"""Rows of the sample city as raw cars, as a connector would capture them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa

from datarail.columns import raw_schema
from datarail.position import SNAPSHOT_INDEX, Lane


def raw_car(frame: pl.DataFrame) -> pa.RecordBatch:
    """Rows read in a snapshot. PostgreSQL writes booleans as t and f."""
    written = frame.with_columns(
        pl.when(pl.col(name)).then(pl.lit("t")).otherwise(pl.lit("f")).alias(name)
        for name, kind in frame.schema.items()
        if kind == pl.Boolean
    ).with_columns(pl.all().cast(pl.String))
    rows = frame.height
    same = {"_op": ord("r"), "_lane": int(Lane.SNAPSHOT), "_epoch": 1, "_pos": 1, "_part": 0, "_xid": 1}
    schema = raw_schema(frame.columns)
    columns: list[pa.Array] = []
    for field in schema:
        if field.name in same:
            columns.append(pa.array([same[field.name]] * rows, field.type))
        elif field.name == "_seq":
            columns.append(pa.array(range(1, rows + 1), field.type))
        elif field.name == "_idx":
            columns.append(pa.array(range(SNAPSHOT_INDEX, SNAPSHOT_INDEX + rows), field.type))
        elif field.name == "_commit":
            columns.append(pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, field.type))
        elif field.name == "_unchanged":
            columns.append(pa.nulls(rows, field.type))
        else:
            columns.append(written[field.name.removeprefix("_w_")].to_arrow().cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
