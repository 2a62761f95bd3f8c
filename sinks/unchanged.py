"""What changes left out because it had not changed (TOAST), from what came before them. Pure.

From earlier rows of the batch, held ones too; then from what held changes before the batch have told.
What is left then stands in the contributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.columns import WRITTEN, column
from datarail.small_car import typed
from sinks.held import is_newer, told_by_held
from sinks.version import VERSION_COLUMNS, version_texts

_DELETE = ord("d")
ByName = dict[str, list[str]]
#: By source key and item the version of the row that told the value.
Tellers = dict[str, dict[str, str]]


def with_left_out(
    untold: Mapping[str, Sequence[str]], cars: Sequence[pa.RecordBatch], items: Mapping[str, pa.DataType]
) -> ByName:
    """version → items asked for that the row says are unchanged, and those untold else."""
    found = {version: list(names) for version, names in untold.items()}
    for car in cars:
        bitmaps = car.column("_unchanged")
        if bitmaps.null_count == car.num_rows:
            continue
        order = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
        versions = version_texts(pa.Table.from_batches([car.select(VERSION_COLUMNS)])).to_pylist()
        for version, bitmap in zip(versions, bitmaps.to_pylist(), strict=True):
            names = [item for at, item in enumerate(order) if item in items and _bit(bitmap, at)]
            if names:
                found[version] = list(dict.fromkeys([*found.get(version, ()), *names]))
    return found


def _bit(bitmap: bytes | None, at: int) -> bool:
    return bitmap is not None and at // 8 < len(bitmap) and bool(bitmap[at // 8] >> at % 8 & 1)


def filled(
    good: pl.DataFrame, earlier: pl.DataFrame, untold: Mapping[str, Sequence[str]]
) -> tuple[pl.DataFrame, ByName, ByName, Tellers]:
    """The last good rows (a row a key) with what they left out and an earlier one of the batch told; by
    key the items left out, those of them that no earlier row told, and who told the others. untold: by
    version."""
    asking = pl.DataFrame(
        {"_row": np.arange(good.height), "_key": good["_key"], "_last": good["_version"]}
    ).filter(good["_version"].is_in(list(untold)) & (good["_op"] != _DELETE))
    left_out = {key: list(untold[version]) for _, key, version in asking.iter_rows()}
    unchanged = {key: list(items) for key, items in left_out.items()}
    tellers: Tellers = {}
    if not left_out:
        return good, left_out, unchanged, tellers
    earlier = earlier.join(asking, on="_key").filter(pl.col("_version") < pl.col("_last")).sort("_version")
    for item in {item: None for items in left_out.values() for item in items}:
        silent = [version for version, items in untold.items() if item in items]
        asked = earlier["_key"].is_in([key for key, items in left_out.items() if item in items])
        told = earlier.filter(asked & ~earlier["_version"].is_in(silent))
        told = told.unique("_key", keep="last", maintain_order=True)
        values = told.select(pl.when(pl.col("_op") != _DELETE).then(pl.col(column(item)))).to_series()
        good = good.with_columns(placed(good[column(item)], told["_row"].to_numpy(), values))
        for key, version in zip(told["_key"], told["_version"], strict=True):
            unchanged[key].remove(item)
            tellers.setdefault(key, {})[item] = version
    return good, left_out, {key: items for key, items in unchanged.items() if items}, tellers


def _with_told_late(
    unchanged: ByName, tellers: Tellers, keys: pl.Series, known: Sequence[bytes | None]
) -> ByName:
    """What is unchanged, and of what an earlier row of the batch told that which is known better: the row
    came late."""
    found = dict(unchanged)
    for key, old in zip(keys, known, strict=True) if tellers else ():
        late = [item for item, version in tellers.get(key, {}).items() if is_newer(old, item, version)]
        if late:
            found[key] = [*found.get(key, ()), *late]
    return found


def with_remembered(
    good: pl.DataFrame,
    unchanged: ByName,
    tellers: Tellers,
    known: Sequence[bytes | None],
    items: Mapping[str, pa.DataType],
) -> tuple[pl.DataFrame, ByName]:
    """The good rows with what held changes of earlier batches have told; by key what is unchanged still,
    told by a late row included. known: by row the contribution of its source key."""
    unchanged = _with_told_late(unchanged, tellers, good["_key"], known)
    left = dict(unchanged)
    rows: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    for row, (key, old) in enumerate(zip(good["_key"], known, strict=True) if unchanged else ()):
        if key in unchanged and (told := told_by_held(old, good["_version"][row])):
            left[key] = [item for item in unchanged[key] if item not in told]
            for item in unchanged[key]:
                if item in told:
                    rows.setdefault(item, []).append(row)
                    values.setdefault(item, []).append(told[item])
    filling = [
        placed(good[column(item)], rows[item], _series(items[item], good.schema[column(item)], some))
        for item, some in values.items()
    ]
    return (good.with_columns(filling), left) if filling else (good, unchanged)


def _series(kind: pa.DataType, dtype: pl.DataType, values: Sequence[Any]) -> pl.Series:
    try:
        array = typed(kind, values)
    except (pa.ArrowException, ValueError, TypeError, ArithmeticError):  # the contract's type was another
        texts = pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)
        return texts.cast(dtype, strict=False)
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series


def placed(
    values: pl.Series, rows: Sequence[int] | npt.NDArray[np.integer[Any]], others: pl.Series
) -> pl.Series:
    """A column with other values at some rows, nulls included."""
    at = np.arange(len(values))
    at[np.asarray(rows, dtype=np.int64)] = len(values) + np.arange(len(others))
    return pl.concat([values, others])[at]
