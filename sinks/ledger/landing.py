"""Entries of the ledger from manifests. Pure.

One entry per batch, hop, partition, resource, lane and minute of commit: summed up within the
batch, so that the ledger grows with time and not with trains, yet every entry still knows the
offsets it stands for, and so whether a sink has passed them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from datarail.topics import raw, station_of, train
from datarail.train import CarEntry
from sinks.clickhouse import ClickHouse, create_table, literal
from sinks.feeds import MANIFESTS
from sinks.planned import Block, Range
from sinks.port import Arrival

TABLE = "trains"
OPS = {"c": "created", "u": "updated", "d": "deleted", "r": "read", "t": "truncated"}
_NUMBERS = ("trains", "rows", "counted", "held", "filtered", "unreadable", "bytes", *OPS.values())
_TEXTS = ("hop", "station", "resource")
_MINUTE = 60_000_000

COLUMNS = [
    "hop LowCardinality(String)",
    "station LowCardinality(String)",
    "resource LowCardinality(String)",
    "partition UInt32",
    "lane UInt8",
    "minute DateTime64(0, 'UTC')",
    "first UInt64",
    "end UInt64",
    *(f"{name} UInt64" for name in _NUMBERS),
    "first_commit DateTime64(6, 'UTC')",
    "last_commit DateTime64(6, 'UTC')",
    "landed DateTime64(3, 'UTC') DEFAULT now64(3)",
]


@dataclass(slots=True)
class Entry:
    """Sums over the cars of one batch, hop, partition, resource, lane and minute."""

    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NUMBERS, 0))
    first_commit: int = 1 << 62
    last_commit: int = 0

    def add(self, car: CarEntry, captured: int) -> None:
        for name, number in (
            ("trains", 1),
            ("rows", car.rows),
            ("counted", car.counted),
            ("held", car.held),
            ("filtered", car.filtered),
            ("unreadable", car.unreadable),
            ("bytes", car.bytes),
        ):
            self.sums[name] += number
        for op, count in car.ops.items():
            self.sums[OPS[op]] += count
        self.first_commit = min(self.first_commit, car.first_commit or captured)
        self.last_commit = max(self.last_commit, car.last_commit or captured)


class LedgerLanding:
    """sinks.planned.Landing of the ledger."""

    name = "ledger"
    database = "ledger"
    feed = MANIFESTS
    row_key: Sequence[str] = ("hop", "station", "resource", "partition", "lane", "minute", "first")
    landed = "landed"
    # An insert's price is the server's, whatever is in it; a second more is nobody's trouble.
    fresh = 2.0

    def __init__(self) -> None:
        self._there = False

    def blocks(self, arrivals: list[Arrival], ranges: Sequence[Range]) -> Iterator[Block]:
        entries: dict[tuple[str, str, str, int, int, int], Entry] = {}
        for arrival in arrivals:
            hop = hop_of(arrival.topic)
            manifest = arrival.train.manifest
            for car in manifest.cars:
                minute = (car.first_commit or manifest.captured) // _MINUTE * 60
                key = (hop, station_of(arrival.topic), car.resource, arrival.partition, int(car.lane), minute)
                entries.setdefault(key, Entry()).add(car, manifest.captured)
        if entries:
            spans = {(span.topic, span.partition): (span.first, span.end) for span in ranges}
            yield Block(TABLE, _rows(entries, spans))

    def prepare(self, store: ClickHouse, block: Block) -> None:
        if not self._there:
            create_ledger(store)
            self._there = True

    def within(self, ranges: Sequence[Range]) -> str:
        return " OR ".join(
            f"(hop = {literal(hop_of(span.topic))} AND station = {literal(station_of(span.topic))} "
            f"AND partition = {span.partition} AND first >= {span.first} AND first < {span.end})"
            for span in ranges
        )

    def holds(self, table: str, topic: str) -> bool:
        return table == TABLE


def create_ledger(store: ClickHouse) -> None:
    create_table(
        store, f"ledger.{TABLE}", COLUMNS, "(station, resource, hop, minute)", partition="toYYYYMM(minute)"
    )


def hop_of(topic: str) -> str:
    """raw: as captured; clean: after the agent."""
    return "clean" if topic.startswith("train.") else "raw"


def _topic(hop: str, station: str) -> str:
    return train(station) if hop == "clean" else raw(station)


def _rows(
    entries: dict[tuple[str, str, str, int, int, int], Entry],
    spans: dict[tuple[str, int], tuple[int, int]],
) -> pa.Table:
    keys = list(entries)
    values = list(entries.values())
    places = [spans[_topic(hop, station), partition] for hop, station, _, partition, _, _ in keys]
    columns = {name: pa.array([key[index] for key in keys]) for index, name in enumerate(_TEXTS)}
    columns["partition"] = pa.array([key[3] for key in keys], pa.uint32())
    columns["lane"] = pa.array([key[4] for key in keys], pa.uint8())
    columns["minute"] = pa.array([key[5] for key in keys], pa.timestamp("s", "UTC"))
    columns["first"] = pa.array([first for first, _ in places], pa.uint64())
    columns["end"] = pa.array([end for _, end in places], pa.uint64())
    for name in _NUMBERS:
        columns[name] = pa.array([entry.sums[name] for entry in values], pa.uint64())
    for name in ("first_commit", "last_commit"):
        columns[name] = pa.array([getattr(entry, name) for entry in values], pa.timestamp("us", "UTC"))
    return pa.table(columns)
