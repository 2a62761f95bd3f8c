"""The agent's loop over raw trains: take what is there, clean it at once, send, then acknowledge.

DESIGN rule 5. Order for each partition: clean records and quarantine are sent, then the clean train,
which is the mark, and when all is acknowledged the raw records are acknowledged to Faust. Where the
records can be made again from the train (streams.departure) nothing is waited for in between; then
whoever reads the mark sends those that did not come with it. A crash at any moment repeats clean
records at most, and they carry their identity.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from typing import Any

from datarail import metrics, topics
from datarail.contract import Contract
from datarail.errors import Transient
from datarail.kafka_access import KafkaAccess
from streams.clean import DATA_ERRORS
from streams.departure import Departure
from streams.gauges import HOP, Gauges
from streams.last_train import lacking, read_mark
from streams.marks import Passed
from streams.opening import Opened, RawRecord, give_up, halves, open_record
from streams.passage import Passage
from streams.publisher import Publisher
from streams.quarantine import LARGEST_RECORD

log = logging.getLogger(__name__)

#: One departure takes in no more than this: memory stays bounded, and so does its train. Rows and
#: opened bytes; more rows make longer cars, and a car costs as much as some 400 rows.
MOST_ROWS = 48_000
MOST_OPENED = 24 << 20
#: Raw bytes, as Kafka has them, taken from a partition at once.
MOST_BYTES = 3 << 20
#: Raw bytes that wait, of all partitions. With 16 of them, 6 MB gave each departure so little that it
#: cost 12.1 µs a row instead of 10.7.
MOST_WAITING = 16 << 20
#: Partitions whose trains are passed on at the same time: one is cleaned while another's wait for
#: Kafka. More would only take memory.
MOST_AT_ONCE = 2
_BACKOFF = (0.1, 0.3, 1.0, 3.0, 5.0)

Place = tuple[str, int]  # topic, partition


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Station:
    """What the loop knows of one station. Raises ContractError for rules that cannot be."""

    def __init__(self, contract: Contract) -> None:
        self.passage = Passage(contract, now_us)
        self.drift_told: set[tuple[str, tuple[str, ...]]] = set()


class Loop:
    """Passes raw trains on. `current` tells whether an event still is ours after a rebalance;
    `highwater` gives a partition's end, for the lag."""

    def __init__(
        self,
        access: KafkaAccess,
        stations: Sequence[Station],
        current: Callable[[Any], bool],
        highwater: Callable[[str, int], int | None],
    ) -> None:
        self._access = access
        self._stations = {topics.raw(station.passage.station): station for station in stations}
        self._publisher = Publisher(access)
        self._current = current
        self._highwater = highwater
        self._gauges = Gauges()
        self._waiting: dict[Place, deque[Any]] = {}
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._passed: dict[Place, Passed] = {}
        self._forgotten = 0

    async def put(self, event: Any) -> None:
        """Take in one event; waits while there is more than enough to do."""
        message = event.message
        self._waiting.setdefault((message.topic, message.partition), deque()).append(event)
        self._waiting_bytes += len(message.value or b"")
        self._arrived.set()
        while self._waiting_bytes > MOST_WAITING:
            self._room.clear()
            await self._room.wait()

    def forget(self) -> None:
        """Partitions may have gone to another worker and come back: the marks are read anew."""
        self._passed.clear()
        self._forgotten += 1

    async def run(self) -> None:
        """Work until cancelled. Any exception that comes out of here is a bug.

        While one partition's trains are on their way to Kafka, another's are cleaned.
        """
        refreshed = 0.0
        under_way: dict[Place, asyncio.Task[None]] = {}
        try:
            while True:
                self._arrived.clear()
                for place in self._oldest_first(under_way):
                    if len(under_way) < MOST_AT_ONCE:
                        under_way[place] = asyncio.create_task(self._pass_on(place, self._take(place)))
                arrival = asyncio.create_task(self._arrived.wait())
                await asyncio.wait([arrival, *under_way.values()], return_when=asyncio.FIRST_COMPLETED)
                arrival.cancel()
                for place in [place for place, task in under_way.items() if task.done()]:
                    under_way.pop(place).result()
                if time.monotonic() - refreshed > 2:
                    self._gauges.refresh()
                    refreshed = time.monotonic()
        finally:
            for task in under_way.values():
                task.cancel()

    async def close(self) -> None:
        await self._publisher.close()

    def _oldest_first(self, under_way: Container[Place]) -> list[Place]:
        """Partitions with something to do, the one that has waited longest first."""
        return sorted(
            (place for place, events in self._waiting.items() if events and place not in under_way),
            key=lambda place: self._waiting[place][0].message.timestamp,
        )

    def _take(self, place: Place) -> list[Any]:
        waiting = self._waiting[place]
        taken: list[Any] = []
        size = 0
        while waiting and (not taken or size < MOST_BYTES):
            event = waiting.popleft()
            length = len(event.message.value or b"")
            self._waiting_bytes -= length
            if self._current(event):
                taken.append(event)
                size += length
        self._room.set()
        return taken

    async def _pass_on(self, place: Place, events: list[Any]) -> None:
        attempt = 0
        while events:
            generation = self._publisher.generation
            try:
                await self._attempt(place, events)
                return
            except Transient as error:
                # What of it arrived is not known: forget the mark, read it again, do what is left.
                wait = _BACKOFF[min(attempt, len(_BACKOFF) - 1)]
                attempt += 1
                metrics.ERRORS.labels(HOP, "transient").inc()
                log.warning("%s/%d: %s; again in %.1f s (attempt %d)", *place, error, wait, attempt)
                self._passed.pop(place, None)
                await self._publisher.renew(generation)
                await asyncio.sleep(wait)
                events = [event for event in events if self._current(event)]

    async def _attempt(self, place: Place, events: list[Any]) -> None:
        topic, partition = place
        station = self._stations[topic]
        name = station.passage.station
        forgotten = self._forgotten
        known = self._passed.get(place)
        if known is None:
            known = await self._last_passed(station, partition)
            log.info("%s/%d: going on after %s", topic, partition, known)
            self._keep(place, known, forgotten)
        passed = known.copy()
        group: list[Opened] = []
        waiting: list[Any] = []
        rows = size = 0
        for event in events:
            message = event.message
            if message.offset < passed.offset:
                event.ack()  # a clean train covers it already
                continue
            headers = dict(message.headers or ())
            record = RawRecord(topic, partition, message.offset, message.value, headers)
            before = passed.copy()
            opened = open_record(record, name, passed, now_us())
            if group and (rows + opened.rows > MOST_ROWS or size + opened.size > MOST_OPENED):
                await self._depart(station, place, group, before)
                self._acknowledge(waiting, before, place, forgotten)
                group, rows, size = [], 0, 0
            self._tell(place, message.offset, opened)
            group.append(opened)
            waiting.append(event)
            rows += opened.rows
            size += opened.size
        if group:
            await self._depart(station, place, group, passed)
            self._acknowledge(waiting, passed, place, forgotten)

    async def _last_passed(self, station: Station, partition: int) -> Passed:
        """The mark as Kafka has it, with all that goes with the train that left it."""
        passage = station.passage
        passed, train = await read_mark(self._access, passage.station, partition)
        if train is not None:
            records = await lacking(self._access, passage.again(train, partition), partition)
            if records:
                log.info(
                    "%s/%d: the last train came without its records of %s: sent again",
                    *(passage.station, partition, ", ".join(records)),
                )
                await self._publisher.records(records, partition, train.manifest.captured // 1000)
        return passed

    def _acknowledge(self, events: list[Any], passed: Passed, place: Place, forgotten: int) -> None:
        self._keep(place, passed, forgotten)
        for event in events:
            event.ack()
        events.clear()
        end = self._highwater(*place)
        if end is not None:
            self._gauges.lag(*place, max(end - passed.offset, 0))

    def _keep(self, place: Place, passed: Passed, forgotten: int) -> None:
        # A mark from before a rebalance says nothing of what another worker passed since.
        if forgotten == self._forgotten:
            self._passed[place] = passed

    def _tell(self, place: Place, offset: int, opened: Opened) -> None:
        self._gauges.opened(self._stations[place[0]].passage.station, opened)
        for gap in opened.gaps:
            log.error(
                "%s/%d at %d: changes %d–%d of the %s lane never came",
                *(*place, offset, gap.first, gap.last, gap.lane.label),
            )
        if opened.repeats:
            log.info("%s/%d at %d: %d changes came before and are dropped", *place, offset, opened.repeats)
        if opened.error:
            log.error("%s/%d at %d goes to quarantine whole: %s", *place, offset, opened.error)

    async def _depart(self, station: Station, place: Place, group: list[Opened], passed: Passed) -> None:
        departures = self._departures(station, place[1], group, passed)
        for opened in group:
            opened.cars.clear()  # what is on its way to Kafka need not be held twice
        for departure in departures:
            await self._publisher.departure(topics.train(station.passage.station), place[1], departure)
            self._gauges.departed(station.passage.station, departure)
            self._tell_drift(station, departure)

    def _departures(
        self, station: Station, partition: int, group: list[Opened], passed: Passed
    ) -> list[Departure]:
        """One departure, or several where one train would be larger than Kafka takes."""
        try:
            departure = station.passage.depart(group, partition, passed)
        except DATA_ERRORS:
            # Cleaning finds its faulty rows itself: this is about cars together, so take them apart.
            if len(group) == 1:
                raise
        else:
            if len(departure.value) <= LARGEST_RECORD:
                return [departure]
            log.info(
                "%s/%d: %d bytes in one train, dividing it",
                station.passage.station,
                partition,
                len(departure.value),
            )
        if len(group) == 1:
            parts = halves(group[0])
            if parts is None:
                return [self._alone(station, partition, group[0], passed)]
            first, second = [parts[0]], [parts[1]]
        else:
            first, second = group[: len(group) // 2], group[len(group) // 2 :]
        upto = _after(first, passed)
        return [
            *self._departures(station, partition, first, upto),
            *self._departures(station, partition, second, passed),
        ]

    def _alone(self, station: Station, partition: int, opened: Opened, passed: Passed) -> Departure:
        """One change that with its cleaned values is too large: held as it was written, or, where
        even that is too much, told in quarantine and counted as unreadable."""
        name = station.passage.station
        departure = station.passage.depart([opened], partition, passed, hold=True)
        if len(departure.value) > LARGEST_RECORD:
            given = give_up(opened, name, topics.raw(name), partition, now_us())
            departure = station.passage.depart([given], partition, passed)
        log.error("%s/%d at %d: a change is too large and is held", name, partition, opened.raw[0])
        return departure

    def _tell_drift(self, station: Station, departure: Departure) -> None:
        for made in departure.made:
            drift = (made.entry.resource, made.missing)
            if made.missing and drift not in station.drift_told:
                station.drift_told.add(drift)
                log.error(
                    "%s, resource %s: the source no longer has %s, which the contract names → "
                    "it counts as null; correct the contract, or bring the column back",
                    *(station.passage.station, drift[0], ", ".join(drift[1])),
                )


def _after(group: list[Opened], passed: Passed) -> Passed:
    """The mark after these, which come before what `passed` is the mark of."""
    upto = passed.copy()
    upto.offset = group[-1].raw[1]
    upto.last = next((each.last for each in reversed(group) if each.last), None)
    for each in group:
        for lane, (_, last) in each.seq.items():
            upto.seq[lane] = last
    return upto
