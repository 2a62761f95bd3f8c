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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from datarail.contract import Resource
from datarail.position import Lane
from datarail.train import column

_OPS = pl.lit(pl.Series([chr(code) for code in range(128)]))
_DELETE, _TRUNCATE = ord("d"), ord("t")


class Records(NamedTuple):
    """Kafka keys and values, row for row."""

    keys: list[bytes | None]
    values: list[bytes]


def envelope(
    frame: pl.DataFrame,
    station: str,
    name: str,
    resource: Resource,
    at: int,
    unchanged: Sequence[tuple[str, ...]] | None = None,
) -> Records:
    """Records of the rows of a cleaned car (Cleaned.frame, held rows already left out).

    at: milliseconds since 1970, for ts_ms. unchanged: per row the items that were not sent; None
    when there are none in the whole car. All rows are of one lane.
    """
    if not frame.height:
        return Records([], [])
    texts = _values(frame, station, name, resource, at, unchanged)
    keys: list[bytes | None] = frame["_key"].cast(pl.Binary).to_list()
    ops = frame["_op"].to_numpy()
    for row in np.flatnonzero(ops == _TRUNCATE).tolist():
        keys[row] = None
    return Records(keys, texts.cast(pl.Binary).to_list())


def _values(
    frame: pl.DataFrame,
    station: str,
    name: str,
    resource: Resource,
    at: int,
    unchanged: Sequence[tuple[str, ...]] | None,
) -> pl.Series:
    if unchanged is None:
        return frame.select(_expression(frame, station, name, resource, at, ())).to_series()
    # Few updates leave out few items: one pass for each set of them that occurs.
    sets: dict[tuple[str, ...], list[int]] = {}
    for row, items in enumerate(unchanged):
        sets.setdefault(items, []).append(row)
    parts, order = [], []
    for items, rows in sets.items():
        part = frame[rows]
        parts.append(part.select(_expression(part, station, name, resource, at, items)).to_series())
        order += rows
    return pl.concat(parts).gather(np.argsort(np.array(order)))


def _expression(
    frame: pl.DataFrame,
    station: str,
    name: str,
    resource: Resource,
    at: int,
    unchanged: tuple[str, ...],
) -> pl.Expr:
    ops = frame["_op"].to_numpy()
    whole = _object(resource, [item for item in resource.items if item not in unchanged])
    null = pl.lit("null")
    gone = (ops == _DELETE) | (ops == _TRUNCATE)
    if not gone.any():
        rows: list[pl.Expr] = [pl.lit('{"before":null,"after":'), whole]
    else:
        op = pl.col("_op")
        key = (
            pl.when(op == _DELETE).then(_object(resource, resource.key)).otherwise(null)
            if resource.key
            else null
        )
        after = pl.when((op == _DELETE) | (op == _TRUNCATE)).then(null).otherwise(whole)
        rows = [pl.lit('{"before":'), key, pl.lit(',"after":'), after]
    lane = Lane(int(frame["_lane"][0]))
    fixed = {"connector": "datarail", "name": station, "resource": name, "lane": lane.label}
    ending = {"snapshot": "true" if lane == Lane.SNAPSHOT else "false"}
    return pl.concat_str(
        *rows,
        pl.lit(',"source":' + orjson.dumps(fixed).decode()[:-1] + ',"epoch":'),
        _number(frame, "_epoch"),
        pl.lit(',"pos":'),
        _number(frame, "_pos"),
        pl.lit(',"lsn":'),
        _number(frame, "_pos"),
        pl.lit(',"idx":'),
        _number(frame, "_idx"),
        pl.lit(',"part":'),
        _number(frame, "_part"),
        pl.lit(',"xid":'),
        _number(frame, "_xid"),
        pl.lit(',"ts_ms":'),
        (pl.col("_commit").cast(pl.Int64) // 1000).cast(pl.String),
        pl.lit("," + orjson.dumps(ending).decode()[1:-1]),
        pl.lit(',"unchanged":' + orjson.dumps(unchanged).decode() + '},"op":"'),
        _op(ops),
        pl.lit(f'","ts_ms":{at}}}'),
    ).alias("value")


def _object(resource: Resource, items: Sequence[str]) -> pl.Expr:
    if not items:
        return pl.lit("{}")
    return pl.struct(_field(resource, item) for item in items).struct.json_encode()


def _field(resource: Resource, item: str) -> pl.Expr:
    value = pl.col(column(item))
    if resource.items[item].type == "timestamp":
        # Polars would write +00:00; Flink and others know UTC only as Z.
        value = value.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    return value.alias(item)


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    # Most of these are the same for a whole train; then they are written once.
    values = frame[name].to_numpy()
    if (values == values[0]).all():
        return pl.lit(str(values[0]))
    return pl.col(name).cast(pl.String)


def _op(ops: npt.NDArray[np.uint8]) -> pl.Expr:
    if (ops == ops[0]).all():
        return pl.lit(chr(int(ops[0])))
    return _OPS.gather(pl.col("_op"))
