"""Reduced changes → rows of the theme stores' tables in ClickHouse. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from datarail.columns import column
from datarail.neighbours import until_enough
from datarail.small_car import typed
from sinks.latest_few import FewRow
from sinks.themes.build import pl_type
from sinks.themes.plan import FeedPlan, ResourcePlan

_UTC = pa.timestamp("us", "UTC")
#: Rows of one block: each is in memory three times over while it is made and sent.
BLOCK_ROWS = 30_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Reduced rows of one feed that wait for ClickHouse; keys: their theme keys."""

    plan: ResourcePlan
    feed: FeedPlan
    partition: int
    frame: pl.DataFrame
    keys: pl.Series


class Few(NamedTuple):
    """One row of a small batch that waits for ClickHouse; key: its theme key."""

    plan: ResourcePlan
    feed: FeedPlan
    partition: int
    row: FewRow
    key: str | None


def few_rows(few: Sequence[Few]) -> Iterator[pl.DataFrame]:
    """`table_rows` of single rows, those whose fields are alike in one: a frame each costs two
    milliseconds, and in a second of light load every resource has a row or two."""
    alike: dict[tuple[tuple[str, pa.DataType, pa.DataType], ...], list[Few]] = {}
    for each in few:
        alike.setdefault(_fields(each.plan, each.feed)[0], []).append(each)
    for fields, some in alike.items():
        rows = [each.row for each in some]
        arrays = {
            "station": pa.array([each.plan.station for each in some], pa.utf8()),
            "resource": pa.array([each.plan.resource for each in some], pa.utf8()),
            "feed": pa.array([each.feed.number for each in some], pa.uint8()),
            "source_key": pa.array([row.key for row in rows], pa.utf8()),
            "theme_key": pa.array([each.key or "" for each in some], pa.utf8()),
            "version_text": pa.array([row.version for row in rows], pa.utf8()),
            "is_deleted": pa.array([each.key is None for each in some]).cast(pa.uint8()),
            "commit": pa.array([row.commit for row in rows], pa.int64()).cast(_UTC),
            "_partition": pa.array([each.partition for each in some], pa.uint32()),
        }
        places = [_fields(each.plan, each.feed)[1] for each in some]
        for at, (name, item_kind, _) in enumerate(fields):
            values = [row.values[where[at]] for row, where in zip(rows, places, strict=True)]
            arrays[f"f_{name}"] = typed(item_kind, values)
        yield pl.DataFrame(pl.from_arrow(pa.table(arrays))).with_columns(
            pl.col(f"f_{name}").cast(pl_type(kind), strict=False) for name, _, kind in fields
        )


@functools.lru_cache(maxsize=4096)
def _fields(
    plan: ResourcePlan, feed: FeedPlan
) -> tuple[tuple[tuple[str, pa.DataType, pa.DataType], ...], tuple[int, ...]]:
    """Of each field its name, its item's type and its own; and the items' places in a FewRow."""
    places = {item: at for at, item in enumerate(plan.items)}
    return (
        tuple((name, plan.items[item], kind) for name, item, kind in feed.fields),
        tuple(places[item] for _, item, _ in feed.fields),
    )


def table_rows(rows: Sequence[Rows]) -> pl.DataFrame:
    """Rows of `theme.<store>_source`, of one feed and partition. One that belongs to no golden
    record is a deleted one."""
    first = rows[0]
    typed = [
        pl.col(column(item)).cast(pl_type(kind), strict=False).alias(f"f_{field}")
        for field, item, kind in first.feed.fields
    ]
    key = pl.col("theme key")
    names = ["_key", "_version", "_commit", *dict.fromkeys(column(item) for _, item, _ in first.feed.fields)]
    frames = [some.frame.select(names).with_columns(some.keys.alias("theme key")) for some in rows]
    return pl.concat(frames, how="vertical").select(
        pl.lit(first.plan.station).alias("station"),
        pl.lit(first.plan.resource).alias("resource"),
        pl.lit(first.feed.number, pl.UInt8).alias("feed"),
        pl.col("_key").alias("source_key"),
        key.fill_null("").alias("theme_key"),
        pl.col("_version").alias("version_text"),
        key.is_null().cast(pl.UInt8).alias("is_deleted"),
        pl.col("_commit").alias("commit"),
        pl.lit(first.partition, pl.UInt32).alias("_partition"),
        *typed,
    )


def blocks(rows: Iterable[Sequence[Rows]], few: Sequence[Few]) -> Iterator[pl.DataFrame]:
    """All rows of one store, in blocks for an insert each. rows: those of one feed and partition
    together. A block is made when it is asked for: what waits is in memory already."""
    frames = (
        table_rows(some)
        for each in rows
        for some in until_enough(each, lambda rows: rows.frame.height, BLOCK_ROWS)
    )
    for some in until_enough(chain(frames, few_rows(few)), lambda frame: frame.height, BLOCK_ROWS):
        yield pl.concat(some, how="diagonal")
