"""The one loop that feeds every sink: from Kafka to write() and flush(), and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from kafka import TopicPartition

from datarail import metrics
from datarail.errors import BadRecord, Terminal, Transient
from datarail.position import Mark
from datarail.settings import Settings
from sinks.consumer import Partitions, commit, open_consumer
from sinks.feeds import TRAINS, Feed, Record
from sinks.fetching import Fetched, Fetching
from sinks.lateness import FRESH, caught_up
from sinks.passing import moved_on, new_in
from sinks.port import Arrival, Beside, Early, Sink
from sinks.registry import group
from sinks.upstream import Upstream
from sinks.watch import Cargo, Watch, cargo

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What a sink is handed at once, at most, in rows and in bytes as they were in Kafka; one train may be more.
ROWS, BYTES = 65_536, 16 << 20
#: A poll that brings nothing for so many seconds: there is no more. Longer than a patient fetch.
_LULL, _ASIDE = 0.4, 0.1
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Loop:
    """Feeds one sink until `stopped()` says so. `run` returns then, with everything flushed;
    it raises Terminal when going on would lose or falsify data."""

    def __init__(self, sink: Sink, settings: Settings, stopped: Callable[[], bool]) -> None:
        self.sink = sink
        self.settings = settings
        self.stopped = stopped
        self.feed: Feed = getattr(sink, "feed", TRAINS)
        self.lands_at_flush: bool = getattr(sink, "lands_at_flush", False)
        self.beside: Beside | None = sink if isinstance(sink, Beside) else None
        self.early: Early | None = sink if isinstance(sink, Early) else None
        self.watch = Watch(sink.name)
        self.consumer: Fetching
        self.partitions: Partitions
        self.upstream: Upstream
        self.marks: dict[TopicPartition, Mark] = {}  # handed to the sink; not yet durable
        self.durable: dict[TopicPartition, int] = {}
        self.unplaced: set[TopicPartition] = set()
        self.stranded: dict[TopicPartition, str] = {}
        self.unflushed: list[Cargo] = []
        self.unflushed_since: float | None = None
        self.caught_up = True  # by what was written last
        self.show_again: float | None = None

    def run(self) -> None:
        try:
            self.consumer, self.partitions = self._insisting(
                lambda: open_consumer(
                    self.settings.kafka_access,
                    group(self.sink.name),
                    self.feed.pattern,
                    patient=self.lands_at_flush,
                )
            )
        except _Stopped:
            self.sink.close()
            return
        self.consumer.on_unshown(self._unshown)
        self.upstream = Upstream(self.consumer)
        try:
            while not self.stopped():
                self._turn()
            self._flush_whole()
        except _Stopped:
            log.warning(
                "%s: stopping while a store is away; what was not flushed is read again", self.sink.name
            )
        finally:
            commit(self.consumer, self.durable)
            self.consumer.close()
            self.sink.close()

    def _turn(self) -> None:
        polled = self.consumer.poll(self._patience())
        self._take_up()
        for part in _portions(polled, self._open):
            self._write(part)
            if getattr(self.sink, "full", False):
                self._flush()
        if self.unflushed_since is not None and self._age() >= self._flush_after(bool(polled)):
            self._flush()
        elif self.early is not None and self._insisting(self.early.show):
            self._visible()
        if self.beside is not None:
            self._durably(self._insisting(self.beside.flushed_beside))
        self._show()

    @property
    def _flush_every(self) -> float:
        return getattr(self.sink, "flush_every", FRESH)

    def _flush_after(self, polled: bool) -> float:
        """Seconds from the first unflushed train to the flush. Larger blocks are for a sink that is
        behind: with no more to come none is waited for, and none once what comes is not late."""
        every = self._flush_every
        if not getattr(self.sink, "late", False):
            return every if polled else FRESH
        if polled:
            return FRESH if self.caught_up else every
        return every if self.upstream.more() else 0.0

    def _age(self) -> float:
        return 0.0 if self.unflushed_since is None else time.monotonic() - self.unflushed_since

    def _patience(self) -> float:
        """Seconds a poll may wait."""
        if getattr(self.sink, "late", False):
            return _ASIDE  # whether more is on its way is asked in between
        least = _LULL if self._flush_every > FRESH else 0.0
        most = 0.5
        if self.beside is not None:  # nobody wakes us when a flush has ended
            least, most = max(least, 0.02), 0.1
        return min(max(FRESH - self._age(), least), most)

    # -- where to go on

    def _take_up(self) -> None:
        self.unplaced |= self.partitions.changes()
        if not self.unplaced:
            return
        try:
            limits = self.consumer.bounds(self.unplaced)
            for partition in sorted(self.unplaced):
                self._place(partition, *limits[partition])
                self.unplaced.discard(partition)
        except Transient as error:
            metrics.ERRORS.labels(self.sink.name, "transient").inc()
            log.warning("%s: not reading yet: %s", self.sink.name, error)
            time.sleep(0.5)
        commit(self.consumer, dict(self.durable))

    def _place(self, partition: TopicPartition, begin: int, end: int) -> None:
        mark = self.sink.resume(partition.topic, partition.partition)
        where = f"{partition.topic}/{partition.partition}"
        if mark.offset > end:
            self._strand(
                partition,
                f"{where}: the {self.sink.name} store has passed offset {mark.offset}, but Kafka "
                f"ends at {end}: the topic was made anew or lost its end",
            )
            return
        if mark.offset < begin:
            if mark.offset or mark.seq:
                metrics.GAPS.labels(self.sink.name, _station(partition.topic)).inc()
                log.error(
                    "%s: %s: offsets %d to %d are gone from Kafka and were never landed here; "
                    "audit the station",
                    self.sink.name,
                    where,
                    mark.offset,
                    begin - 1,
                )
            else:
                log.warning("%s: %s: Kafka keeps it from offset %d only", self.sink.name, where, begin)
            mark = Mark(begin, mark.seq)
        self.marks[partition] = mark
        self.durable[partition] = mark.offset
        self.consumer.read(partition, mark.offset)
        log.info("%s: %s from offset %d", self.sink.name, where, mark.offset)

    def _strand(self, partition: TopicPartition, reason: str) -> None:
        # One partition stands still; the others go on. Only a person can say what is true.
        metrics.ERRORS.labels(self.sink.name, "stranded").inc()
        self.marks.pop(partition, None)
        self.stranded[partition] = reason
        self.consumer.stop(partition)
        log.error("%s: %s → datarail rebuild %s", self.sink.name, reason, self.sink.name)

    # -- trains

    def _open(self, record: Record) -> tuple[Arrival, int] | None:
        partition = TopicPartition(record.topic, record.partition)
        mark = self.marks.get(partition)
        if mark is None:
            return None  # it stands still
        where = f"{record.topic}/{record.partition} offset {record.offset}"
        if record.offset < mark.offset:
            self._strand(partition, f"{where} came after offset {mark.offset - 1}: the topic lost its end")
            return None
        if record.offset > mark.offset:
            metrics.GAPS.labels(self.sink.name, _station(record.topic)).inc()
            log.error("%s: %s: offsets from %d are gone from Kafka", self.sink.name, where, mark.offset)
        size = len(record.value or b"")
        try:
            arrival = self.feed.arrival(record, mark)
        except BadRecord as error:
            metrics.ERRORS.labels(self.sink.name, "bad_record").inc()
            if self.feed.trusted:
                raise Terminal(
                    f"{where} cannot be opened: {error}",
                    part=self.sink.name,
                    remedy="the agent wrote it and must not have: keep the record, report it",
                ) from error
            log.error("%s: %s is no train: %s", self.sink.name, where, error)
            self.marks[partition] = Mark(record.offset + 1, mark.seq)
            return None
        passed = new_in(arrival.train, mark, record.partition)
        station = arrival.train.manifest.station
        if passed.repeats:
            metrics.REPEATS.labels(self.sink.name, station).inc(passed.repeats)
            log.info("%s: %s: %d changes repeat and are dropped", self.sink.name, where, passed.repeats)
        if mark.seq:  # else it is the first train seen here
            for lane, first, last in passed.gaps:
                metrics.GAPS.labels(self.sink.name, station).inc()
                log.error(
                    "%s: %s: seq %d to %d of lane %s are missing",
                    self.sink.name,
                    where,
                    first,
                    last,
                    lane.label,
                )
        self.marks[partition] = moved_on(mark, record.offset, arrival.train)
        return Arrival(arrival.topic, arrival.partition, arrival.offset, passed.train, arrival.record), size

    def _write(self, portion: list[tuple[Arrival, int]]) -> None:
        arrivals = [arrival for arrival, _ in portion]
        loads = [load for arrival in arrivals for load in cargo(arrival.train)]
        self.caught_up = caught_up(arrivals)
        self._insisting(lambda: self.sink.write(arrivals))
        for arrival, size in portion:
            self.upstream.arrived(arrival)
            if not arrival.topic.startswith("raw."):  # the ledger reads both hops; a row counts once
                self.watch.passed(arrival.train, size)
        if self.lands_at_flush:
            self.unflushed += loads
        else:
            self.watch.landed(loads)
        if self.unflushed_since is None:
            self.unflushed_since = time.monotonic()

    def _flush(self) -> None:
        if self.beside is not None:
            if self._insisting(self.beside.flush_beside):
                self.unflushed_since = None
            return
        self._flush_whole()

    def _flush_whole(self) -> None:
        marks = self._insisting(self.sink.flush)
        self.unflushed_since = None
        self._visible()
        self._durably(marks)

    def _visible(self) -> None:
        if self.unflushed:
            self.watch.landed(self.unflushed)
            self.unflushed = []

    def _durably(self, marks: dict[tuple[str, int], Mark]) -> None:
        moved = {TopicPartition(*place): mark.offset for place, mark in marks.items()}
        moved = {place: offset for place, offset in moved.items() if place in self.marks}
        self.durable |= moved
        commit(self.consumer, moved)

    # -- troubles

    def _insisting(self, call: Callable[[], T]) -> T:
        """Call until it does not raise Transient."""
        wait = _FIRST_WAIT
        while True:
            try:
                return call()
            except Transient as error:
                metrics.ERRORS.labels(self.sink.name, "transient").inc()
                log.warning("%s: %s; again in %.1f s", self.sink.name, error, wait)
            until = time.monotonic() + wait
            while time.monotonic() < until:
                if self.stopped():
                    raise _Stopped
                time.sleep(min(0.2, wait))
            wait = min(wait * 2, _LONGEST_WAIT)

    def _unshown(self) -> None:
        self.show_again = time.monotonic() + 1.0

    def _show(self) -> None:
        self.watch.show()
        if self.show_again is not None and time.monotonic() >= self.show_again:
            self.show_again = None
            commit(self.consumer, dict(self.durable))
        behind = 0
        for partition, mark in self.marks.items():
            end = self.consumer.highwater(partition)
            if end is not None:
                lag = max(end - mark.offset, 0)
                behind += lag
                metrics.of(metrics.LAG, self.sink.name, partition.topic, str(partition.partition)).set(lag)
        if not behind:  # a sink that has landed all there is has not stalled
            metrics.of(metrics.PROGRESS, self.sink.name).set_to_current_time()


class _Stopped(Exception):
    """The process was asked to end while a store was away."""


def _portions(
    polled: dict[TopicPartition, list[Fetched]], open_one: Callable[[Record], tuple[Arrival, int] | None]
) -> Iterator[list[tuple[Arrival, int]]]:
    """What was polled, opened and cut to what a sink is handed at once."""
    portion: list[tuple[Arrival, int]] = []
    rows = size = 0
    for records in polled.values():
        for record in records:
            opened = open_one(record)
            if opened is None:
                continue
            more = opened[0].train.manifest.rows, opened[1]
            if portion and (rows + more[0] > ROWS or size + more[1] > BYTES):
                yield portion
                portion, rows, size = [], 0, 0
            portion.append(opened)
            rows, size = rows + more[0], size + more[1]
    if portion:
        yield portion


def _station(topic: str) -> str:
    return topic.partition(".")[2]
