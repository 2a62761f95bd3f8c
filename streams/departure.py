"""What leaves together: a clean train, the records of its clean changes, and what is in quarantine. Pure.

The train is the mark, so what it covers must be there too. Records and train of small cars leave in
one request all the same: whether the records came with the last train is looked up when the mark is
read, and they can be made again from it (Passage.again). Of other trains the records go first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from datarail import topics
from datarail.small_car import OP, SmallCar
from datarail.train import Car, CarEntry, Manifest
from streams.envelope import Records

#: Keys and values of one topic, record for record.
Pairs = tuple[list[bytes | None], list[bytes]]

_TRUNCATE = ord("t")


@dataclass(slots=True)
class Made:
    """One car made ready: its entry in the manifest, and what goes elsewhere."""

    entry: CarEntry
    car: Car
    topic: str = ""
    records: Records = field(default_factory=lambda: Records([], []))
    held: tuple[list[bytes], list[bytes]] = ([], [])
    held_by_rule: Counter[str] | None = None
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class Departure:
    """All that a few raw trains of one partition become."""

    value: bytes
    headers: list[tuple[str, bytes]]
    manifest: Manifest
    made: list[Made]
    quarantined: list[tuple[bytes, bytes]]

    @property
    def records(self) -> dict[str, Pairs]:
        """All but the train, by topic."""
        found = records_of(self.made)
        for key, value in self.quarantined:
            keys, values = found.setdefault(topics.QUARANTINE, ([], []))
            keys.append(key)
            values.append(value)
        return found

    @property
    def at_once(self) -> bool:
        """Whether the records need not be there before the train is sent."""
        return not self.quarantined and tells_its_records(made.car for made in self.made)


def records_of(made: Iterable[Made]) -> dict[str, Pairs]:
    """Clean and held changes by topic, in order."""
    found: dict[str, Pairs] = {}
    for each in made:
        for topic, keys, values in ((each.topic, *each.records), (topics.QUARANTINE, *each.held)):
            if values:
                pairs = found.setdefault(topic, ([], []))
                pairs[0].extend(keys)
                pairs[1].extend(values)
    return found


def tells_its_records(cars: Iterable[Car]) -> bool:
    """Whether a clean train's cars are enough to make its records again."""
    return all(
        isinstance(car, SmallCar) and not any(row[OP] == _TRUNCATE for row in car.rows) for car in cars
    )
