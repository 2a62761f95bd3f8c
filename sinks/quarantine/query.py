"""Reading the quarantine: what is held, grouped by the rule that held it."""

from __future__ import annotations

from typing import Any

import orjson

from datarail.position import Lane
from datarail.settings import Settings
from sinks.clickhouse import UNKNOWN_DATABASE, UNKNOWN_TABLE, ClickHouse, Refused
from sinks.quarantine.landing import FULL_NAME

_WHERE = (
    "{station:String} IN ('', station) AND {resource:String} IN ('', resource) "
    "AND {key:String} IN ('', key) AND ({rule:String} = '' OR has(rules, {rule:String}))"
)
_JSON = ("findings", "written", "cleaned")


def held(
    settings: Settings,
    station: str = "",
    resource: str = "",
    key: str = "",
    rule: str = "",
    limit: int = 100,
    store: ClickHouse | None = None,
) -> list[dict[str, Any]]:
    """The changes and records held, the latest first: kind, station, resource, key, op, lane,
    epoch, pos, idx, part, seq, commit and held (ISO, UTC), rules, items, findings, written,
    unchanged, cleaned; of unreadable records: error, rows_lost, source_topic, source_offset."""
    names = "kind, station, resource, key, op, lane, seq, epoch, pos, idx, part, commit, held, rules, items"
    names += ", findings, written, unchanged, cleaned, error, rows_lost, source_topic, source_partition"
    rows = _read(
        store,
        settings,
        f"SELECT {names}, source_offset FROM {FULL_NAME} FINAL WHERE {_WHERE} "
        "ORDER BY quarantine.changes.held DESC, seq DESC LIMIT {limit:UInt32}",
        station=station,
        resource=resource,
        key=key,
        rule=rule,
        limit=limit,
    )
    for row in rows:
        row["lane"] = Lane(row["lane"]).label
        for name in _JSON:
            row[name] = orjson.loads(row[name]) if row[name] else None
    return rows


def by_rule(
    settings: Settings, station: str = "", resource: str = "", store: ClickHouse | None = None
) -> list[dict[str, Any]]:
    """Per station, resource and rule: changes and keys held, the rows lost with unreadable
    records, since when and until when, and one finding's words. The most frequent first."""
    return _read(
        store,
        settings,
        "SELECT station, resource, arrayJoin(rules) AS rule, count() AS changes, uniqExact(key) AS keys, "
        "sum(rows_lost) AS lost, min(changes.held) AS first, max(changes.held) AS last, "
        "arrayDistinct(arrayFlatten(groupArray(20)(items))) AS items, "
        "any(if(kind = 'record', error, JSONExtractString(arrayFirst("
        "finding -> JSONExtractString(finding, 'rule') = rule, JSONExtractArrayRaw(findings)), 'message'))) "
        f"AS example FROM {FULL_NAME} AS changes FINAL WHERE {_WHERE} "
        "GROUP BY station, resource, rule ORDER BY changes DESC, station, resource, rule",
        station=station,
        resource=resource,
        key="",
        rule="",
    )


def _read(store: ClickHouse | None, settings: Settings, sql: str, **values: object) -> list[dict[str, Any]]:
    own = store or ClickHouse(settings.clickhouse)
    try:
        return own.records(sql, **values)
    except Refused as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return []  # nothing was ever held
        raise
    finally:
        if store is None:
            own.close()
