"""`only` of a contract: which rows a department agreed to send on, by values as written.

A row that an update takes out of the agreed values leaves downstream as a delete of its key:
dropping the update would keep the old values there for ever. What cannot be told (a delete, a
truncate, an item that was not sent because it did not change) passes.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from datarail.columns import WRITTEN
from datarail.contract import Resource

_CREATE, _UPDATE, _READ, _DELETE = (ord(op) for op in "curd")


def leave_out(car: pa.RecordBatch, resource: Resource) -> tuple[pa.RecordBatch, int]:
    """The car without the rows to be left out, and how many they were."""
    if not resource.only or not car.num_rows:
        return car, 0
    ops = car.column("_op").to_numpy()
    outside = np.zeros(car.num_rows, dtype=bool)
    names = [name for name in car.schema.names if name.startswith(WRITTEN)]
    for item, values in resource.only.items():
        if WRITTEN + item not in names:
            # The column is gone: nobody can say any more what was agreed to.
            outside[:] = True
            continue
        told = pl.Series(car.column(WRITTEN + item))
        differs = ~told.is_in(values).fill_null(False).to_numpy()
        outside |= differs & ~_unchanged(car, names.index(WRITTEN + item))
    dropped = outside & ((ops == _CREATE) | (ops == _READ))
    leaving = outside & (ops == _UPDATE)
    if leaving.any():
        car = _as_deletes(car, leaving, resource)
    if dropped.any():
        car = car.filter(pa.array(~dropped))
    return car, int(dropped.sum())


def _unchanged(car: pa.RecordBatch, index: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    bitmaps = car.column("_unchanged")
    if bitmaps.null_count == car.num_rows:
        return np.zeros(car.num_rows, dtype=bool)
    return np.array(
        [bool(bits) and bits[index // 8] >> index % 8 & 1 == 1 for bits in bitmaps.to_pylist()], dtype=bool
    )


def _as_deletes(
    car: pa.RecordBatch, rows: np.ndarray[tuple[int], np.dtype[np.bool_]], resource: Resource
) -> pa.RecordBatch:
    mask = pa.array(rows)
    columns = []
    for name, values in zip(car.schema.names, car.columns, strict=True):
        if name == "_op":
            columns.append(pc.if_else(mask, pa.scalar(_DELETE, pa.uint8()), values))
        elif name == "_unchanged" or (name.startswith(WRITTEN) and name[len(WRITTEN) :] not in resource.key):
            columns.append(pc.if_else(mask, pa.scalar(None, values.type), values))
        else:
            columns.append(values)
    return pa.RecordBatch.from_arrays(columns, schema=car.schema)
