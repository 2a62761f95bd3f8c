"""Reading history: how one record came to be, and what it looked like on a day.

"What did this person's record look like on 3 May?" is one call.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from datarail.columns import WRITTEN, item_of
from datarail.position import Identity, Lane
from datarail.settings import Settings
from sinks.clickhouse import UNKNOWN_DATABASE, UNKNOWN_TABLE, ClickHouse, Refused
from sinks.history.arriving import live_name
from sinks.history.tables import full_name, table_name

#: A change that came twice (a rebuilt Kafka, a zombie) is one change: the first that landed counts.
_ONCE = "ORDER BY _epoch, _pos, _idx, _part, _landed LIMIT 1 BY _epoch, _pos, _idx, _part"
_TRUNCATE = ord("t")


def versions(
    settings: Settings,
    station: str,
    resource: str,
    key: str,
    *,
    until: datetime | None = None,
    limit: int = 1000,
    store: ClickHouse | None = None,
) -> list[dict[str, Any]]:
    """All changes of one source key in the order the source committed them, truncates included.

    Each: op (c u d r t), lane, identity (text), commit and landed (ISO, UTC), held, findings (JSON
    text or null), unchanged (items not sent), written {item: text or null} as the department wrote
    it, cleaned {item: value}. until: only what was committed by then. Of more than `limit`
    versions, the last. Raises Transient.
    """
    own = store or ClickHouse(settings.clickhouse)
    table = table_name(station, resource)
    until = until or datetime(2299, 1, 1, tzinfo=UTC)
    try:
        # A table that has not been written to since its view was thought of has none yet.
        rows = _rows(own, live_name(table), key, until, limit)
        if rows is None:
            rows = _rows(own, full_name(table), key, until, limit) or []
    finally:
        if store is None:
            own.close()
    found = [_version(row) for row in reversed(rows)]
    # Truncates before the key's first change say nothing about it.
    while found and found[0]["op"] == "t":
        found.pop(0)
    return found


def _rows(
    store: ClickHouse, table: str, key: str, until: datetime, limit: int
) -> list[dict[str, Any]] | None:
    """A key's rows, the last first; None when there is no such table."""
    try:
        # A truncate has no key of its own, and ends every record of the resource. The bitmap of what is
        # unchanged is no text, and its items are there by name.
        return store.records(
            f"SELECT * FROM (SELECT * EXCEPT _unchanged FROM {table} "
            f"WHERE (_key = {{key:String}} OR _op = {_TRUNCATE}) AND "
            " _commit <= parseDateTime64BestEffort({until:String}, 6, 'UTC') "
            f"{_ONCE}) ORDER BY _epoch DESC, _pos DESC, _idx DESC, _part DESC LIMIT {limit:d}",
            key=key,
            until=until.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        )
    except Refused as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return None
        raise


def as_of(
    settings: Settings,
    station: str,
    resource: str,
    key: str,
    when: datetime,
    *,
    store: ClickHouse | None = None,
) -> dict[str, Any] | None:
    """The record as it stood at that moment (by the source's commit times), or None when it did
    not exist then. As a version of `versions`, with unchanged items filled in from before."""
    standing: dict[str, Any] | None = None
    for version in versions(settings, station, resource, key, until=when, limit=100_000, store=store):
        standing = following(standing, version)
    return standing


def following(before: dict[str, Any] | None, version: dict[str, Any]) -> dict[str, Any] | None:
    """The record after one more change: unchanged items keep the value they had."""
    if version["op"] in ("d", "t"):
        return None
    if before is None or not version["unchanged"]:
        return version
    kept = version["unchanged"]
    return version | {
        side: version[side] | {item: before[side].get(item) for item in kept}
        for side in ("written", "cleaned")
    }


def _version(row: dict[str, Any]) -> dict[str, Any]:
    written = {name[len(WRITTEN) :]: value for name, value in row.items() if name.startswith(WRITTEN)}
    cleaned = {
        item_of(name): value
        for name, value in row.items()
        if not name.startswith("_") or (name.startswith("__") and item_of(name) in written)
    }
    return {
        "op": chr(row["_op"]),
        "lane": Lane(row["_lane"]).label,
        "identity": Identity(row["_epoch"], row["_pos"], row["_idx"], row["_part"]).text(),
        "commit": row["_commit"],
        "landed": row["_landed"],
        "held": row["_held"],
        "findings": row["_findings"],
        "unchanged": row["_unchanged_items"],
        "written": written,
        "cleaned": cleaned,
    }
