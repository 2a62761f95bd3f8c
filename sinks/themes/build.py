"""Reduced changes → what goes to the stores: contributions as text, theme keys, table rows. Pure.

In Redis a contribution is one JSON text with its head at fixed places, so that the script that
guards it need not parse it:

    {"v":"<version, 32 hex>","h":<µs or 0>,"c":<µs>,"p":<partition>,"f":{"name":"张三",...}}
    {"v":"<version>","d":1}    withdrawn

v: the last change that touched it (sinks.latest); h: the commit of a newer change that is held,
0: none; c: the commit its values are from; p: the partition that it came by; f: values, nulls
left out.

In the local contributions a source key has `<version><state><theme keys>`: state S (set), H (set,
a newer change is held) or D (deleted); theme keys are a JSON list, one (or null) for each feed.
Where one is null, the contributions follow, each after a tab: Redis does not have them, and a
later change may leave items out.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import polars as pl
import pyarrow as pa

from datarail.train import column
from sinks.latest import VERSION_WIDTH
from sinks.texts import as_json, as_text, quoted
from sinks.themes.plan import FeedPlan, ResourcePlan

SET, HELD, DELETED = b"S", b"H", b"D"
_DELETE = ord("d")
GOLDEN_PREFIX = "golden:{"


@dataclass(slots=True)
class Built:
    """Columns beside a reduced frame's rows, the same height.

    keys: per feed, the theme key or null. texts: per feed, the contribution as Redis has it.
    value: what the local contributions have.
    """

    keys: list[pl.Series]
    texts: list[pl.Series]
    value: pl.Series


def build(frame: pl.DataFrame, plan: ResourcePlan, partition: int) -> Built:
    """The contributions of rows that were created, updated or read; deletes have no keys."""
    commit = frame["_commit"].cast(pl.Int64)
    keys, texts = [], []
    parts: dict[str, pl.Series] = {"_version": frame["_version"], "_commit": commit}
    for number, feed in enumerate(plan.feeds):
        key = theme_keys(frame, feed)
        keys.append(key)
        parts[f"k{number}"] = quoted(key)
        for field, item, _ in feed.fields:
            parts[f"{number}/{field}"] = as_json(frame[column(item)])
    body = pl.DataFrame(parts)
    every = [pl.col(f"k{number}").fill_null("null") for number in range(len(plan.feeds))]
    keys_json = pl.concat_str(pl.lit("["), pl.concat_str(every, separator=","), pl.lit("]"))
    deleted = frame["_op"] == _DELETE
    state = pl.when(deleted).then(pl.lit(DELETED.decode())).otherwise(pl.lit(SET.decode()))
    numbers = range(len(plan.feeds))
    done = body.select(
        "_version",
        state.alias("state"),
        keys_json.alias("keys_json"),
        pl.any_horizontal(pl.col(f"k{number}").is_null() for number in numbers).alias("homeless") & ~deleted,
        *(
            _contribution(number, feed, partition).alias(f"text{number}")
            for number, feed in enumerate(plan.feeds)
        ),
    )
    value = pl.concat_str("_version", "state", "keys_json")
    if done["homeless"].any():
        whole = pl.concat_str(value, *(f"text{number}" for number in numbers), separator="\t")
        value = pl.when("homeless").then(whole).otherwise(value)
    texts = [done[f"text{number}"] for number in range(len(plan.feeds))]
    return Built(keys, texts, done.select(value.alias("value")).to_series())


def theme_keys(frame: pl.DataFrame, feed: FeedPlan) -> pl.Series:
    """The golden record each row belongs to: datarail.keys.key_text over the cleaned values.

    Null (belongs to none) when the row is deleted, or when any part of the key is null or empty.
    """
    texts = [as_text(frame[column(item)]) for item in feed.key]
    present = pl.col("_op") != _DELETE
    parts = {"_op": frame["_op"]}
    for at, text in enumerate(texts):
        parts[f"t{at}"] = text
        present &= pl.col(f"t{at}") != ""
        if len(texts) > 1:
            parts[f"q{at}"] = quoted(text)
    whole = (
        pl.col("t0")
        if len(texts) == 1
        else pl.concat_str(
            pl.lit("["), pl.concat_str([f"q{at}" for at in range(len(texts))], separator=","), pl.lit("]")
        )
    )
    return pl.DataFrame(parts).select(pl.when(present).then(whole)).to_series()


def _contribution(number: int, feed: FeedPlan, partition: int) -> pl.Expr:
    fields = [
        pl.concat_str(pl.lit(f"{orjson.dumps(field).decode()}:"), pl.col(f"{number}/{field}"))
        for field, _, _ in feed.fields
    ]
    inside = pl.concat_str(fields, separator=",", ignore_nulls=True) if fields else pl.lit("")
    return pl.concat_str(
        pl.lit('{"v":"'),
        "_version",
        pl.lit('","h":0,"c":'),
        "_commit",
        pl.lit(f',"p":{partition},"f":{{'),
        inside,
        pl.lit("}}"),
    )


def golden_keys(store: str, keys: pl.Series) -> pl.Series:
    """The Redis keys of golden records; the braces keep one record's future keys in one slot."""
    return pl.select(
        pl.concat_str(pl.lit(f"{GOLDEN_PREFIX}{store}/"), keys.alias("k"), pl.lit("}"))
    ).to_series()


def golden_key(store: str, key: str) -> bytes:
    return f"{GOLDEN_PREFIX}{store}/{key}}}".encode()


def tombstone(version: bytes) -> bytes:
    """A contribution that was withdrawn by this version."""
    return b'{"v":"' + version + b'","d":1}'


def held_flag(version: bytes, commit: int) -> bytes:
    """For the script: set "a newer change is held" on the contribution that is there."""
    return b"H" + version + str(commit).encode()


def theme_keys_of(value: bytes) -> list[str | None]:
    """The theme keys in a local contribution; none of a deleted one."""
    if value[VERSION_WIDTH : VERSION_WIDTH + 1] == DELETED:
        return []
    keys: list[str | None] = orjson.loads(value[VERSION_WIDTH + 1 :].partition(b"\t")[0])
    return keys


def homeless_texts(value: bytes) -> list[bytes]:
    """The contributions in a local contribution, one for each feed, when a theme key is null."""
    return value.split(b"\t")[1:]


def version_parts(versions: pl.Series) -> tuple[pa.Array, pa.Array]:
    """Versions as two uint64 columns, high and low, for ClickHouse to join to a UInt128."""
    high = versions.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    low = versions.str.slice(16, 16).str.to_integer(base=16, dtype=pl.UInt64)
    return high.to_arrow(), low.to_arrow()


def table_rows(
    frame: pl.DataFrame, feed: FeedPlan, keys: pl.Series, plan: ResourcePlan, partition: int
) -> pl.DataFrame:
    """Rows of `theme.<store>_source`. A row that belongs to no golden record is a deleted one."""
    typed = [
        frame[column(item)].cast(pl_type(kind), strict=False).alias("f_" + field)
        for field, item, kind in feed.fields
    ]
    gone = keys.is_null()
    return pl.DataFrame(
        [
            pl.select(pl.repeat(plan.station, frame.height, dtype=pl.String)).to_series().alias("station"),
            pl.select(pl.repeat(plan.resource, frame.height, dtype=pl.String)).to_series().alias("resource"),
            pl.select(pl.repeat(feed.number, frame.height, dtype=pl.UInt8)).to_series().alias("feed"),
            frame["_key"].alias("source_key"),
            keys.fill_null("").alias("theme_key"),
            frame["_version"].alias("version_text"),
            gone.cast(pl.UInt8).alias("is_deleted"),
            frame["_commit"].alias("commit"),
            pl.select(pl.repeat(partition, frame.height, dtype=pl.UInt32)).to_series().alias("_partition"),
            *typed,
        ]
    )


def pl_type(kind: pa.DataType) -> pl.DataType:
    """The Polars type of an Arrow type."""
    series = pl.from_arrow(pa.nulls(0, kind))
    assert isinstance(series, pl.Series)
    return series.dtype
