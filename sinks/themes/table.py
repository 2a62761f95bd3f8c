"""The theme stores in ClickHouse: contributions by source key, and the golden records as a view.

theme.<store>_source   one row a contribution; replaced by source key, so that a corrected id
                       takes the row away from its old golden record by itself
theme.<store>          the golden records: every field with <field>, <field>_source, <field>_time
theme.mark             per partition, the trains that have landed here
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from datarail.contract import StoreName
from datarail.errors import Terminal
from datarail.position import Mark
from datarail.themes import Theme
from datarail.types import clickhouse_type
from sinks.clickhouse import ClickHouse, create_database, create_table, literal, quoted
from sinks.themes.build import version_parts
from sinks.themes.plan import FeedPlan
from sinks.themes.rows import Few, Rows, blocks
from sinks.themes.view import view

Place = tuple[str, int]
#: Rows waiting for a flush beyond which it should come at once.
FULL_ROWS = 60_000
_PLACE = [
    "station LowCardinality(String)",
    "resource LowCardinality(String)",
    "feed UInt8",
    "source_key String",
]
_HELD_SCHEMA = pa.schema(
    [
        ("station", pa.utf8()),
        ("resource", pa.utf8()),
        ("feed", pa.uint8()),
        ("source_key", pa.utf8()),
        ("version_high", pa.uint64()),
        ("version_low", pa.uint64()),
        ("held_since", pa.timestamp("us", "UTC")),
    ]
)


@dataclass(frozen=True, slots=True)
class Cleared:
    """A truncate: what the resource contributed from this partition before that version is void.
    version: hex; commit: µs."""

    station: str
    resource: str
    partition: int
    version: str
    commit: int


@dataclass(slots=True)
class Waiting:
    """What one flush lands. rows: by feed and partition; few: by store; held: contributions that a
    newer held change is to be told of; cleared: truncates; marks: where the partitions are then."""

    rows: dict[tuple[FeedPlan, int], list[Rows]] = field(default_factory=dict)
    few: dict[StoreName, list[Few]] = field(default_factory=dict)
    held: dict[StoreName, list[dict[str, object]]] = field(default_factory=dict)
    cleared: list[Cleared] = field(default_factory=list)
    marks: dict[Place, Mark] = field(default_factory=dict)
    count: int = 0


class ThemeTables:
    """The ClickHouse edge. Rows wait here until they are taken, and landed. Raises Transient and
    Terminal. `take` and what adds are of one thread, all else of one thread at a time."""

    def __init__(self, store: ClickHouse, themes: Mapping[StoreName, Theme]) -> None:
        self._store = store
        self._themes = themes
        self._waiting = Waiting()
        self._ready = False

    @property
    def full(self) -> bool:
        return self._waiting.count >= FULL_ROWS

    def mark(self, topic: str, partition: int) -> Mark | None:
        """The trains that have landed; None when there is nothing of the partition."""
        self._open()
        found = self._store.rows(
            "SELECT argMax(mark, at) FROM theme.mark WHERE topic = {topic:String} "
            "AND partition = {partition:UInt32} HAVING count() > 0",
            topic=topic,
            partition=partition,
        )
        return Mark.parse(found[0][0]) if found else None

    def add(self, rows: Rows) -> None:
        if rows.frame.height:
            self._waiting.rows.setdefault((rows.feed, rows.partition), []).append(rows)
            self._waiting.count += rows.frame.height

    def add_few(self, few: Few) -> None:
        self._waiting.few.setdefault(few.feed.store, []).append(few)
        self._waiting.count += 1

    def add_held(self, store: StoreName, row: dict[str, object]) -> None:
        """A contribution that a newer held change is to be told of: station, resource, feed,
        source_key, version (hex), held_since (µs)."""
        self._waiting.held.setdefault(store, []).append(row)
        self._waiting.count += 1

    def add_cleared(self, truncate: Cleared) -> None:
        """What a truncate voids: found by the server itself, after the rows that wait have landed."""
        self._waiting.cleared.append(truncate)

    def passed(self, topic: str, partition: int, mark: Mark) -> None:
        """What was added brings the partition to this mark."""
        self._waiting.marks[topic, partition] = mark

    def take(self) -> Waiting:
        """All that waits, to be landed; what is added from now on waits for the next."""
        taken, self._waiting = self._waiting, Waiting()
        return taken

    def flush(self) -> dict[Place, Mark]:
        """Land all that waits; returns the marks. After an error it waits still."""
        marks = self.land(self._waiting)
        self._waiting = Waiting()
        return marks

    def land(self, taken: Waiting) -> dict[Place, Mark]:
        """Land what was taken; returns the marks. Repeating after an error is safe: rows replace
        each other by version."""
        if not (taken.count or taken.cleared or taken.marks):
            return {}
        self._open()
        for store in self._themes:
            rows = [some for (feed, _), some in taken.rows.items() if feed.store == store]
            for block in blocks(rows, taken.few.get(store, [])):
                self._store.insert(_source(store), _with_version(block))
        for truncate in taken.cleared:
            self._clear(truncate)
        for store, held in taken.held.items():
            self._flag(store, held)
        if taken.marks:
            self._write_marks(taken.marks)
        return taken.marks

    def forget(self, station: str, topic: str, partition: int) -> None:
        """Take a partition's contributions out: it is being derived anew."""
        self._open()
        for store in self._themes:
            self._store.command(
                f"DELETE FROM {_source(store)} "
                "WHERE station = {station:String} AND _partition = {partition:UInt32}",
                {"lightweight_deletes_sync": 2},
                station=station,
                partition=partition,
            )
        self._write_marks({(topic, partition): Mark()})

    def wipe(self) -> None:
        """Drop everything; the tables are made again when next used."""
        self._store.command("DROP DATABASE IF EXISTS theme SYNC")
        self._ready = False

    def close(self) -> None:
        self._store.close()

    def _open(self) -> None:
        if self._ready:
            return
        create_database(self._store, "theme")
        create_table(
            self._store,
            "theme.mark",
            ["topic String", "partition UInt32", "mark String", "at UInt64"],
            "(topic, partition)",
            engine="ReplacingMergeTree(at)",
        )
        for store, theme in self._themes.items():
            self._create(store, theme)
        self._ready = True

    def _create(self, store: StoreName, theme: Theme) -> None:
        fields = {name: clickhouse_type(field.type) for name, field in theme.fields.items()}
        columns = [
            *_PLACE,
            "theme_key String",
            "version UInt128 DEFAULT "
            "bitOr(bitShiftLeft(toUInt128(version_high), 64), toUInt128(version_low))",
            "version_high UInt64 EPHEMERAL",
            "version_low UInt64 EPHEMERAL",
            "is_deleted UInt8",
            "commit DateTime64(6, 'UTC')",
            "held_since Nullable(DateTime64(6, 'UTC'))",
            "_partition UInt32",
            *(f"{quoted('f_' + name)} {kind}" for name, kind in fields.items()),
            "INDEX by_theme_key theme_key TYPE bloom_filter(0.01) GRANULARITY 1",
        ]
        create_table(
            self._store,
            _source(store),
            columns,
            "(station, resource, source_key, feed)",
            engine="ReplacingMergeTree(version, is_deleted)",
        )
        there = dict(
            self._store.rows(
                "SELECT name, type FROM system.columns WHERE database = 'theme' AND table = {table:String}",
                table=f"{store}_source",
            )
        )
        for name, kind in fields.items():
            found = there.get(f"f_{name}")
            if found is None:
                self._store.command(
                    f"ALTER TABLE {_source(store)} ADD COLUMN IF NOT EXISTS {quoted('f_' + name)} {kind}"
                )
            elif found.replace(" ", "") != kind.replace(" ", ""):
                raise Terminal(
                    f"{store}.{name} is {found} in ClickHouse, {kind} in themes.yaml",
                    part="themes",
                    remedy="datarail rebuild themes",
                )
        self._store.command(f"CREATE OR REPLACE VIEW theme.{quoted(store)} AS {view(store, theme)}")

    def _clear(self, truncate: Cleared) -> None:
        version = f"toUInt128('{int(truncate.version, 16)}')"
        for store in self._themes:
            self._store.command(
                f"INSERT INTO {_source(store)} (station, resource, feed, source_key, theme_key, version, "
                "is_deleted, commit, _partition) "
                f"SELECT station, resource, feed, source_key, '', {version}, 1, "
                f"fromUnixTimestamp64Micro(toInt64({truncate.commit}), 'UTC'), _partition "
                f"FROM {_source(store)} AS s FINAL WHERE station = {{station:String}} "
                "AND resource = {resource:String} AND _partition = {partition:UInt32} "
                f"AND s.version < {version}",
                station=truncate.station,
                resource=truncate.resource,
                partition=truncate.partition,
            )

    def _flag(self, store: StoreName, held: list[dict[str, object]]) -> None:
        # The row is written again by the server itself, so that nobody need keep its values.
        newest: dict[tuple[object, ...], dict[str, object]] = {}
        for row in held:
            place = (row["station"], row["resource"], row["feed"], row["source_key"])
            if place not in newest or str(row["version"]) > str(newest[place]["version"]):
                newest[place] = row
        fields = ", ".join(quoted("f_" + name) for name in self._themes[store].fields)
        every = list(newest.values())
        for start in range(0, len(every), 500):
            some = every[start : start + 500]
            self._store.command(
                f"INSERT INTO {_source(store)} (station, resource, feed, source_key, theme_key, version, "
                f"is_deleted, commit, held_since, _partition, {fields}) "
                "SELECT station, resource, feed, source_key, theme_key, newer, is_deleted, commit, since, "
                f"_partition, {fields} FROM {_source(store)} AS s FINAL INNER JOIN ("
                f"{' UNION ALL '.join(_held(row) for row in some)}"
                ") AS h USING (station, resource, feed, source_key) "
                "WHERE (station, resource, source_key) IN "
                f"({', '.join(_place(row) for row in some)}) AND s.version < h.newer"
            )

    def _write_marks(self, marks: Mapping[Place, Mark]) -> None:
        rows = pa.table(
            {
                "topic": pa.array([topic for topic, _ in marks]),
                "partition": pa.array([partition for _, partition in marks], pa.uint32()),
                "mark": pa.array([mark.text() for mark in marks.values()]),
                "at": pa.array([time.time_ns()] * len(marks), pa.uint64()),
            }
        )
        self._store.insert("theme.mark", rows)


def _source(store: str) -> str:
    return f"theme.{quoted(store + '_source')}"


def _with_version(frame: pl.DataFrame) -> pa.Table:
    high, low = version_parts(frame["version_text"])
    table = frame.drop("version_text").to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.append_column("version_high", high).append_column("version_low", low)


def _held(row: Mapping[str, object]) -> str:
    return (
        f"SELECT {literal(str(row['station']))} AS station, {literal(str(row['resource']))} AS resource, "
        f"toUInt8({row['feed']}) AS feed, {literal(str(row['source_key']))} AS source_key, "
        f"toUInt128('{int(str(row['version']), 16)}') AS newer, "
        f"fromUnixTimestamp64Micro(toInt64({row['held_since']}), 'UTC') AS since"
    )


def _place(row: Mapping[str, object]) -> str:
    return f"({', '.join(literal(str(row[name])) for name in ('station', 'resource', 'source_key'))})"
