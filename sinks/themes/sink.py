"""The themes sink: trains → golden records. Redis first, then what each source key contributed,
then (within a second) ClickHouse.

Nothing here must happen exactly once: every store decides by version, so a batch may come again,
whole or cut in another place. A store that is ahead is not changed by what it knows already.

A large batch is told to the stores on a thread of its own, part by part, while its next part or the
next batch, of another partition, is made ready (sinks.themes.under_way). So neither Redis nor this
process waits for the other. ClickHouse is always told beside: a golden record does not wait for an
insert of others.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from datarail.contract import Contract, StoreName
from datarail.errors import Transient
from datarail.position import Mark
from datarail.settings import Settings
from datarail.themes import Theme
from sinks.clickhouse import ClickHouse
from sinks.contributions import ContributionStores
from sinks.lateness import FRESH, flush_after, lateness
from sinks.partition import Partition, gathered, mark_after
from sinks.past import Past
from sinks.port import Arrival
from sinks.redis_calls import connect
from sinks.reduced import Reduced
from sinks.themes.golden import Golden, Turn
from sinks.themes.landing import Landing
from sinks.themes.making import Making
from sinks.themes.plan import fingerprint, plan_station
from sinks.themes.table import ThemeTables, Waiting
from sinks.themes.under_way import UnderWay

log = logging.getLogger(__name__)
Place = tuple[str, int]

#: Batches of more source keys are told to the stores on the thread beside.
_LARGE = 2000


class ThemesSink:
    """sinks.port.Sink of the theme stores."""

    name = "themes"

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        themes: Mapping[StoreName, Theme],
        golden: Golden,
        tables: ThemeTables,
        stores: ContributionStores,
        past: Past,
    ) -> None:
        self._plans = {station: plan_station(contract, themes) for station, contract in contracts.items()}
        self._golden = golden
        self._making = Making(self._plans, golden)
        self._tables = tables
        self._stores = stores
        self._past = past
        self._open: dict[Place, Partition] = {}
        self._beside = ThreadPoolExecutor(1, "landing")
        #: By partition, the batch that is being told to the stores; only its thread touches the
        #: tables meanwhile, and nothing else of that partition is begun.
        self._under_way: dict[Place, UnderWay] = {}
        self._flusher = ThreadPoolExecutor(1, "flush")
        #: What ClickHouse is being told beside; it alone uses the tables' connection meanwhile.
        self._flushing: tuple[Future[dict[Place, Mark]], Waiting] | None = None
        self._durable: dict[Place, Mark] = {}  # not yet told to the loop
        self._late: float | None = None  # of the first train that is not flushed

    @classmethod
    def of(
        cls, settings: Settings, contracts: Mapping[str, Contract], themes: Mapping[StoreName, Theme]
    ) -> ThemesSink:
        """With the line's own stores; nothing is connected yet."""
        return cls(
            contracts,
            themes,
            Golden(connect(settings.redis)),
            ThemeTables(ClickHouse(settings.clickhouse), themes),
            ContributionStores(settings.home, cls.name),
            Past(ClickHouse(settings.clickhouse)),
        )

    # -- the port

    def resume(self, topic: str, partition: int) -> Mark:
        place = (topic, partition)
        self._settle_all()
        self._settle_flush()
        self.release(topic, partition)
        part = Partition(topic, partition, self._stores.open(topic, partition))
        try:
            mark = self._resume(part)
        except BaseException:
            part.contributions.close()
            raise
        self._open[place] = part
        return mark

    def write(self, arrivals: list[Arrival]) -> None:
        by_place: dict[Place, list[Arrival]] = {}
        for arrival in arrivals:
            by_place.setdefault((arrival.topic, arrival.partition), []).append(arrival)
        if self._late is None and arrivals:
            self._late = lateness(arrivals[0])
        # What is reduced while a batch before is being told asks nothing of the partitions.
        cars = [
            (part := self._open[place], gathered(some, self._plans.get(part.station, {})))
            for place, some in by_place.items()
        ]
        reduced = self._making.reduced(cars)
        for (part, _), some, theirs in zip(cars, by_place.values(), reduced, strict=True):
            self._settle((part.topic, part.number))
            self._write(part, theirs, mark_after(some, part.mark))

    @property
    def full(self) -> bool:
        return self._tables.full

    @property
    def flush_every(self) -> float:
        return flush_after(self._late or 0.0)

    @property
    def late(self) -> bool:
        return self.flush_every > FRESH

    def flush(self) -> dict[Place, Mark]:
        self._settle_all()
        self._settle_flush()
        self._durable |= self._tables.flush()
        self._late = None
        return self._told()

    def flush_beside(self) -> bool:
        """Begin to flush on a thread; false while the flush before is not done, unless full: then
        it is waited for."""
        if self._flushing is not None and not self._flushing[0].done() and not self.full:
            return False
        self._settle_all()
        self._flush_what_waits()
        self._late = None
        return True

    def flushed_beside(self) -> dict[Place, Mark]:
        """The marks that flushes beside have made durable since the last call."""
        if self._flushing is not None and self._flushing[0].done():
            self._settle_flush()
        return self._told()

    def release(self, topic: str, partition: int) -> None:
        """The group gave the partition to somebody else, who may be on this machine."""
        place = (topic, partition)
        if place in self._under_way:
            self._under_way.pop(place).end()  # what failed is read again
        part = self._open.pop(place, None)
        if part is not None:
            part.contributions.close()

    def close(self) -> None:
        self._beside.shutdown()
        self._flusher.shutdown()
        for part in self._open.values():
            part.contributions.close()
        self._open.clear()
        self._golden.close()
        self._tables.close()

    # -- ClickHouse, beside

    def _flush_what_waits(self) -> None:
        """After the flush before."""
        self._settle_flush()
        self._begin_flush(self._tables.take())

    def _begin_flush(self, taken: Waiting) -> None:
        if taken.count or taken.cleared or taken.marks:
            self._flushing = (self._flusher.submit(self._tables.land, taken), taken)

    def _settle_flush(self) -> None:
        """Wait for the flush beside; where the store was away it is tried once more, and Transient
        raised."""
        if self._flushing is None:
            return
        done, taken = self._flushing
        try:
            self._durable |= done.result()
        except Transient:
            self._begin_flush(taken)
            raise
        self._flushing = None

    def _told(self) -> dict[Place, Mark]:
        told, self._durable = self._durable, {}
        return told

    # -- where to go on

    def _resume(self, part: Partition) -> Mark:
        shape = fingerprint(self._plans.get(part.station, {}))
        local = part.contributions.mark()
        golden = self._golden.mark(part.topic, part.number)
        begun = self._golden.begun(part.topic, part.number)
        landed = self._tables.mark(part.topic, part.number)
        where = f"{part.topic}/{part.number}"
        reason = None
        if local is None:
            reason = "its contributions are new or lost" if golden or landed else None
        elif part.contributions.note("shape") != shape:
            reason = "what the station gives to the stores has changed"
        elif golden is None or golden.offset < local.offset:
            reason = "Redis has lost what it had acknowledged"
        elif begun is None:
            reason = "Redis does not say what had begun"
        elif landed is None:
            reason = "ClickHouse has nothing of it"
        if reason is not None or local is None:
            if reason is not None:
                log.warning("themes: %s is derived anew from history: %s", where, reason)
            local = self._derive(part, shape, sweep=reason is not None)
            landed = local
        part.mark, part.remote = local, self._golden.mark(part.topic, part.number)
        part.begun = self._golden.begun(part.topic, part.number)
        return min(local, landed or Mark(), key=lambda mark: mark.offset)

    def _derive(self, part: Partition, shape: bytes, *, sweep: bool) -> Mark:
        """Everything of the partition again, from history; what history has not, from Kafka."""
        part.contributions.wipe()
        if sweep:
            self._sweep(part)
            self._tables.forget(part.station, part.topic, part.number)
        mark = self._past.mark(part.topic, part.number)
        rows = 0
        for resource, plan in self._plans.get(part.station, {}).items():
            for car in self._past.changes(part.station, resource, plan.items, part.number, mark.offset):
                [reduced] = self._making.reduced([(part, {resource: [car]})])
                land = functools.partial(self._land, part, None)
                land(self._making.landing(part, reduced, land))
                rows += car.num_rows
                if self._tables.full:
                    self._tables.flush()
        begun = self._golden.begun(part.topic, part.number) or 0
        self._golden.set_mark(part.topic, part.number, mark, max(begun, mark.offset))
        self._tables.passed(part.topic, part.number, mark)
        self._tables.flush()
        # The mark last: without it the next start begins again.
        part.contributions.put((), (), mark, [("shape", shape)])
        if rows:
            log.info("themes: %s/%d: %d changes of history read again", part.topic, part.number, rows)
        return mark

    def _sweep(self, part: Partition) -> None:
        """Take what this partition contributed out of Redis; other partitions' stays."""
        for key, fields in self._golden.sources(part.station, part.number):
            if fields:
                self._golden.remove(key, fields)

    # -- a batch of one partition

    def _write(self, part: Partition, reduced: Iterable[tuple[str, Reduced]], mark: Mark) -> None:
        # Redis may be ahead of what is known here only by what had begun when a process ended.
        passed = max(part.begun or 0, part.remote.offset if part.remote else 0)
        end = max(part.begun or 0, mark.offset)
        sure = part.mark.offset >= passed
        turn = Turn(part.topic, part.number, part.remote, part.begun, end, sure)
        under_way = UnderWay(functools.partial(self._land, part, turn), self._beside)

        def hand_on(landing: Landing) -> None:
            under_way.add(landing)
            if self._tables.full:  # not even for one batch does more wait than is flushed at once
                under_way.settle()
                self._flush_what_waits()

        try:
            rest = self._making.landing(part, reduced, hand_on)
        except BaseException:
            under_way.end()
            raise
        if under_way.begun or len(rest.keys) > _LARGE:
            under_way.add(rest, mark)
            self._under_way[part.topic, part.number] = under_way
        else:
            self._settle_all()
            self._land(part, turn, rest, mark)

    def _settle_all(self) -> None:
        for place in list(self._under_way):
            self._settle(place)

    def _settle(self, place: Place) -> None:
        """Wait for the partition's batch under way; where a store was away it is tried once more
        beside, and Transient raised."""
        if place not in self._under_way:
            return
        self._under_way[place].settle()
        del self._under_way[place]

    def _land(self, part: Partition, turn: Turn | None, landing: Landing, mark: Mark | None = None) -> None:
        """Redis, then the contributions, then what waits for ClickHouse. turn: None while deriving anew;
        mark: after the batch, with the last of it. May be repeated."""
        if turn is None:
            self._golden.apply(landing.changes)
        elif mark is None:
            self._golden.apply_some(landing.changes, turn)
        else:
            self._golden.apply_and_mark(landing.changes, turn, mark)
            part.begun = turn.begun
            if part.remote is None or part.remote.offset <= mark.offset:
                part.remote = mark
        later = mark is not None and mark.offset > part.mark.offset
        part.contributions.put(landing.keys, landing.values, mark if later else None, landing.notes)
        for rows in landing.rows:
            self._tables.add(rows)
        for few in landing.few:
            self._tables.add_few(few)
        for truncate in landing.cleared:
            self._tables.add_cleared(truncate)
        for store, row in landing.held:
            self._tables.add_held(store, row)
        if mark is not None:
            self._tables.passed(part.topic, part.number, mark)
            if later:
                part.mark = mark
