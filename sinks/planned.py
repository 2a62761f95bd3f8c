"""Exactly once into ClickHouse: ranges of offsets planned durably, inserted under tokens, marked.

A batch is a set of offset ranges, one per partition. In order, and each step safe to repeat:
  1. `plan`: the batch's ranges are written down. A plan of somebody else for the same offsets
     means this process is a zombie: it gives up (both would, at worst).
  2. each block is inserted under the token "<batch>/<table>/<shape>".
  3. `mark`: where each partition goes on.
After a crash between 1 and 3 the very same ranges are read again from Kafka, and the same
tokens drop what had already landed (DESIGN rule 8). A batch may span partitions, which makes
blocks larger; whoever is given one of them completes the whole of it.
ClickHouse writes its log of tokens just before the block itself: killed between the two it would
drop a repeat of what never landed. So after any trouble what is there is looked at, row by row.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl
import pyarrow as pa

from datarail.errors import Terminal, Transient
from datarail.position import Mark
from datarail.settings import Settings
from sinks.clickhouse import ClickHouse, create_database, create_table, literal, quoted
from sinks.feeds import Feed
from sinks.lateness import flush_after, lateness
from sinks.passing import moved_on
from sinks.port import Arrival
from sinks.reread import reread

log = logging.getLogger(__name__)
Place = tuple[str, int]

#: A buffer is flushed at this size even before its time; bytes as in Kafka, compressed: some
#: five times as many in memory.
FULL_ROWS, FULL_BYTES = 200_000, 16 << 20
#: A block's missing rows are given so often before it is waited.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Block:
    """Rows for one insert. shape tells blocks of one table and batch apart (their columns)."""

    table: str
    rows: pa.Table
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets [first, end) of one partition."""

    topic: str
    partition: int
    first: int
    end: int


class Landing(Protocol):
    """What one kind of planned sink adds: its tables, and its rows from arrivals (pure)."""

    name: str
    database: str
    feed: Feed
    #: Columns of every table that together tell a row, Kafka's place among them.
    row_key: Sequence[str]
    #: Column of every table saying when the row was inserted.
    landed: str
    #: Seconds between flushes at the head of the line.
    fresh: float

    def blocks(self, arrivals: list[Arrival], ranges: Sequence[Range]) -> Iterator[Block]:
        """All rows of a batch; the same arrivals give the same blocks."""
        ...

    def prepare(self, store: ClickHouse, block: Block) -> None:
        """Make sure the block's table and columns exist."""
        ...

    def within(self, ranges: Sequence[Range]) -> str:
        """SQL condition for the rows of these ranges."""
        ...

    def holds(self, table: str, topic: str) -> bool:
        """Whether the table has rows that came by this topic."""
        ...


class PlannedSink:
    """A sinks.port.Sink that lands blocks in ClickHouse, each row exactly once."""

    lands_at_flush = True

    def __init__(self, settings: Settings, landing: Landing, store: ClickHouse | None = None) -> None:
        self.name = landing.name
        self.feed = landing.feed
        self.settings = settings
        self.landing = landing
        self.store = store or ClickHouse(settings.clickhouse)
        self._marks: dict[Place, Mark] = {}  # of what was written
        self._durable: dict[Place, Mark] = {}  # of what was flushed
        self._buffer: list[Arrival] = []
        self._rows = self._bytes = 0
        self._late = 0.0  # of the first that is buffered; 0 with none
        self._planned: tuple[str, list[Range]] | None = None
        self._sure = False  # the plan is known to be written, and the only one for its offsets
        self._shaken = False
        self._ready = False

    # -- the port

    def resume(self, topic: str, partition: int) -> Mark:
        self._open()
        for batch, ranges in self._pending(topic, partition):
            self._complete(batch, ranges)
        mark = self._marks[topic, partition] = self._durable[topic, partition] = self._mark(topic, partition)
        return mark

    def write(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            if not self._buffer:
                self._late = lateness(arrival)
            place = (arrival.topic, arrival.partition)
            self._marks[place] = moved_on(self._marks.get(place, Mark()), arrival.offset, arrival.train)
            self._buffer.append(arrival)
            self._rows += arrival.train.manifest.rows
            self._bytes += len(arrival.record) + sum(car.bytes for car in arrival.train.manifest.cars)

    @property
    def full(self) -> bool:
        return self._rows >= FULL_ROWS or self._bytes >= FULL_BYTES

    @property
    def flush_every(self) -> float:
        """Seconds to wait from the first unflushed row."""
        return flush_after(self._late, self.landing.fresh)

    @property
    def late(self) -> bool:
        return self._late > self.landing.fresh

    def flush(self) -> dict[Place, Mark]:
        if not self._buffer:
            return {}
        try:
            if self._planned is None:
                self._planned = (uuid.uuid4().hex, self._ranges())
            batch, ranges = self._planned
            if not self._sure:
                self._plan(batch, ranges)
                self._sure = True
            self._land(batch, self._buffer, ranges, look=self._shaken)
            marks = {(span.topic, span.partition): self._marks[span.topic, span.partition] for span in ranges}
            self._write_marks(marks)
        except Transient:
            self._shaken = True
            raise
        self._durable |= marks
        self._buffer, self._rows, self._bytes, self._late = [], 0, 0, 0.0
        self._planned, self._sure, self._shaken = None, False, False
        return marks

    def close(self) -> None:
        self.store.close()

    # -- a batch

    def _ranges(self) -> list[Range]:
        # From the last mark on, so that ranges join without a seam whatever Kafka left out.
        places = sorted({(arrival.topic, arrival.partition) for arrival in self._buffer})
        first = {place: self._durable.get(place, Mark()).offset for place in places}
        return [Range(*place, first[place], self._marks[place].offset) for place in places]

    def _plan(self, batch: str, ranges: list[Range]) -> None:
        self._write_plan(batch, ranges)
        rows = self.store.rows(
            f"SELECT batch, topic, partition, first, void FROM {self._table('plan')} "
            f"WHERE {_reaching_beyond(ranges)}"
        )
        end = {(span.topic, span.partition): span.end for span in ranges}
        voided = {batch, *(other for other, *_, void in rows if void)}
        for other, topic, partition, first, _ in rows:
            if other not in voided and first < end[topic, partition]:
                self._write_plan(batch, ranges, void=True)
                raise Terminal(
                    f"another {self.name} process is landing {topic}/{partition} from offset {first}",
                    part=self.name,
                    remedy="this one stops; started again it takes up where the other one is",
                )

    def _land(self, batch: str, arrivals: list[Arrival], ranges: Sequence[Range], *, look: bool) -> None:
        for block in self.landing.blocks(arrivals, ranges):
            self.landing.prepare(self.store, block)
            token = f"{batch}/{block.table}/{block.shape}"
            self.store.insert(self._table(block.table), block.rows, token)
            if look:
                self._mend(batch, block, ranges, token)

    def _mend(self, batch: str, block: Block, ranges: Sequence[Range], token: str) -> None:
        """Until all of a block is there. Each try has a token, which a killed server may know already."""
        for number in range(_TRIES):
            missing = self._missing(batch, block, ranges)
            if missing is None:
                return
            log.warning(
                "%s: %s: %d rows under a known token had not landed", self.name, block.table, len(missing)
            )
            self.store.insert(self._table(block.table), missing, f"{token}/mended/{number}")
        raise Transient(f"{block.table} does not keep what it is given", part=self.name)

    def _missing(self, batch: str, block: Block, ranges: Sequence[Range]) -> pa.Table | None:
        keys = ", ".join(quoted(column) for column in self.landing.row_key)
        there = self.store.table(
            f"SELECT {keys} FROM {self._table(block.table)} WHERE ({self.landing.within(ranges)}) AND "
            # By when it landed, so that years of history need not be read.
            f"{quoted(self.landing.landed)} >= (SELECT min(at) - INTERVAL 1 MINUTE "
            f"FROM {self._table('plan')} WHERE batch = {{batch:String}})",
            batch=batch,
        )
        if there.num_rows == 0:
            return block.rows if block.rows.num_rows else None
        keyed = block.rows.select(self.landing.row_key)
        rows = pl.DataFrame(pl.from_arrow(keyed)).with_row_index("#")
        seen = pl.DataFrame(pl.from_arrow(there.cast(keyed.schema)))
        left = rows.join(seen, on=list(self.landing.row_key), how="anti", nulls_equal=True)["#"]
        return block.rows.take(pa.array(left.to_numpy())) if len(left) else None

    # -- after a crash

    def _pending(self, topic: str, partition: int) -> list[tuple[str, list[Range]]]:
        """Batches that were planned and not marked, and have a range of this partition."""
        plan = self._table("plan")
        found = self.store.rows(
            f"SELECT batch, topic, partition, first, end FROM {plan} "
            f"WHERE batch IN (SELECT batch FROM {plan} WHERE topic = {{topic:String}} "
            "AND partition = {partition:UInt32} AND end > {mark:UInt64}) AND "
            f"batch NOT IN (SELECT batch FROM {plan} WHERE void) "
            "GROUP BY batch, topic, partition, first, end ORDER BY min(at), batch, topic, partition",
            topic=topic,
            partition=partition,
            mark=self._mark(topic, partition).offset,
        )
        batches: dict[str, list[Range]] = {}
        for batch, *span in found:
            batches.setdefault(batch, []).append(Range(*span))
        return list(batches.items())

    def _complete(self, batch: str, ranges: list[Range]) -> None:
        before = {(span.topic, span.partition): self._mark(span.topic, span.partition) for span in ranges}
        if any(before[span.topic, span.partition].offset != span.first for span in ranges):
            # Somebody else landed these offsets under another plan; this one never began.
            self._write_plan(batch, ranges, void=True)
            return
        log.info("%s: completing the batch that a crash cut short: %s", self.name, ranges)
        arrivals, after = reread(self.settings, self.feed, ranges, before)
        self._land(batch, arrivals, ranges, look=True)
        self._write_marks(after)

    # -- tables

    def _open(self) -> None:
        if self._ready:
            return
        create_database(self.store, self.landing.database)
        create_bookkeeping(self.store, self.landing.database)
        self._ready = True

    def _mark(self, topic: str, partition: int) -> Mark:
        found = self.store.rows(
            f"SELECT argMax(mark, offset) FROM {self._table('mark')} "
            "WHERE topic = {topic:String} AND partition = {partition:UInt32} HAVING count() > 0",
            topic=topic,
            partition=partition,
        )
        return Mark.parse(found[0][0]) if found else Mark()

    def _write_plan(self, batch: str, ranges: Sequence[Range], *, void: bool = False) -> None:
        rows = pa.table(
            {
                "batch": pa.array([batch] * len(ranges)),
                "topic": pa.array([span.topic for span in ranges]),
                "partition": pa.array([span.partition for span in ranges], pa.uint32()),
                "first": pa.array([span.first for span in ranges], pa.uint64()),
                "end": pa.array([span.end for span in ranges], pa.uint64()),
                "void": pa.array([void] * len(ranges)),
            }
        )
        self.store.insert(self._table("plan"), rows)

    def _write_marks(self, marks: dict[Place, Mark]) -> None:
        rows = pa.table(
            {
                "topic": pa.array([topic for topic, _ in marks]),
                "partition": pa.array([partition for _, partition in marks], pa.uint32()),
                "offset": pa.array([mark.offset for mark in marks.values()], pa.uint64()),
                "mark": pa.array([mark.text() for mark in marks.values()]),
            }
        )
        self.store.insert(self._table("mark"), rows)

    def _table(self, name: str) -> str:
        return f"{quoted(self.landing.database)}.{quoted(name)}"


def create_bookkeeping(store: ClickHouse, database: str) -> None:
    """The tables `plan` and `mark` of a database."""
    place = ["topic String", "partition UInt32"]
    create_table(
        store,
        f"{quoted(database)}.plan",
        [
            "batch String",
            *place,
            "first UInt64",
            "end UInt64",
            "void Bool",
            "at DateTime64(6, 'UTC') DEFAULT now64(6)",
        ],
        "(topic, partition, end)",
        ttl="toDateTime(at) + INTERVAL 7 DAY",
    )
    create_table(
        store,
        f"{quoted(database)}.mark",
        [*place, "offset UInt64", "mark String"],
        "(topic, partition)",
        engine="ReplacingMergeTree(offset)",
    )


def _reaching_beyond(ranges: Sequence[Range]) -> str:
    # Asked at every flush, of a week of plans: by its end the table's order finds the last few. What
    # else there is to ask costs less here than the server takes to understand it.
    return " OR ".join(
        f"topic = {literal(span.topic)} AND partition = {span.partition} AND end > {span.first}"
        for span in ranges
    )
