"""Reading the ledger: captured = landed + quarantined + filtered, and what is on its way.

landed is least: a change counts when every sink that lands changes has passed its offset, by
the offsets their groups have committed, which they do once their stores hold it durably.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)

from datarail.settings import Settings
from datarail.topics import station_of
from sinks.clickhouse import UNKNOWN_DATABASE, UNKNOWN_TABLE, ClickHouse, Refused, literal
from sinks.consumer import kafka_trouble
from sinks.ledger.landing import OPS
from sinks.registry import LANDING, group


@dataclass(frozen=True, slots=True)
class Totals:
    """All there ever was of one resource, in changes. last_commit: ISO, UTC, of what was captured."""

    station: str
    resource: str
    captured: int
    landed: int
    quarantined: int
    filtered: int
    cleaned: int
    last_commit: str

    @property
    def lag_rows(self) -> int:
        """Changes captured that are neither landed everywhere nor set aside yet."""
        return max(self.captured - self.landed - self.quarantined - self.filtered, 0)

    @property
    def balanced(self) -> bool:
        return self.captured == self.landed + self.quarantined + self.filtered


def totals(
    settings: Settings,
    station: str | None = None,
    sinks: Sequence[str] = LANDING,
    store: ClickHouse | None = None,
) -> list[Totals]:
    """Every resource's balance; empty while nothing was captured. Raises Transient.

    Read in this order, offsets first, nothing is called landed that is not.
    """
    passed = passed_by_all(settings, sinks)
    offsets = ", ".join(
        f"{literal(f'{station_of(topic)}/{number}')}, {end}" for (topic, number), end in passed.items()
    )
    table = f"map({offsets})" if offsets else "CAST(map(), 'Map(String, UInt64)')"
    rows = read_ledger(
        store,
        settings,
        "SELECT station, resource, sumIf(counted, hop = 'raw'), "
        f"sumIf(counted - held, hop = 'clean' AND end <= {table}[station || '/' || toString(partition)]), "
        "sumIf(held + unreadable, hop = 'clean'), sumIf(filtered, hop = 'clean'), "
        "sumIf(counted, hop = 'clean'), "
        "maxIf(last_commit, hop = 'raw') FROM ledger.trains WHERE {station:String} IN ('', station) "
        "GROUP BY station, resource ORDER BY station, resource",
        station=station or "",
    )
    return [Totals(*row) for row in rows]


def per_hop(
    settings: Settings, station: str, resource: str, store: ClickHouse | None = None
) -> list[dict[str, Any]]:
    """By hop (raw, clean), lane and operation: what passed there."""
    numbers = ["trains", "rows", "counted", "held", "filtered", "unreadable", "bytes", *OPS.values()]
    rows = read_ledger(
        store,
        settings,
        f"SELECT hop, lane, {', '.join(f'sum({name})' for name in numbers)} FROM ledger.trains "
        "WHERE station = {station:String} AND resource = {resource:String} "
        "GROUP BY hop, lane ORDER BY hop, lane",
        station=station,
        resource=resource,
    )
    return [dict(zip(["hop", "lane", *numbers], row, strict=True)) for row in rows]


def per_minute(
    settings: Settings, station: str, resource: str, minutes: int = 60, store: ClickHouse | None = None
) -> list[dict[str, Any]]:
    """The last minutes (of the source's commits, UTC) that saw changes: captured, cleaned,
    quarantined, filtered."""
    names = ("minute", "captured", "cleaned", "quarantined", "filtered")
    rows = read_ledger(
        store,
        settings,
        "SELECT minute, sumIf(counted, hop = 'raw'), sumIf(counted, hop = 'clean'), "
        "sumIf(held + unreadable, hop = 'clean'), sumIf(filtered, hop = 'clean') FROM ledger.trains "
        "WHERE station = {station:String} AND resource = {resource:String} "
        "AND minute >= now() - toIntervalMinute({minutes:UInt32}) GROUP BY minute ORDER BY minute",
        station=station,
        resource=resource,
        minutes=minutes,
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def passed_by_all(settings: Settings, sinks: Sequence[str] = LANDING) -> dict[tuple[str, int], int]:
    """By (topic, partition): the offset below which every one of these sinks has landed all."""
    by_sink = committed(settings, sinks)
    places = {place for offsets in by_sink.values() for place in offsets}
    return {place: min(by_sink[sink].get(place, 0) for sink in sinks) for place in sorted(places)}


def committed(settings: Settings, sinks: Sequence[str]) -> dict[str, Mapping[tuple[str, int], int]]:
    """The offsets each sink's group has committed. Raises Transient when Kafka is away."""
    found = committed_by_group(settings, [group(sink) for sink in sinks])
    return {sink: found[group(sink)] for sink in sinks}


def committed_by_group(settings: Settings, groups: Sequence[str]) -> dict[str, Mapping[tuple[str, int], int]]:
    """The offsets these groups have committed, by (topic, partition)."""
    if not groups:
        return {}
    try:
        admin = KafkaAdminClient(**settings.kafka_access.kafka_python())
    except KafkaError as error:
        raise settings.kafka_access.away(error, "kafka") from error
    try:
        found = _patiently(lambda: admin.list_group_offsets(dict.fromkeys(groups)))
    except KafkaError as error:
        raise kafka_trouble(error) from error
    finally:
        admin.close()
    return {
        name: {
            (place.topic, place.partition): value.offset
            for place, value in found.get(name, {}).items()
            if value.offset >= 0
        }
        for name in groups
    }


def _patiently(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    # A broker that never had a group makes the topic for their offsets at the first question.
    until = time.monotonic() + 15
    while True:
        try:
            return call()
        except (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError):
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def read_ledger(store: ClickHouse | None, settings: Settings, sql: str, **values: object) -> list[list[Any]]:
    """Rows of a query over ledger.trains; none while nothing was ever entered. Raises Transient."""
    own = store or ClickHouse(settings.clickhouse)
    try:
        return own.rows(sql, **values)
    except Refused as error:
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE):
            return []  # nothing was ever entered
        raise
    finally:
        if store is None:
            own.close()
