"""Many changes of one resource → the last change of each source key. Pure.

A sink that keeps the present state need not look at what a batch itself has overtaken. What
wins is decided by identity, never by arrival (rule 2). A held change changes nothing but is
told of; a truncate deletes all that is older.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.columns import WRITTEN, column
from datarail.errors import Terminal
from sinks.texts import fixed_texts

#: An identity as 32 hex digits that sort as it does, with room for one bit:
#: epoch 16 | position 64 | index 44 | part 2 | good 1 | 0. A held change is a little older than
#: the same change mended.
VERSION_WIDTH = 32
_DELETE, _TRUNCATE = ord("d"), ord("t")
_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), dtype="S2")
#: No key whose newest change is held.
NO_HELD = pl.DataFrame(schema={"_key": pl.String, "_version": pl.String, "_commit": pl.Datetime("us", "UTC")})
Places = npt.NDArray[np.integer[Any]]
_SPENT = ["_epoch", "_pos", "_idx", "_part", "_unchanged", "_held"]
_META = ("_op", "_epoch", "_pos", "_idx", "_part", "_commit", "_unchanged", "_key", "_held")


@dataclass(slots=True)
class Latest:
    """What a batch comes to, for one resource.

    good: one row a source key, its last change that passed: _key, _version, _op, _commit and the
      items asked for. Sorted by _key. After a truncate the keys older than it are among the
      deletes, at its version.
    held: one row a source key whose last change is held and newer than its good one here:
      _key, _version, _commit.
    overtaken: the good rows that others of the same key replaced: as `good`.
    truncated: version and commit (µs) of the last truncate.
    left_out: for the keys whose last good change left out items asked for: key → those items.
    unchanged: of those, the ones that no earlier row of the batch has: their values here are null;
      the former ones stand.
    """

    good: pl.DataFrame
    held: pl.DataFrame
    overtaken: pl.DataFrame
    truncated: tuple[str, int] | None
    left_out: dict[str, list[str]]
    unchanged: dict[str, list[str]]

    def parts(self, rows: int) -> Iterator[Latest]:
        """The good changes, so many source keys at a time, each part with what it has overtaken."""
        if self.good.height <= rows:
            yield self
            return
        for start in range(0, self.good.height, rows):
            good, overtaken = self.good.slice(start, rows), self.overtaken
            if overtaken.height:
                keys = overtaken["_key"]
                overtaken = overtaken.filter((keys >= good["_key"][0]) & (keys <= good["_key"][-1]))
            yield Latest(good, NO_HELD, overtaken, None, self.left_out, self.unchanged)


Cars = tuple[Sequence[pa.RecordBatch], Mapping[str, pa.DataType]]


def latest(resources: Sequence[Cars]) -> list[Latest]:
    """Reduce clean cars: of each resource those that arrived, in order, and the items to keep, typed.

    Sorted at once for all: with many resources each has few rows, and beginning costs more than they.
    """
    if not resources:
        return []
    joined = [_Joined.of(cars, items) for cars, items in resources]
    found = []
    for each, (cars, items), (last, before, held) in zip(joined, resources, _last(joined), strict=True):
        good, overtaken = each.rows(last), each.rows(before)
        left_out: dict[str, list[str]] = {}
        unchanged: dict[str, list[str]] = {}
        if each.any_unchanged:
            good, left_out, unchanged = _fill(good, overtaken, _left_out(cars, items))
        waiting = each.frame.select(NO_HELD.columns)[held] if len(held) else NO_HELD
        found.append(Latest(good, waiting, overtaken, each.truncated, left_out, unchanged))
    return found


@dataclass(slots=True)
class _Joined:
    """All changes of one resource but truncates: _key, _version, _op, _commit, items. held: whether one is
    held (a delete never is)."""

    frame: pl.DataFrame
    held: npt.NDArray[np.bool_]
    truncated: tuple[str, int] | None
    any_unchanged: bool

    @classmethod
    def of(cls, cars: Sequence[pa.RecordBatch], items: Mapping[str, pa.DataType]) -> _Joined:
        table = _joined(cars, items)
        operations = table.column("_op").to_numpy()
        held = table.column("_held").to_numpy().astype(bool)
        any_unchanged = table.column("_unchanged").null_count < table.num_rows
        table = table.append_column("_version", version_texts(table)).drop_columns(_SPENT)
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        truncated = None
        if (operations == _TRUNCATE).any():
            frame, truncated = _after_truncate(frame.with_columns(pl.Series("_held", held)))
            operations, held = frame["_op"].to_numpy(), frame["_held"].to_numpy()
            frame = frame.drop("_held")
        return cls(frame, held & (operations != _DELETE), truncated, any_unchanged)

    def rows(self, places: Places) -> pl.DataFrame:
        return self.frame[places] if len(places) else self.frame.clear()


def version_texts(table: pa.Table) -> pa.Array:
    """The version of each row as text, from its identity and whether it is held."""
    epoch, position, index, part = (
        table.column(name).to_numpy().astype(np.uint64) for name in ("_epoch", "_pos", "_idx", "_part")
    )
    good = ~table.column("_held").to_numpy().astype(bool)
    if len(epoch) and (int(epoch.max()) >> 16 or int(index.max()) >> 44):
        raise Terminal("an epoch above 65535 or a row number above 2^44 does not fit in a version")
    words = np.empty((len(epoch), 2), dtype=">u8")
    words[:, 0] = (epoch << np.uint64(48)) | (position >> np.uint64(16))
    words[:, 1] = (
        ((position & np.uint64(0xFFFF)) << np.uint64(48))
        | (index << np.uint64(4))
        | (part << np.uint64(2))
        | (good.astype(np.uint64) << np.uint64(1))
    )
    digits = _HEX[words.view(np.uint8).reshape(len(epoch), 16)]
    return fixed_texts(digits.tobytes(), len(epoch), VERSION_WIDTH)


def _joined(cars: Sequence[pa.RecordBatch], items: Mapping[str, pa.DataType]) -> pa.Table:
    # Trains made before and after a contract changed differ in columns and types.
    wanted = [*_META, *(column(item) for item in items)]
    if all(car.schema.equals(cars[0].schema) for car in cars[1:]) and _fits(cars[0].schema, items):
        return pa.Table.from_batches([car.select(wanted) for car in cars])
    tables = []
    for car in cars:
        arrays = [car.column(name) for name in _META]
        for item, kind in items.items():
            at = car.schema.get_field_index(column(item))
            arrays.append(pa.nulls(car.num_rows, kind) if at < 0 else car.column(at).cast(kind, safe=False))
        tables.append(pa.Table.from_arrays(arrays, names=wanted))
    return pa.concat_tables(tables)


def _fits(schema: pa.Schema, items: Mapping[str, pa.DataType]) -> bool:
    at = {item: schema.get_field_index(column(item)) for item in items}
    return all(index >= 0 and schema.field(index).type == items[item] for item, index in at.items())


def _after_truncate(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, int]]:
    # What the batch created before the truncate may already be in a store (written before a
    # crash), so it is deleted by name and not merely left out.
    last = frame.filter(pl.col("_op") == _TRUNCATE).sort("_version").tail(1)
    version, commit = last["_version"][0], last["_commit"][0]
    rest = frame.filter(pl.col("_op") != _TRUNCATE)
    older = rest.filter(pl.col("_version") < version)
    deletes = older.with_columns(
        pl.lit(_DELETE, pl.UInt8).alias("_op"),
        pl.lit(version).alias("_version"),
        pl.lit(commit).cast(frame.schema["_commit"]).alias("_commit"),
    )
    return pl.concat([rest, deletes]), (version, last["_commit"].cast(pl.Int64)[0])


def _last(joined: Sequence[_Joined]) -> Iterator[tuple[Places, Places, Places]]:
    """Of each resource, sorted by key: the places of the good rows that are the last of their key, of
    those that are not, and of the held ones newer than both."""
    # Only the order is made here; each row's values are then moved once. Stable: of equal versions the
    # one that arrived later wins (the same change cleaned anew), and a good one over a held one.
    sizes = [each.frame.height for each in joined]
    group = np.repeat(np.arange(len(joined), dtype=np.uint32), sizes)
    held = np.concatenate([each.held for each in joined])
    by = {
        "group": pl.Series(group),
        "key": pl.concat([each.frame["_key"] for each in joined]),
        "version": pl.concat([each.frame["_version"] for each in joined]),
        "good": pl.Series(~held),
    }
    wanted = [
        name for name, needed in zip(by, (len(joined) > 1, True, True, held.any()), strict=True) if needed
    ]
    frame = pl.DataFrame(by)
    order = frame.select(pl.arg_sort_by(wanted, maintain_order=True)).to_series().to_numpy()
    newest = order[:0]
    if held.any():
        holds = held[order]
        newest = order[holds & _is_last(by["key"][order], group[order])]
        order = order[~holds]
    last = _is_last(by["key"][order], group[order])
    found = [order[last], order[~last], newest]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    cuts = [np.searchsorted(group[places], np.arange(len(joined) + 1)) for places in found]
    for at, start in enumerate(starts[:-1]):
        good, overtaken, waiting = (
            places[cut[at] : cut[at + 1]] - start for places, cut in zip(found, cuts, strict=True)
        )
        yield good, overtaken, waiting


def _is_last(keys: pl.Series, groups: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Of sorted keys, whether each is the last of its like."""
    last = keys.ne_missing(keys.shift(-1)).to_numpy(writable=True)
    last[:-1] |= groups[1:] != groups[:-1]
    last[-1:] = True
    return last


def _left_out(cars: Sequence[pa.RecordBatch], items: Mapping[str, pa.DataType]) -> dict[str, list[str]]:
    """version → items asked for that the row says are unchanged (TOAST); most cars have none."""
    found: dict[str, list[str]] = {}
    for car in cars:
        bitmaps = car.column("_unchanged")
        if bitmaps.null_count == car.num_rows:
            continue
        order = [name[len(WRITTEN) :] for name in car.schema.names if name.startswith(WRITTEN)]
        versions = version_texts(pa.Table.from_batches([car.select([*_META])])).to_pylist()
        for version, bitmap in zip(versions, bitmaps.to_pylist(), strict=True):
            names = [item for at, item in enumerate(order) if item in items and bit(bitmap, at)]
            if names:
                found[version] = names
    return found


def bit(bitmap: bytes | None, at: int) -> bool:
    """Whether item number `at` is marked in an _unchanged bitmap."""
    return bitmap is not None and at // 8 < len(bitmap) and bool(bitmap[at // 8] >> at % 8 & 1)


def _fill(
    good: pl.DataFrame, overtaken: pl.DataFrame, by_version: dict[str, list[str]]
) -> tuple[pl.DataFrame, dict[str, list[str]], dict[str, list[str]]]:
    """The good rows with what their last change left out and an earlier one of the batch had sent;
    left_out and unchanged of `Latest`."""
    asking = pl.DataFrame(
        {"_row": np.arange(good.height), "_key": good["_key"], "_version": good["_version"]}
    )
    asking = asking.filter(asking["_version"].is_in(list(by_version)) & (good["_op"] != _DELETE))
    left_out = {key: by_version[version] for _, key, version in asking.iter_rows()}
    unchanged = {key: list(items) for key, items in left_out.items()}
    for item in {item: None for items in left_out.values() for item in items}:
        silent = [version for version, items in by_version.items() if item in items]
        told = overtaken.filter(~overtaken["_version"].is_in(silent))
        value = pl.when(pl.col("_op") != _DELETE).then(pl.col(column(item)))
        told = told.select("_key", former=value).unique("_key", keep="last", maintain_order=True)
        mended = asking.filter(asking["_version"].is_in(silent)).join(told, on="_key")
        good = good.with_columns(placed(good[column(item)], mended["_row"].to_numpy(), mended["former"]))
        for key in mended["_key"]:
            unchanged[key].remove(item)
    return good, left_out, {key: items for key, items in unchanged.items() if items}


def placed(values: pl.Series, rows: Sequence[int] | Places, others: pl.Series) -> pl.Series:
    """A column with other values at some rows, nulls included."""
    at = np.arange(len(values))
    at[np.asarray(rows, dtype=np.int64)] = len(values) + np.arange(len(others))
    return pl.concat([values, others])[at]
