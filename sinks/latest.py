"""Many changes of one resource → the last change of each source key. Pure.

A sink that keeps the present state need not look at what a batch itself has overtaken. What
wins is decided by identity, never by arrival (rule 2). A held change changes nothing but is
told of; a truncate deletes all that is older.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from datarail.columns import column
from datarail.small_car import spelled
from sinks.held import Held, at_fault, newest
from sinks.unchanged import Tellers, filled, with_left_out
from sinks.version import version_texts

_DELETE, _TRUNCATE = ord("d"), ord("t")
Places = npt.NDArray[np.integer[Any]]
_SPENT = ["_epoch", "_pos", "_idx", "_part", "_unchanged", "_held", "_findings"]
_META = ("_op", "_commit", "_key", *_SPENT)


@dataclass(slots=True)
class Latest:
    """What a batch comes to, for one resource.

    good: one row a source key, its last change that passed: _key, _version, _op, _commit and the
      items asked for. Sorted by _key. After a truncate the keys older than it are among the
      deletes, at its version.
    held: the source keys whose last change is held and newer than their good one here. Sorted by key.
    overtaken: the good rows that others of the same key replaced: as `good`.
    truncated: version and commit (µs) of the last truncate.
    left_out: for the keys whose last good change left out items asked for: key → those items.
    unchanged: of those, the ones that no earlier row of the batch has: their values here are null;
      the former ones stand.
    tellers: of the others, by key and item, the version of the row whose value stands here.
    """

    good: pl.DataFrame
    held: list[Held]
    overtaken: pl.DataFrame
    truncated: tuple[str, int] | None
    left_out: dict[str, list[str]]
    unchanged: dict[str, list[str]]
    tellers: Tellers

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
            yield Latest(good, [], overtaken, None, self.left_out, self.unchanged, self.tellers)


Cars = tuple[Sequence[pa.RecordBatch], Mapping[str, pa.DataType]]


def latest(resources: Sequence[Cars]) -> list[Latest]:
    """Reduce clean cars: of each resource those that arrived, in order, and the items to keep, typed.

    Sorted at once for all: with many resources each has few rows, and beginning costs more than they.
    """
    if not resources:
        return []
    joined = [_Joined.of(cars, items) for cars, items in resources]
    found = []
    for each, (cars, items), places in zip(joined, resources, _last(joined), strict=True):
        good, overtaken = each.rows(places.last), each.rows(places.before)
        untold = each.at_fault
        left_out: dict[str, list[str]] = {}
        unchanged: dict[str, list[str]] = {}
        tellers: Tellers = {}
        if each.any_unchanged:
            untold = with_left_out(untold, cars, items)
            earlier = pl.concat([overtaken, each.rows(places.held_before)])
            good, left_out, unchanged, tellers = filled(good, earlier, untold)
        held = _held(each.rows(places.held), items, untold) if len(places.held) else []
        found.append(Latest(good, held, overtaken, each.truncated, left_out, unchanged, tellers))
    return found


@dataclass(slots=True)
class _Joined:
    """All changes of one resource but truncates: _key, _version, _op, _commit, items. held: whether one is
    held (a delete never is). at_fault: version → items whose values held that change."""

    frame: pl.DataFrame
    held: npt.NDArray[np.bool_]
    at_fault: dict[str, list[str]]
    truncated: tuple[str, int] | None
    any_unchanged: bool

    @classmethod
    def of(cls, cars: Sequence[pa.RecordBatch], items: Mapping[str, pa.DataType]) -> _Joined:
        table = _joined(cars, items)
        operations = table.column("_op").to_numpy()
        held = table.column("_held").to_numpy().astype(bool)
        any_unchanged = table.column("_unchanged").null_count < table.num_rows
        table = table.append_column("_version", version_texts(table))
        faults = _at_fault(table, held, items) if held.any() else {}
        frame = pl.from_arrow(table.drop_columns(_SPENT))
        assert isinstance(frame, pl.DataFrame)
        truncated = None
        if (operations == _TRUNCATE).any():
            frame, truncated = _after_truncate(frame.with_columns(pl.Series("_held", held)))
            operations, held = frame["_op"].to_numpy(), frame["_held"].to_numpy()
            frame = frame.drop("_held")
        return cls(frame, held & (operations != _DELETE), faults, truncated, any_unchanged)

    def rows(self, places: Places) -> pl.DataFrame:
        return self.frame[places] if len(places) else self.frame.clear()


def _at_fault(
    table: pa.Table, held: npt.NDArray[np.bool_], items: Mapping[str, pa.DataType]
) -> dict[str, list[str]]:
    rows = table.select(["_version", "_findings"]).filter(pa.array(held))
    return at_fault(zip(rows["_version"].to_pylist(), rows["_findings"].to_pylist(), strict=True), items)


def _held(
    rows: pl.DataFrame, items: Mapping[str, pa.DataType], untold: Mapping[str, Sequence[str]]
) -> list[Held]:
    """Held rows, sorted by key and version, as what their source keys are to remember."""
    columns = [spelled(kind, rows[column(item)].to_list()) for item, kind in items.items()]
    commits = rows["_commit"].cast(pl.Int64)
    changes = zip(rows["_key"], rows["_version"], commits, *columns, strict=True)
    return newest(
        (
            Held(key, version, commit, dict(zip(items, values, strict=True)))
            for key, version, commit, *values in changes
        ),
        untold,
    )


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


class _Places(NamedTuple):
    """Places of one resource's rows, sorted by key. last: of the good ones that are the last of their key.
    before: of those that are not. held: of the held ones newer than both. held_before: of those that
    are not."""

    last: Places
    before: Places
    held: Places
    held_before: Places


def _last(joined: Sequence[_Joined]) -> Iterator[_Places]:
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
    newer = older = order[:0]
    if held.any():
        holds = held[order]
        rows, overtaken = _overtaken(holds, _is_last(by["key"][order], group[order]))
        newer, older = order[rows[~overtaken]], order[rows[overtaken]]
        order = order[~holds]
    last = _is_last(by["key"][order], group[order])
    found = [order[last], order[~last], newer, older]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    cuts = [np.searchsorted(group[places], np.arange(len(joined) + 1)) for places in found]
    for at, start in enumerate(starts[:-1]):
        yield _Places(
            *(places[cut[at] : cut[at + 1]] - start for places, cut in zip(found, cuts, strict=True))
        )


def _overtaken(
    holds: npt.NDArray[np.bool_], last: npt.NDArray[np.bool_]
) -> tuple[Places, npt.NDArray[np.bool_]]:
    """Of rows sorted by key and version, the held ones, and whether a good one of their key follows."""
    rows, ends = np.flatnonzero(holds), np.flatnonzero(last)
    good = np.cumsum(~holds)
    return rows, good[ends[np.searchsorted(ends, rows)]] > good[rows]


def _is_last(keys: pl.Series, groups: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Of sorted keys, whether each is the last of its like."""
    last = keys.ne_missing(keys.shift(-1)).to_numpy(writable=True)
    last[:-1] |= groups[1:] != groups[:-1]
    last[-1:] = True
    return last
