"""Rows of `quarantine.changes` from the records of the topic `quarantine`. Pure.

The agent writes those (streams.quarantine tells their form) and may write one twice after a
crash; a change is told by station, partition, lane, epoch and seq (a topic made anew counts from 1
again, but of a later epoch), a record by its place in Kafka, and the table keeps one row of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from datarail.errors import BadRecord
from datarail.position import Lane
from sinks.clickhouse import ClickHouse, create_table
from sinks.feeds import QUARANTINE_PATTERN, Feed, Record, open_record
from sinks.planned import Block, Range
from sinks.port import Arrival

TABLE = "changes"
FULL_NAME = f"quarantine.{TABLE}"
_LANES = {lane.label: int(lane) for lane in Lane}
_MOMENT = pa.timestamp("us", "UTC")

#: Column → (ClickHouse type, Arrow type). source_*: the train's place; offset, partition: the
#: quarantine record's own. rules, items: of the hard findings, the reasons it was held for.
COLUMNS: dict[str, tuple[str, pa.DataType]] = {
    "kind": ("LowCardinality(String)", pa.utf8()),
    "station": ("LowCardinality(String)", pa.utf8()),
    "resource": ("LowCardinality(String)", pa.utf8()),
    "key": ("String", pa.utf8()),
    "op": ("LowCardinality(String)", pa.utf8()),
    "lane": ("UInt8", pa.uint8()),
    "seq": ("UInt64", pa.uint64()),
    "epoch": ("UInt32", pa.uint32()),
    "pos": ("UInt64", pa.uint64()),
    "idx": ("UInt64", pa.uint64()),
    "part": ("UInt8", pa.uint8()),
    "commit": ("DateTime64(6, 'UTC')", _MOMENT),
    "held": ("DateTime64(6, 'UTC')", _MOMENT),
    "rules": ("Array(String)", pa.list_(pa.utf8())),
    "items": ("Array(String)", pa.list_(pa.utf8())),
    "findings": ("String", pa.utf8()),
    "written": ("String", pa.utf8()),
    "unchanged": ("Array(String)", pa.list_(pa.utf8())),
    "cleaned": ("String", pa.utf8()),
    "error": ("String", pa.utf8()),
    "rows_lost": ("UInt64", pa.uint64()),
    "record": ("String", pa.utf8()),
    "source_topic": ("LowCardinality(String)", pa.utf8()),
    "source_partition": ("UInt32", pa.uint32()),
    "source_offset": ("UInt64", pa.uint64()),
    "partition": ("UInt32", pa.uint32()),
    "offset": ("UInt64", pa.uint64()),
}


def row(record: Mapping[str, Any], partition: int, offset: int) -> dict[str, Any]:
    """One row from one record. Raises BadRecord when a field is missing or of another kind."""
    try:
        common = {"kind": record["kind"], "station": record["station"], "held": record["held"]}
        if record["kind"] == "change":
            found = _change(record)
        elif record["kind"] == "record":
            found = _unreadable(record)
        else:
            raise BadRecord(f"a quarantine record is of kind change or record, not {record['kind']!r}")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRecord(f"a quarantine record without what it must have: {error!r}") from error
    return _EMPTY | common | found | {"partition": partition, "offset": offset}


_EMPTY: dict[str, Any] = {
    name: [] if kind.startswith("Array") else "" if "String" in kind else 0
    for name, (kind, _) in COLUMNS.items()
}


def _change(record: Mapping[str, Any]) -> dict[str, Any]:
    hard = [finding for finding in record["findings"] if finding["severity"] == "hard"]
    identity = record["identity"]
    return {
        **{name: record[name] for name in ("resource", "key", "op", "seq", "commit", "unchanged")},
        "lane": _LANES[record["lane"]],
        "epoch": identity["epoch"],
        "pos": identity["position"],
        "idx": identity["index"],
        "part": identity["part"],
        "rules": sorted({finding["rule"] for finding in hard}),
        "items": sorted({finding["item"] for finding in hard}),
        **{name: orjson.dumps(record[name]).decode() for name in ("findings", "written", "cleaned")},
        "rows_lost": 1,
        "source_topic": f"raw.{record['station']}",
        "source_partition": record["partition"],
    }


def _unreadable(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": f"{record['topic']}/{record['partition']}/{record['offset']}",
        "commit": record["held"],
        "rules": ["unreadable"],
        "findings": "[]",
        "error": record["error"],
        "rows_lost": sum(record["resources"].values()),
        "record": orjson.dumps(
            {name: record.get(name) for name in ("resources", "headers", "value")}
        ).decode(),
        "source_topic": record["topic"],
        "source_partition": record["partition"],
        "source_offset": record["offset"],
    }


def open_checked(record: Record) -> Arrival:
    """The record, seen to be one that can be landed; else BadRecord."""
    arrival = open_record(record)
    try:
        row(orjson.loads(arrival.record), arrival.partition, arrival.offset)
    except orjson.JSONDecodeError as error:
        raise BadRecord(f"not JSON: {error}") from error
    return arrival


#: The agent may write anything here that the table cannot take: then it is a bug, and the sink stops.
FEED = Feed(QUARANTINE_PATTERN, open_checked)


class QuarantineLanding:
    """sinks.planned.Landing of the quarantine."""

    name = "quarantine"
    database = "quarantine"
    feed = FEED
    row_key: Sequence[str] = ("partition", "offset")
    landed = "landed"
    # An insert's price is the server's, whatever is in it; a second more is nobody's trouble.
    fresh = 2.0

    def __init__(self) -> None:
        self._there = False

    def blocks(self, arrivals: list[Arrival], ranges: Sequence[Range]) -> Iterator[Block]:
        rows = [row(orjson.loads(one.record), one.partition, one.offset) for one in arrivals]
        columns = [pa.array([found[name] for found in rows], kind) for name, (_, kind) in COLUMNS.items()]
        yield Block(TABLE, pa.Table.from_arrays(columns, list(COLUMNS)))

    def prepare(self, store: ClickHouse, block: Block) -> None:
        if not self._there:
            columns = [f"{name} {kind}" for name, (kind, _) in COLUMNS.items()]
            create_table(
                store,
                FULL_NAME,
                [*columns, "landed DateTime64(3, 'UTC') DEFAULT now64(3)"],
                "(station, resource, kind, source_topic, source_partition, lane, epoch, seq, source_offset)",
                engine="ReplacingMergeTree",
            )
            self._there = True

    def within(self, ranges: Sequence[Range]) -> str:
        return " OR ".join(
            f"(partition = {span.partition} AND offset >= {span.first} AND offset < {span.end})"
            for span in ranges
        )

    def holds(self, table: str, topic: str) -> bool:
        return table == TABLE
