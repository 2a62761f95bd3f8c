"""One batch of one resource → what each store is to be told. Pure: it asks nothing of a server.

Every theme key that a source key has passed through in the batch is withdrawn from, not only the
one known before it: a batch that a crash cut off may have reached Redis in part, and come again
cut in another place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from datarail.contract import StoreName
from sinks.contributions import key_prefix
from sinks.held import FLAGGED, Held, is_there, remembering, taken
from sinks.latest import Latest
from sinks.texts import as_bytes
from sinks.themes.build import (
    Built,
    build,
    golden_key,
    held_flag,
    theme_keys,
    theme_keys_of,
    theme_keys_of_all,
    tombstone,
)
from sinks.themes.changes import Change, Changes, Sets
from sinks.themes.plan import FeedPlan, ResourcePlan
from sinks.themes.rows import Few, Rows
from sinks.themes.table import Cleared
from sinks.version import VERSION_WIDTH

Flags = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Landing:
    """changes: for Redis, in order. keys, values, notes: for the contributions. rows, few, held,
    cleared: for ClickHouse."""

    changes: Changes = field(default_factory=Changes)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    few: list[Few] = field(default_factory=list)
    held: list[tuple[StoreName, dict[str, object]]] = field(default_factory=list)
    notes: list[tuple[str, bytes]] = field(default_factory=list)
    cleared: list[Cleared] = field(default_factory=list)


def land(
    landing: Landing,
    reduced: Latest,
    keys: list[bytes],
    known: Sequence[bytes | None],
    plan: ResourcePlan,
    partition: int,
) -> None:
    """Add one resource's good changes. keys: of their contributions; known: what those are now."""
    frame = reduced.good
    if frame.height == 0:
        return
    built = build(frame, plan, partition)
    values = as_bytes(built.value)
    taking, late = taken(known, values)
    fresh, tail = np.array(taking), VERSION_WIDTH + 1
    stays = np.array(
        [old is not None and old[tail:] == new[tail:] for old, new in zip(known, values, strict=True)]
    )
    _withdraw(landing, reduced, built, known, values, fresh & ~stays, plan)
    _withdraw_overtaken(landing, reduced, built, plan)
    _set(landing, built, fresh, stays, plan)
    for at, value in late.items():
        values[at] = value
    if fresh.all():
        landing.keys += keys
        landing.values += values
    else:
        landing.keys += [key for key, ok in zip(keys, fresh, strict=True) if ok]
        landing.values += [value for value, ok in zip(values, fresh, strict=True) if ok]
    for feed, theirs in zip(plan.feeds, built.keys, strict=True):
        landing.rows.append(Rows(plan, feed, partition, frame, theirs))


def land_held(
    landing: Landing, held: Iterable[Held], known: Iterable[bytes | None], plan: ResourcePlan
) -> None:
    """Add one resource's held changes: a flag on what is there, and what they brought for what mends them.
    known: the contribution of each, with this batch's own good changes in it."""
    for each, old in zip(held, known, strict=True):
        source_key, text, commit, _ = each
        value, version = remembering(old, each), text.encode()
        if value is None:
            continue
        landing.keys.append(key_prefix(plan.resource) + source_key.encode())
        if old is None or not is_there(old) or not value.startswith(version):
            landing.values.append(value)
            continue
        landing.values.append(version + FLAGGED + value[VERSION_WIDTH + 1 :])
        for feed, theme_key in zip(plan.feeds, theme_keys_of(old), strict=True):
            if theme_key is None:
                continue
            landing.changes.append((*in_redis(feed, theme_key, source_key), held_flag(version, commit)))
            row: dict[str, object] = {"station": plan.station, "resource": plan.resource, "feed": feed.number}
            landing.held.append(
                (feed.store, {**row, "source_key": source_key, "version": text, "held_since": commit})
            )


def withdrawals(plan: ResourcePlan, source_key: str, known: bytes, version: bytes) -> list[Change]:
    """Take a contribution out of every golden record that it is in."""
    return [
        withdrawn(feed, theme_key, source_key, version)
        for feed, theme_key in zip(plan.feeds, theme_keys_of(known), strict=False)
        if theme_key is not None
    ]


def in_redis(feed: FeedPlan, theme_key: str, source_key: str) -> tuple[bytes, bytes]:
    """A contribution's key and field in Redis."""
    return golden_key(feed.store, theme_key), f"{feed.source}/{source_key}".encode()


def withdrawn(
    feed: FeedPlan,
    theme_key: str,
    source_key: str,
    version: bytes,
    left_out: Mapping[str, Any] | None = None,
) -> Change:
    """Take a contribution out of one golden record (build.tombstone)."""
    return (*in_redis(feed, theme_key, source_key), tombstone(version, left_out))


def _left_out(
    reduced: Latest, texts: pl.Series, at: int, source_key: str, feed: FeedPlan
) -> dict[str, Any] | None:
    """The values of fields that the last change of a key did not bring. texts: the feed's; at: its row."""
    items = reduced.left_out.get(source_key)
    if items is None:
        return None
    values = orjson.loads(texts[at])["f"]
    return {name: values[name] for name, item, _ in feed.fields if item in items and name in values}


def _withdraw(
    landing: Landing,
    reduced: Latest,
    built: Built,
    known: Sequence[bytes | None],
    values: Sequence[bytes],
    elsewhere: Flags,
    plan: ResourcePlan,
) -> None:
    # In most batches nothing moves but what is deleted.
    moved = [at for at in np.flatnonzero(elsewhere).tolist() if known[at] is not None]
    if not moved:
        return
    # Each value by itself out of its column would take ten times as long.
    source_keys = reduced.good["_key"][moved].to_list()
    before = theme_keys_of_all(old for at in moved if (old := known[at]) is not None)
    for number, feed in enumerate(plan.feeds):
        now = built.keys[number][moved].to_list()
        gone = [
            (at, source_key, former)
            for at, source_key, theirs, new in zip(moved, source_keys, before, now, strict=True)
            if theirs and (former := theirs[number]) is not None and former != new
        ]
        for at, source_key, theme_key in gone:
            kept = _left_out(reduced, built.texts[number], at, source_key, feed)
            landing.changes.append(withdrawn(feed, theme_key, source_key, values[at][:VERSION_WIDTH], kept))


def _withdraw_overtaken(landing: Landing, reduced: Latest, built: Built, plan: ResourcePlan) -> None:
    earlier = reduced.overtaken
    if earlier.height == 0:
        return
    passed = theme_keys(earlier, plan)
    final = pl.DataFrame(
        {
            "_key": reduced.good["_key"],
            "last": reduced.good["_version"],
            "at": range(reduced.good.height),
            **{f"last{number}": keys for number, keys in enumerate(built.keys)},
        }
    )
    through = pl.DataFrame(
        {"_key": earlier["_key"], **{f"k{number}": keys for number, keys in enumerate(passed)}}
    ).unique(maintain_order=True)
    # Keys whose last change a truncate has made void have nothing to be withdrawn from.
    moves = through.join(final, on="_key", how="inner", maintain_order="left")
    for number, feed in enumerate(plan.feeds):
        there = pl.col(f"k{number}")
        elsewhere = moves.filter(there.is_not_null() & there.ne_missing(pl.col(f"last{number}")))
        rows = elsewhere.select("_key", f"k{number}", "last", "at").iter_rows()
        for source_key, former, version, at in rows:
            kept = _left_out(reduced, built.texts[number], at, source_key, feed)
            landing.changes.append(withdrawn(feed, former, source_key, version.encode(), kept))


def _set(landing: Landing, built: Built, fresh: Flags, stays: Flags, plan: ResourcePlan) -> None:
    for number in range(len(plan.feeds)):
        columns = (built.golden[number], built.fields[number], built.texts[number])
        there = fresh & built.keys[number].is_not_null().to_numpy()
        for chosen, anew in ((there & stays, False), (there & ~stays, True)):
            if chosen.all():
                landing.changes.sets.append(Sets(*columns, anew))
            elif chosen.any():
                some = pl.Series(chosen)
                keys, fields, texts = (values.filter(some) for values in columns)
                landing.changes.sets.append(Sets(keys, fields, texts, anew))
