"""What leaves together: a clean train, the records of its clean changes, and what is in quarantine. Pure.

The train is the mark, so what it covers must be there too. Records and train of small cars leave in
one request all the same: whether the records came with the last train is looked up when the mark is
read, and they can be made again from it (Passage.again). Of other trains the records go first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datarail import topics
from datarail.small_car import OP, SmallCar
from datarail.train import Car, CarEntry, Manifest, write_car
from streams.batches import Batch, Pairs, batches

#: Microseconds since 1970, by row.
Commits = npt.NDArray[np.int64] | list[int]
#: In the place of a car that is aboard.
NO_CAR = pa.RecordBatch.from_arrays([], [])

_TRUNCATE = ord("t")


@dataclass(slots=True)
class Made:
    """One car made ready: its entry in the manifest, and what goes elsewhere.

    car: until it is aboard, then NO_CAR. commits: of its rows. tells: of it, tells_its_records.
    records, packed: of its clean changes; the one of a handful, the other of many.
    """

    entry: CarEntry
    car: Car
    commits: Commits
    topic: str = ""
    records: Pairs = field(default_factory=lambda: Pairs([], []))
    packed: list[Batch] = field(default_factory=list)
    held: tuple[list[bytes], list[bytes]] = ([], [])
    held_by_rule: Counter[str] | None = None
    missing: tuple[str, ...] = ()
    tells: bool = False

    def board(self) -> bytes:
        """The car as it stands in the train. It is let go of: those made ready next, and what waits for
        Kafka, need the memory."""
        written, self.tells = write_car(self.entry, self.car), tells_its_records([self.car])
        self.car = NO_CAR
        return written


@dataclass(slots=True)
class Departure:
    """All that a few raw trains of one partition become."""

    value: bytes
    headers: list[tuple[str, bytes]]
    manifest: Manifest
    made: list[Made]
    quarantined: list[tuple[bytes, bytes]]

    @property
    def batches(self) -> dict[str, list[Batch]]:
        """All but the train, by topic."""
        at = self.manifest.captured // 1000
        found: dict[str, list[Batch]] = defaultdict(list)
        waiting: dict[str, Pairs] = {}
        for each in self.made:
            _add(waiting, each)
            if each.packed:
                if each.topic in waiting:
                    found[each.topic] += batches(waiting.pop(each.topic), at)
                found[each.topic] += each.packed
        for key, value in self.quarantined:
            keys, values = waiting.setdefault(topics.QUARANTINE, Pairs([], []))
            keys.append(key)
            values.append(value)
        for topic, pairs in waiting.items():
            found[topic] += batches(pairs, at)
        return found

    @property
    def at_once(self) -> bool:
        """Whether the records need not be there before the train is sent."""
        return not self.quarantined and all(each.tells for each in self.made)


def records_of(made: Iterable[Made]) -> dict[str, Pairs]:
    """Clean changes that are a handful, and held ones, by topic, in order."""
    found: dict[str, Pairs] = {}
    for each in made:
        _add(found, each)
    return found


def _add(found: dict[str, Pairs], made: Made) -> None:
    for topic, keys, values in ((made.topic, *made.records), (topics.QUARANTINE, *made.held)):
        if values:
            pairs = found.setdefault(topic, Pairs([], []))
            pairs.keys.extend(keys)
            pairs.values.extend(values)


def tells_its_records(cars: Iterable[Car]) -> bool:
    """Whether a clean train's cars are enough to make its records again."""
    return all(
        isinstance(car, SmallCar) and not any(row[OP] == _TRUNCATE for row in car.rows) for car in cars
    )
