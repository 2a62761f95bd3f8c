"""One JSON record per clean change, in Debezium's envelope, for subscribers of the clean topics.

    {"before": null, "after": {item: cleaned value, ...},
     "source": {"connector": "datarail", "name": station, "resource": ..., "lane": ...,
                "epoch": ..., "pos": ..., "lsn": ..., "idx": ..., "part": ..., "xid": ...,
                "ts_ms": commit time, "snapshot": "true" or "false", "unchanged": [items]},
     "op": "c" | "u" | "d" | "r" | "t", "ts_ms": when it was cleaned}

Record key: the source key (datarail.keys) as UTF-8; none for a truncate. A delete has the key
items in `before` and null in `after`. Items that the source did not send because they did not
change are absent from `after` and listed in source.unchanged. lsn repeats pos under the name
Debezium's readers know. Decimals are strings, days and times ISO 8601, times in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import polars as pl

from datarail.columns import ADDED, column
from datarail.contract import Resource
from datarail.iso_texts import dates, moments
from datarail.position import Lane
from datarail.small_car import ITEMS, OP, UNCHANGED, Row, Shape, SmallCar
from streams.batches import Pairs, Records

_OPS = pl.lit(pl.Series([chr(code) for code in range(128)]))
_DELETE, _TRUNCATE = ord("d"), ord("t")
#: From so many rows a number that is the same in all of them is looked for, and written once.
_MANY = 2048
#: Sets of items left out whose expressions are kept: a source leaves out the same few.
_MOST_SETS = 64

_NULL = pl.lit("null")
#: What Polars' json_encode takes longer for; and it would write +00:00 for UTC, of which Flink knows only Z.
_SPELLED = {"date": dates, "timestamp": moments}
_META = ["_op", "_lane", "_epoch", "_pos", "_idx", "_part", "_xid", "_commit"]


class Envelope:
    """Makes the records of one resource; what does not change from car to car is made once."""

    def __init__(self, station: str, name: str, resource: Resource) -> None:
        self._resource = resource
        about = {"connector": "datarail", "name": station, "resource": name}
        self._about = {lane: orjson.dumps({**about, "lane": lane.label}).decode()[:-1] for lane in Lane}
        self._spelled = [
            (item, _SPELLED[spec.type]) for item, spec in resource.items.items() if spec.type in _SPELLED
        ]
        self._objects: dict[tuple[str, ...], pl.Expr] = {}
        self._key = _object(resource.key) if resource.key else _NULL
        self._taken = [*_META, *(column(item) for item in resource.key)]
        self._sources = {lane: self._source(lane, {}) for lane in Lane}

    def records(
        self, frame: pl.DataFrame, at: int, unchanged: Sequence[tuple[str, ...]] | None = None
    ) -> Records:
        """Records of the rows of a cleaned car (Cleaned.frame).

        at: milliseconds since 1970, for ts_ms. unchanged: per row the items that were not sent;
        None when there are none in the whole car. All rows are of one lane.
        """
        keys = frame.get_column("_key")
        if not frame.height:
            return Records(keys, keys)
        frame = frame.clone()
        for item, spelled in self._spelled:
            place = frame.get_column_index(column(item))
            frame.replace_column(place, spelled(frame.to_series(place)).alias(column(item)))
        ops = frame.get_column("_op").to_numpy()
        gone = (ops == _DELETE) | (ops == _TRUNCATE)
        if not gone.any():
            return Records(keys, self._changed(frame, at, unchanged))
        if (ops == _TRUNCATE).any():
            keys = frame.select(pl.when(pl.col("_op") != _TRUNCATE).then(pl.col("_key"))).to_series()
        if gone.all():
            return Records(keys, self._gone(frame, at))
        # One pass over all rows; the few that took something away are written anew.
        away = np.flatnonzero(gone)
        order = np.arange(frame.height)
        order[away] = frame.height + np.arange(len(away))
        values = self._changed(frame, at, unchanged).append(self._gone(frame[self._taken][away], at))
        return Records(keys, values[order])

    def few(self, car: SmallCar, at: int) -> Pairs:
        """The same of a small clean car without truncates (streams.few)."""
        return Pairs(
            [row[car.shape.key].encode() for row in car.rows],
            [self._one(row, car.shape, at) for row in car.rows],
        )

    def _one(self, row: Row, columns: Shape, at: int) -> bytes:
        unchanged: list[str] = []
        if row[OP] == _DELETE:
            # A train from before a contract changed its key may lack an item of it.
            key = [item for item in self._resource.key if item in columns.values]
            before = {item: row[columns.values[item]] for item in key} or None
            text = b'{"before":' + orjson.dumps(before) + b',"after":null'
        else:
            after = dict(zip(columns.values, row[columns.key + len(ADDED) :], strict=True))
            if row[UNCHANGED] is not None:
                unchanged = columns.unchanged(row[UNCHANGED])
                after = {item: value for item, value in after.items() if item not in unchanged}
            text = b'{"before":null,"after":' + orjson.dumps(after)
        _, lane, _, epoch, pos, idx, part, xid, commit, _ = row[:ITEMS]
        snapshot = "true" if lane == Lane.SNAPSHOT else "false"
        about = (
            f',"source":{self._about[lane]},"epoch":{epoch},"pos":{pos},"lsn":{pos},"idx":{idx},"part":{part},'
            f'"xid":{xid},"ts_ms":{commit // 1000},"snapshot":"{snapshot}","unchanged":'
        )
        tail = f'}},"op":"{chr(row[OP])}","ts_ms":{at}}}'
        return text + about.encode() + orjson.dumps(unchanged) + tail.encode()

    def _changed(
        self, frame: pl.DataFrame, at: int, unchanged: Sequence[tuple[str, ...]] | None
    ) -> pl.Series:
        if unchanged is None:
            return self._texts(frame, at, ())
        # Few updates leave out few items: one pass for each set of them that occurs.
        sets: dict[tuple[str, ...], list[int]] = {}
        for row, items in enumerate(unchanged):
            sets.setdefault(items, []).append(row)
        values = pl.concat(self._texts(frame[rows], at, items) for items, rows in sets.items())
        return values.gather(np.argsort(np.concatenate(list(sets.values()))))

    def _texts(self, frame: pl.DataFrame, at: int, unchanged: tuple[str, ...]) -> pl.Series:
        whole = self._objects.get(unchanged)
        if whole is None:
            if len(self._objects) >= _MOST_SETS:
                self._objects.clear()
            whole = _object([item for item in self._resource.items if item not in unchanged])
            self._objects[unchanged] = whole
        return self._written(frame, at, [pl.lit('{"before":null,"after":'), whole], unchanged)

    def _gone(self, frame: pl.DataFrame, at: int) -> pl.Series:
        key = self._key
        if self._resource.key and (frame.get_column("_op") == _TRUNCATE).any():
            key = pl.when(pl.col("_op") == _DELETE).then(key).otherwise(_NULL)
        return self._written(frame, at, [pl.lit('{"before":'), key, pl.lit(',"after":null')], ())

    def _written(
        self, frame: pl.DataFrame, at: int, rows: list[pl.Expr], unchanged: tuple[str, ...]
    ) -> pl.Series:
        lane = Lane(frame.item(0, "_lane"))
        source = self._sources[lane]
        if frame.height >= _MANY:
            source = self._source(lane, _constants(frame))
        tail = ',"unchanged":' + orjson.dumps(unchanged).decode() + '},"op":"'
        ops = frame.get_column("_op")
        op = pl.lit(chr(ops.item(0))) if ops.min() == ops.max() else _OPS.gather(pl.col("_op"))
        texts = pl.concat_str([*rows, *source, pl.lit(tail), op, pl.lit(f'","ts_ms":{at}}}')])
        return frame.select(texts.alias("value")).to_series()

    def _source(self, lane: Lane, constant: dict[str, str]) -> list[pl.Expr]:
        """The source part up to `unchanged`. constant: columns with one value, as text."""

        def number(name: str) -> pl.Expr:
            return pl.lit(constant[name]) if name in constant else pl.col(name).cast(pl.String)

        snapshot = "true" if lane == Lane.SNAPSHOT else "false"
        return [
            pl.lit(',"source":' + self._about[lane] + ',"epoch":'),
            number("_epoch"),
            pl.lit(',"pos":'),
            number("_pos"),
            pl.lit(',"lsn":'),
            number("_pos"),
            pl.lit(',"idx":'),
            number("_idx"),
            pl.lit(',"part":'),
            number("_part"),
            pl.lit(',"xid":'),
            number("_xid"),
            pl.lit(',"ts_ms":'),
            (pl.col("_commit").cast(pl.Int64) // 1000).cast(pl.String),
            pl.lit(f',"snapshot":"{snapshot}"'),
        ]


def _constants(frame: pl.DataFrame) -> dict[str, str]:
    found = {}
    for name in ("_epoch", "_pos", "_idx", "_part", "_xid"):
        values = frame.get_column(name).to_numpy()
        if (values == values[0]).all():
            found[name] = str(values[0])
    return found


def _object(items: Sequence[str]) -> pl.Expr:
    if not items:
        return pl.lit("{}")
    return pl.struct(pl.col(column(item)).alias(item) for item in items).struct.json_encode()
