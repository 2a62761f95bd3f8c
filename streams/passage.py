"""From opened raw trains to what is sent on: records, quarantine, the clean train. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from datarail.contract import Contract
from datarail.small_car import SmallCar
from datarail.train import Manifest, Train, assemble, merge_seq
from streams.batches import Pairs
from streams.departure import Departure, Made, records_of, tells_its_records
from streams.making import Making, Way
from streams.marks import Passed
from streams.opening import Opened
from streams.runs import joined


class Passage:
    """The way of one station's trains. clock: microseconds since 1970."""

    def __init__(self, contract: Contract, clock: Callable[[], int]) -> None:
        self.station = contract.station
        self._resources = contract.resources
        self._making = Making(contract)
        self._clock = clock

    def depart(
        self, opened: Sequence[Opened], partition: int, passed: Passed, *, hold: bool = False
    ) -> Departure:
        """Clean what was opened of one partition, in order. `passed` is the mark after the last.

        The clean train is made even when nothing is in it: it is the mark. hold: nothing is cleaned,
        every row is held, because with its cleaned values it was too large for a train.
        """
        at = self._clock()
        runs = [
            (Way(name, lane, partition, at), run)
            for (name, lane), some in joined(opened).items()
            for run in some
        ]
        making = self._making
        made: list[Made] = []
        written: list[bytes] = []
        for each in making.held_whole(runs) if hold else making.made(runs, at):
            written.append(each.board())
            made.append(each)
        lost = self._lost(opened, made, at)
        written += [each.board() for each in lost]
        made += lost
        seq = {lane: (last + 1, last) for lane, last in passed.seq.items()}
        seq |= merge_seq(each.seq for each in opened)
        manifest = Manifest(
            self.station,
            max([passed.epoch, *(each.epoch for each in opened)]),
            at,
            seq,
            [each.entry for each in made],
            last=passed.last,
            raw=(opened[0].raw[0], opened[-1].raw[1]),
        )
        value, headers = assemble(manifest, written)
        kept = [pair for each in opened for pair in each.quarantined]
        return Departure(value, headers, manifest, made, kept)

    def again(self, train: Train, partition: int) -> dict[str, Pairs]:
        """The records that left at once with a clean train of this partition, with the same moment;
        none of a train whose records had to be there before it."""
        if not tells_its_records(train.cars):
            return {}
        return records_of(
            self._making.few_made(Way(entry.resource, entry.lane, partition, train.manifest.captured), car)
            for entry, car in zip(train.manifest.cars, train.cars, strict=False)
            if isinstance(car, SmallCar) and car.rows and entry.resource in self._resources
        )

    def _lost(self, opened: Iterable[Opened], made: list[Made], at: int) -> list[Made]:
        """Count trains that could not be opened, with the car of their resource or one without rows."""
        known = {(each.entry.resource, each.entry.lane): each.entry for each in made}
        more = []
        for entry in (entry for each in opened for entry in each.lost):
            found = known.get((entry.resource, entry.lane))
            if found is None:
                more.append(self._making.without_rows(Way(entry.resource, entry.lane, 0, at)))
                found = more[-1].entry
                found.first_commit, found.last_commit = entry.first_commit, entry.last_commit
                known[entry.resource, entry.lane] = found
            found.unreadable += entry.counted
        return more
