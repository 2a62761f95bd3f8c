"""The indicators sink: trains → totals in Redis, each row counted exactly once.

The sum over the local contributions is always what the totals say, but for the moment between
the two writes of a batch. So
- a batch that changes no total only renews contributions; the marks move on at the next flush;
- one that does goes to Redis together with the mark, then to the contributions with the same
  mark; after a crash between the two, trains up to Redis's mark are for the contributions alone;
- totals that Redis has lost are counted again from the contributions;
- contributions that are lost, or of other definitions, are derived anew from history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from datarail.contract import Contract
from datarail.errors import Terminal
from datarail.indicators import Indicator
from datarail.position import Mark
from datarail.settings import Settings
from sinks.clickhouse import ClickHouse
from sinks.contributions import ContributionStores, key_prefix
from sinks.held import remembering, taken
from sinks.indicators.counting import (
    Totals,
    add,
    contributions,
    contributions_few,
    difference,
    is_plain,
    with_former,
)
from sinks.indicators.plan import ResourcePlan, fingerprint, plan_station
from sinks.indicators.totals import RedisTotals
from sinks.latest import Latest
from sinks.latest_few import FewLatest
from sinks.partition import Partition, gathered, mark_after, not_void, truncate_note
from sinks.past import Past
from sinks.port import Arrival
from sinks.redis_calls import connect
from sinks.reduced import Reduced, last_of_each
from sinks.texts import as_bytes
from sinks.unchanged import with_remembered
from sinks.version import VERSION_WIDTH

log = logging.getLogger(__name__)
Place = tuple[str, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Trains of one partition. counted: the totals have them already."""

    part: Partition
    arrivals: Sequence[Arrival]
    counted: bool


class IndicatorsSink:
    """sinks.port.Sink of the indicators."""

    name = "indicators"

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        indicators: Mapping[str, Indicator],
        totals: RedisTotals,
        stores: ContributionStores,
        past: Past,
    ) -> None:
        self._plans = {station: plan_station(contract, indicators) for station, contract in contracts.items()}
        self._totals = totals
        self._stores = stores
        self._past = past
        self._open: dict[Place, Partition] = {}
        self._moved: set[Place] = set()
        self._unsaid: set[Place] = set()

    @classmethod
    def of(
        cls, settings: Settings, contracts: Mapping[str, Contract], indicators: Mapping[str, Indicator]
    ) -> IndicatorsSink:
        """With the line's own stores; nothing is connected yet."""
        return cls(
            contracts,
            indicators,
            RedisTotals(connect(settings.redis)),
            ContributionStores(settings.home, cls.name),
            Past(ClickHouse(settings.clickhouse)),
        )

    # -- the port

    def resume(self, topic: str, partition: int) -> Mark:
        self.release(topic, partition)
        part = Partition(topic, partition, self._stores.open(topic, partition))
        try:
            self._resume(part)
        except BaseException:
            part.contributions.close()
            raise
        self._open[topic, partition] = part
        return part.mark

    def write(self, arrivals: list[Arrival]) -> None:
        by_place: dict[Place, list[Arrival]] = {}
        for arrival in arrivals:
            by_place.setdefault((arrival.topic, arrival.partition), []).append(arrival)
        batches: list[_Batch] = []
        for place, some in by_place.items():
            part = self._open[place]
            # Handed over again after an error: what has got through has.
            new = [arrival for arrival in some if arrival.offset >= part.mark.offset]
            remote = part.remote.offset if part.remote else 0
            for chosen, counted in (
                ([arrival for arrival in new if arrival.offset < remote], True),
                ([arrival for arrival in new if arrival.offset >= remote], False),
            ):
                if chosen:
                    batches.append(_Batch(part, chosen, counted))
        plans = [self._plans.get(batch.part.station, {}) for batch in batches]
        cars = [
            (theirs, gathered(batch.arrivals, theirs)) for batch, theirs in zip(batches, plans, strict=True)
        ]
        for batch, reduced in zip(batches, last_of_each(cars, is_plain), strict=True):
            self._land(batch, reduced)
            self._unsaid.add((batch.part.topic, batch.part.number))

    def flush(self) -> dict[Place, Mark]:
        for place in sorted(self._moved):
            part = self._open[place]
            if part.remote is None or part.remote.offset < part.mark.offset:
                self._add(part, {}, part.mark)
            part.contributions.put((), (), part.mark)
            self._moved.discard(place)
        marks = {place: self._open[place].mark for place in self._unsaid}
        self._unsaid.clear()
        return marks

    def release(self, topic: str, partition: int) -> None:
        """The group gave the partition to somebody else, who may be on this machine."""
        place = (topic, partition)
        part = self._open.pop(place, None)
        self._moved.discard(place)
        self._unsaid.discard(place)
        if part is not None:
            part.contributions.close()

    def close(self) -> None:
        for topic, partition in list(self._open):
            self.release(topic, partition)
        self._totals.close()

    # -- where to go on

    def _resume(self, part: Partition) -> None:
        shape = fingerprint(self._plans.get(part.station, {}))
        local = part.contributions.mark()
        remote = self._totals.mark(part.topic, part.number)
        if local is None or part.contributions.note("shape") != shape:
            if local is not None or remote is not None:
                why = "its definitions have changed" if local is not None else "its contributions are lost"
                log.warning("indicators: %s is counted anew from history: %s", part, why)
            local = remote = self._derive(part, shape)
        elif remote is None or remote.offset < local.offset:
            log.warning("indicators: %s is counted anew: Redis has lost its totals", part)
            self._totals.replace(part.topic, part.number, self._counted(part), local)
            remote = local
        part.mark, part.remote = local, remote

    def _derive(self, part: Partition, shape: bytes) -> Mark:
        part.contributions.wipe()
        mark = self._past.mark(part.topic, part.number)
        plans = self._plans.get(part.station, {})
        for resource, plan in plans.items():
            for car in self._past.changes(part.station, resource, plan.items, part.number, mark.offset):
                [reduced] = last_of_each([(plans, {resource: [car]})], is_plain)
                _, keys, values, notes = self._changes(part, reduced)
                part.contributions.put(keys, values, None, notes)
        self._totals.replace(part.topic, part.number, self._counted(part), mark)
        # The mark last: without it the next start begins again.
        part.contributions.put((), (), mark, [("shape", shape)])
        return mark

    def _counted(self, part: Partition) -> Totals:
        """What all contributions come to."""
        totals: Totals = {}
        for resource, plan in self._plans.get(part.station, {}).items():
            for measure in plan.measures:
                totals.setdefault(measure.name, {})
            truncated = part.truncated(resource)
            for chunk in part.contributions.scan(resource):
                values = part.without_void([value for _, value in chunk], truncated)
                add(totals, difference([None] * len(values), values, plan))
        return totals

    # -- a batch of one partition

    def _land(self, batch: _Batch, reduced: Iterable[tuple[str, Reduced]]) -> None:
        part = batch.part
        mark = mark_after(batch.arrivals, part.mark)
        totals, keys, values, notes = self._changes(part, reduced)
        place = (part.topic, part.number)
        if batch.counted:
            part.contributions.put(keys, values, mark, notes)
        elif any(totals.values()):
            self._add(part, totals, mark)
            part.contributions.put(keys, values, mark, notes)
            self._moved.discard(place)
        else:
            if keys or notes:
                part.contributions.put(keys, values, None, notes)
            self._moved.add(place)
        part.mark = mark
        for name, version in notes:
            self._forget_void(part, name.partition(" ")[2], version)

    def _add(self, part: Partition, totals: Totals, mark: Mark) -> None:
        known = part.remote or Mark()
        there = self._totals.add(part.topic, part.number, totals, mark, known)
        # An answer that was lost: the same batch finds its own mark.
        if there is not None and there != mark:
            raise Terminal(
                f"{part}: Redis is at {there.text()}, not at {known.text()} as it acknowledged",
                part="indicators",
                remedy="another process counts too, or Redis lost data: started again, it is set right",
            )
        part.remote = mark

    def _changes(
        self, part: Partition, by_resource: Iterable[tuple[str, Reduced]]
    ) -> tuple[Totals, list[bytes], list[bytes], list[tuple[str, bytes]]]:
        """What a batch does to the totals, and the contributions and notes that go with it."""
        totals: Totals = {}
        keys: list[bytes] = []
        values: list[bytes] = []
        notes: list[tuple[str, bytes]] = []
        for resource, reduced in by_resource:
            plan = self._plans[part.station][resource]
            if isinstance(reduced, FewLatest):
                truncated = part.truncated(resource)
                reduced = reduced.without_void(truncated)
                own = [key_prefix(resource) + row.key.encode() for row in reduced.good]
                known = part.known(own, truncated)
                now = contributions_few(reduced.good, plan)
            else:
                reduced, truncated = self._after_truncate(part, plan, reduced, totals, notes)
                own, known, now = _many(part, plan, reduced, truncated)
            fresh, late = taken(known, now)
            written = [late.get(at, value) for at, value in enumerate(now)] if late else now
            if not all(fresh):
                own, known = _those(fresh, own), _those(fresh, known)
                now, written = _those(fresh, now), _those(fresh, written)
            add(totals, difference(known, now, plan))
            keys += own
            values += written
            held = [key_prefix(resource) + each.key.encode() for each in reduced.held]
            for key, each, old in zip(
                held, reduced.held, part.known_after(held, truncated, own, written), strict=True
            ):
                if (value := remembering(old, each)) is not None:
                    keys.append(key)
                    values.append(value)
        return totals, keys, values, notes

    def _after_truncate(
        self,
        part: Partition,
        plan: ResourcePlan,
        reduced: Latest,
        totals: Totals,
        notes: list[tuple[str, bytes]],
    ) -> tuple[Latest, bytes | None]:
        """What no truncate has made void, and the last truncate; this batch's part in the totals is added,
        and noted."""
        resource = plan.resource
        truncated = part.truncated(resource)
        if reduced.truncated is not None and reduced.truncated[0].encode() > (truncated or b""):
            version = reduced.truncated[0].encode()
            self._take_away(part, plan, totals, truncated, version)
            notes.append((truncate_note(resource), version))
            truncated = version
        return not_void(reduced, truncated), truncated

    def _take_away(
        self, part: Partition, plan: ResourcePlan, totals: Totals, before: bytes | None, version: bytes
    ) -> None:
        for chunk in part.contributions.scan(plan.resource):
            there = part.without_void([value for _, value in chunk], before)
            gone = [value for value in there if value is not None and value[:VERSION_WIDTH] < version]
            add(totals, difference(gone, [None] * len(gone), plan))

    def _forget_void(self, part: Partition, resource: str, version: bytes) -> None:
        # They mean nothing any more: this only gives back the room.
        for chunk in part.contributions.scan(resource):
            part.contributions.forget(key for key, value in chunk if value[:VERSION_WIDTH] < version)


def _many(
    part: Partition, plan: ResourcePlan, reduced: Latest, truncated: bytes | None
) -> tuple[list[bytes], list[bytes | None], list[bytes]]:
    """Keys of the good changes, what was known of them, and what they contribute now."""
    if reduced.good.height == 0:
        return [], [], []
    prefix = key_prefix(plan.resource)
    own = [prefix + key for key in as_bytes(reduced.good["_key"])]
    known = part.known(own, truncated)
    good, unchanged = with_remembered(reduced.good, reduced.unchanged, reduced.tellers, known, plan.items)
    now = as_bytes(contributions(good, plan))
    if unchanged:
        at = {key: number for number, key in enumerate(good["_key"])}
        for key, items in unchanged.items():
            if (number := at.get(key)) is not None:
                now[number] = with_former(now[number], known[number], items, plan)
    return own, known, now


def _those(wanted: Sequence[bool], values: Sequence[T]) -> list[T]:
    return [value for value, ok in zip(values, wanted, strict=True) if ok]
