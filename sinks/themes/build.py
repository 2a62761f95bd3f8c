"""Reduced changes → what Redis and the local stores are told: contributions as text, and theme keys. Pure.

In Redis a contribution is one JSON text with its head at fixed places, so that the script that
guards it need not parse it:

    {"v":"<version, 32 hex>","h":<µs or 0>,"c":<µs>,"p":<partition>,"f":{"name":"张三",...}}
    {"v":"<version>","d":1}    withdrawn; with "f" where the change that moved it away left items out

v: the last change that touched it (sinks.latest); h: the commit of a newer change that is held,
0: none; c: the commit its values are from; p: the partition that it came by; f: values, nulls
left out. Of one withdrawn f has the values that the change did not bring: should it come again after
a crash, they are still to be found where it looks for them.

In the local contributions a source key has `<version><state><theme keys>`: state S (set), H (set,
a newer change is held) or D (deleted); theme keys are a JSON list, one (or null) for each feed.
Where one is null, the contributions follow, each after a tab: Redis does not have them, and a
later change may leave items out. What held changes have brought comes last (sinks.held).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from datarail.columns import column
from datarail.iso_texts import dates
from sinks.held import DELETED, SET, is_there, without_memory
from sinks.texts import escaped, json_floats, needs_escape, quoted, text_of
from sinks.themes.plan import FeedPlan, ResourcePlan
from sinks.version import VERSION_WIDTH

_DELETE = ord("d")
GOLDEN_PREFIX = "golden:{"


@dataclass(slots=True)
class Built:
    """Columns beside a reduced frame's rows, the same height.

    value: what the local contributions have. Per feed: keys: the theme key or null; golden,
    fields, texts: key, field and contribution in Redis (null where there is no theme key).
    """

    value: pl.Series
    keys: list[pl.Series]
    golden: list[pl.Series]
    fields: list[pl.Series]
    texts: list[pl.Series]


def build(frame: pl.DataFrame, plan: ResourcePlan, partition: int) -> Built:
    """The contributions of rows that were created, updated or read; deletes have no keys."""
    made, shapes = _prepared(frame, plan)
    done = (frame.hstack(made) if made else frame).select(_whole(plan, partition, shapes))
    numbers = range(len(plan.feeds))
    value = done["value"]
    homeless = [done[f"key{number}"].null_count() for number in numbers]
    if any(homeless):
        value = done.with_columns(op=frame["_op"]).select(_with_homeless(len(plan.feeds))).to_series()
    return Built(
        value,
        [done[f"key{number}"] for number in numbers],
        [done[f"golden{number}"] for number in numbers],
        [done[f"field{number}"] for number in numbers],
        [done[f"text{number}"] for number in numbers],
    )


def theme_keys(frame: pl.DataFrame, plan: ResourcePlan) -> list[pl.Series]:
    """Per feed, the golden record each row belongs to: datarail.keys.key_text over cleaned values.

    Null (belongs to none) when the row is deleted, or when any part of the key is null or empty.
    """
    made, shapes = _prepared(frame, plan)
    kinds = dict(shapes.keys)
    keys = [_theme_key(feed, kinds).alias(f"key{feed.number}") for feed in plan.feeds]
    done = (frame.hstack(made) if made else frame).select(keys)
    return [done[f"key{feed.number}"] for feed in plan.feeds]


#: How an item of a theme key becomes text and JSON: its type; or "made", when both are there already
#: as columns of their own (values with escapes, floats), or "date", when its text is.
Shape = pl.DataType | str


class Shapes(NamedTuple):
    """What the expressions depend on. keys: the items of theme keys, each with its shape; sparse: items
    that lack values in some row."""

    keys: tuple[tuple[str, Shape], ...]
    sparse: frozenset[str]


def _prepared(frame: pl.DataFrame, plan: ResourcePlan) -> tuple[list[pl.Series], Shapes]:
    """Columns to be put beside the frame's ("text …" and "json …" of items), and how all are written."""
    made: list[pl.Series] = []
    keys: list[tuple[str, Shape]] = []
    for item in _key_items(plan):
        name = column(item)
        values = frame[name]
        kind: Shape = values.dtype
        if kind == pl.String and needs_escape(values):
            made += [values.alias(f"text {name}"), escaped(values).alias(f"json {name}")]
            kind = "made"
        elif kind == pl.Date:
            made.append(dates(values).alias(f"text {name}"))
            kind = "date"
        elif values.dtype.is_float():
            made.append(values.cast(pl.String).alias(f"text {name}"))
            kind = "made"
        keys.append((item, kind))
    floats = (item for item, kind in plan.items.items() if pa.types.is_floating(kind))
    made += [json_floats(frame[column(item)]).alias(f"json {column(item)}") for item in floats]
    return made, Shapes(tuple(keys), _sparse(frame, plan))


@functools.lru_cache(maxsize=1024)
def _key_items(plan: ResourcePlan) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for feed in plan.feeds for item in feed.key))


def _sparse(frame: pl.DataFrame, plan: ResourcePlan) -> frozenset[str]:
    lacking = [item for item in plan.items if frame[column(item)].null_count()]
    if not lacking:
        return frozenset()
    # Deletes have no values, and nobody reads what would be written of them.
    gone = frame[np.flatnonzero(frame["_op"].to_numpy() == _DELETE)]
    return frozenset(
        item for item in lacking if frame[column(item)].null_count() > gone[column(item)].null_count()
    )


def _text(item: str, shape: Shape) -> pl.Expr:
    name = column(item)
    return pl.col(f"text {name}") if isinstance(shape, str) else text_of(name, shape)


def _inside(feed: FeedPlan, plan: ResourcePlan, sparse: frozenset[str]) -> pl.Expr:
    """The fields of a contribution as JSON, without braces; what has no value is left out."""
    parts: list[pl.Expr] = []
    run: list[pl.Expr] = []  # fields that every row has, one after the other: written at once
    for name, item, _ in feed.fields:
        kind = plan.items[item]
        if pa.types.is_floating(kind):
            lone = pl.concat_str(pl.lit(f"{orjson.dumps(name).decode()}:"), f"json {column(item)}")
        else:
            # Polars would write times with +00:00.
            value = (
                text_of(column(item), pl_type(kind)) if pa.types.is_timestamp(kind) else pl.col(column(item))
            )
            if item not in sparse:
                run.append(value.alias(name))
                continue
            lone = pl.when(value.is_not_null()).then(_fields_json([value.alias(name)]))
        parts += [*([_fields_json(run)] if run else []), lone]
        run = []
    if run:
        parts.append(_fields_json(run))
    return pl.concat_str(parts, separator=",", ignore_nulls=True) if parts else pl.lit("")


def _fields_json(fields: Sequence[pl.Expr]) -> pl.Expr:
    return pl.struct(fields).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")


def _escape(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)


def _theme_key(feed: FeedPlan, kinds: Mapping[str, Shape]) -> pl.Expr:
    texts = [_text(item, kinds[item]) for item in feed.key]
    present = pl.col("_op") != _DELETE
    for text in texts:
        present &= text != ""
    if len(texts) == 1:
        return pl.when(present).then(texts[0])
    parts = [
        pl.col(f"json {column(item)}") if kinds[item] == "made" else quoted(text)
        for item, text in zip(feed.key, texts, strict=True)
    ]
    return pl.when(present).then(pl.concat_str(pl.lit("["), pl.concat_str(parts, separator=","), pl.lit("]")))


def _key_json(feed: FeedPlan, kinds: Mapping[str, Shape], key: pl.Expr) -> pl.Expr:
    if len(feed.key) == 1 and kinds[feed.key[0]] == "made":
        return pl.when(key.is_not_null()).then(pl.col(f"json {column(feed.key[0])}"))
    return quoted(_escape(key) if len(feed.key) > 1 else key)


@functools.lru_cache(maxsize=1024)
def _whole(plan: ResourcePlan, partition: int, shapes: Shapes) -> list[pl.Expr]:
    # Putting the expressions together takes as long as running them on a few rows: hence kept.
    kinds = dict(shapes.keys)
    commit = pl.col("_commit").cast(pl.Int64)
    wanted: list[pl.Expr] = []
    keys_json: list[pl.Expr] = []
    for number, feed in enumerate(plan.feeds):
        key = _theme_key(feed, kinds)
        keys_json.append(_key_json(feed, kinds, key).fill_null("null"))
        inside = _inside(feed, plan, shapes.sparse)
        head = (
            pl.lit('{"v":"'),
            "_version",
            pl.lit('","h":0,"c":'),
            commit,
            pl.lit(f',"p":{partition},"f":{{'),
        )
        wanted += [
            key.alias(f"key{number}"),
            pl.concat_str(pl.lit(f"{GOLDEN_PREFIX}{feed.store}/"), key, pl.lit("}")).alias(f"golden{number}"),
            pl.concat_str(pl.lit(f"{feed.source}/"), "_key").alias(f"field{number}"),
            pl.concat_str(*head, inside, pl.lit("}}")).alias(f"text{number}"),
        ]
    state = pl.when(pl.col("_op") == _DELETE).then(pl.lit(DELETED.decode())).otherwise(pl.lit(SET.decode()))
    listed = pl.concat_str(keys_json, separator=",")
    return [*wanted, pl.concat_str("_version", state, pl.lit("["), listed, pl.lit("]")).alias("value")]


def _with_homeless(feeds: int) -> pl.Expr:
    homeless = pl.any_horizontal(pl.col(f"key{number}").is_null() for number in range(feeds))
    whole = pl.concat_str("value", *(f"text{number}" for number in range(feeds)), separator="\t")
    return pl.when(homeless & (pl.col("op") != _DELETE)).then(whole).otherwise("value").alias("value")


def golden_key(store: str, key: str) -> bytes:
    return f"{GOLDEN_PREFIX}{store}/{key}}}".encode()


def tombstone(version: bytes, left_out: Mapping[str, Any] | None = None) -> bytes:
    """A contribution that was withdrawn by this version. left_out: the values it did not bring."""
    kept = b',"f":' + orjson.dumps(left_out) if left_out else b""
    return b'{"v":"' + version + b'","d":1' + kept + b"}"


def held_flag(version: bytes, commit: int) -> bytes:
    """For the script: set "a newer change is held" on the contribution that is there."""
    return b"H" + version + str(commit).encode()


def theme_keys_of(value: bytes) -> list[str | None]:
    """The theme keys in a local contribution; none of a deleted one."""
    keys: list[str | None] = orjson.loads(_listed(value))
    return keys


def theme_keys_of_all(values: Iterable[bytes]) -> list[list[str | None]]:
    """The same of many."""
    found: list[list[str | None]] = orjson.loads(b"[" + b",".join(map(_listed, values)) + b"]")
    return found


def _listed(value: bytes) -> bytes:
    return without_memory(value)[VERSION_WIDTH + 1 :].partition(b"\t")[0] if is_there(value) else b"[]"


def homeless_texts(value: bytes) -> list[bytes]:
    """The contributions in a local contribution, one for each feed, when a theme key is null."""
    return without_memory(value).split(b"\t")[1:]


def version_parts(versions: pl.Series) -> tuple[pa.Array, pa.Array]:
    """Versions as two uint64 columns, high and low, for ClickHouse to join to a UInt128."""
    high = versions.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    low = versions.str.slice(16, 16).str.to_integer(base=16, dtype=pl.UInt64)
    return high.to_arrow(), low.to_arrow()


def pl_type(kind: pa.DataType) -> pl.DataType:
    """The Polars type of an Arrow type."""
    series = pl.from_arrow(pa.nulls(0, kind))
    assert isinstance(series, pl.Series)
    return series.dtype
