"""Cars of one station made ready for a departure: cleaned, with the records that subscribers and
quarantine are told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import compress
from typing import NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from datarail import topics
from datarail.columns import raw_schema
from datarail.contract import Contract
from datarail.errors import ContractError
from datarail.neighbours import until_enough
from datarail.position import Lane
from datarail.small_car import COMMIT, OP, SmallCar, of_batch
from datarail.train import CarEntry
from streams.batches import Records, packed
from streams.clean import DATA_ERRORS, Cleaned, Cleaner, carried, clean_together
from streams.departure import Made
from streams.envelope import Envelope
from streams.few import FewCleaner, as_written, moments
from streams.findings import held_by_rule
from streams.quarantine import LARGEST_RECORD, held_few, held_records
from streams.runs import Run, batch_of, is_cleaned
from streams.unchanged import unchanged_items

#: Rows of cars that are cleaned together, at least: more would cost hardly less a row, and memory.
_ENOUGH = 16_384
#: Rows whose records are written together: their texts are compressed before the next ones are made.
_WRITTEN = 8_192
#: Up to so many rows records cost less to frame one by one than by column.
_ONE_BY_ONE = 384


class TooLarge(ValueError):
    """A change that is larger than what Kafka takes as one record."""


class Way(NamedTuple):
    """Whose car it is, and when it is cleaned (microseconds since 1970)."""

    resource: str
    lane: Lane
    partition: int
    at: int


Part = tuple[Way, Run]


class Making:
    """The cars of one station. Raises ContractError for rules that cannot be."""

    def __init__(self, contract: Contract) -> None:
        self._station = contract.station
        self._items = {name: list(resource.items) for name, resource in contract.resources.items()}
        self._cleaners: dict[str, Cleaner] = {}
        self._few = {name: FewCleaner(resource) for name, resource in contract.resources.items()}
        for name, resource in contract.resources.items():
            try:
                self._cleaners[name] = Cleaner(resource)
            except ContractError as error:
                error.part = f"{contract.station}.yaml: {name}"
                raise
        self._envelopes = {
            name: Envelope(self._station, name, resource) for name, resource in contract.resources.items()
        }

    def held_whole(self, parts: Iterable[Part]) -> Iterator[Made]:
        """Cars made ready, in order, with every row held as it was written."""
        for way, run in parts:
            batch = batch_of(run)
            if way.resource in self._cleaners:
                yield self._hold(way, batch, TooLarge(_too_large(batch.nbytes)))
            else:
                yield from self._safely(way, batch)

    def made(self, runs: Iterable[Part], at: int) -> Iterator[Made]:
        """Cars made ready, in order; what streams.few cannot clean is cleaned together. at: the moment
        that rules judge by, microseconds since 1970."""
        now = moments(datetime.fromtimestamp(at / 1e6, UTC))
        parts = [part for way, run in runs for part in self._plainly(way, run, now)]
        rest = ((way, batch_of(run)) for way, run in parts if not is_cleaned(run))
        together = until_enough(rest, lambda car: car[1].num_rows, _ENOUGH)
        ready = (made for some in together for made in self._all(some))
        for way, run in parts:
            if not isinstance(run, SmallCar):
                yield from next(ready)
            elif is_cleaned(run):
                yield from self._few_or_all(way, run)
            else:
                yield from map(_small_again, next(ready))

    def _plainly(self, way: Way, run: Run, now: dict[str, str]) -> Iterable[Part]:
        """The run in parts; of a small car the plain rows are cleaned."""
        if isinstance(run, SmallCar) and way.resource in self._few:
            return [(way, part) for part in self._few[way.resource].clean(run, now)]
        return [(way, run)]

    def _all(self, cars: Sequence[tuple[Way, pa.RecordBatch]]) -> list[list[Made]]:
        """Cars made ready together; where that fails, each by itself."""
        try:
            return [[made] for made in self._make(cars)]
        except DATA_ERRORS:
            return [self._safely(way, car) for way, car in cars]

    def _few_or_all(self, way: Way, car: SmallCar) -> list[Made]:
        """A car that streams.few has cleaned, the way of larger ones where a record is too large."""
        made = self.few_made(way, car)
        if max(map(len, made.records.values), default=0) > LARGEST_RECORD:
            return self._safely(way, as_written(car).batch())
        return [made]

    def few_made(self, way: Way, car: SmallCar) -> Made:
        """A small clean car made ready, as streams.few cleaned it or as it stands in a clean train."""
        held = car.shape.key + 1
        passing = [row for row in car.rows if not row[held]]
        commits = [row[COMMIT] for row in car.rows]
        ops = [chr(row[OP]) for row in car.rows]
        entry = CarEntry(
            *(way.resource, way.lane, len(ops), {op: ops.count(op) for op in sorted(set(ops))}),
            held=len(ops) - len(passing),
            first_commit=min(commits),
            last_commit=max(commits),
        )
        records = self._envelopes[way.resource].few(SmallCar(car.shape, passing), way.at // 1000)
        made = Made(entry, car, commits, topics.clean(self._station, way.resource), records)
        if entry.held:
            made.held = held_few(car, self._station, way.resource, way.partition, way.at)
            made.held_by_rule = held_by_rule(orjson.loads(row[held + 1]) for row in car.rows if row[held])
        return made

    def _safely(self, way: Way, car: pa.RecordBatch) -> list[Made]:
        """Clean a car; where that fails, find the rows at fault and hold them."""
        try:
            return self._make([(way, car)])
        except DATA_ERRORS as error:
            if car.num_rows <= 1:
                return [self._hold(way, car, error)]
        half = car.num_rows // 2
        return [*self._safely(way, car.slice(0, half)), *self._safely(way, car.slice(half))]

    def _hold(self, way: Way, car: pa.RecordBatch, error: BaseException) -> Made:
        cleaner = self._cleaners[way.resource]
        if isinstance(error, TooLarge):
            cleaned = cleaner.hold(car, str(error), "size")
        else:
            cleaned = cleaner.hold(car, f"{type(error).__name__}: {error}")
        return self._route(way, cleaned)

    def _make(self, cars: Sequence[tuple[Way, pa.RecordBatch]]) -> list[Made]:
        ours = [way.resource in self._cleaners for way, _ in cars]
        cleaned = iter(
            clean_together([(self._cleaners[way.resource], car) for way, car in compress(cars, ours)])
        )
        # A resource may have left the contract: what is still under way of it arrives as it is.
        return [
            self._route(way, next(cleaned)) if its else _carried(way, car)
            for its, (way, car) in zip(ours, cars, strict=True)
        ]

    def _route(self, way: Way, cleaned: Cleaned) -> Made:
        unchanged = unchanged_items(cleaned.batch)
        made = _ready(way, cleaned)
        made.topic = topics.clean(self._station, way.resource)
        made.held_by_rule, made.missing = cleaned.held_by_rule, cleaned.missing
        for records in self._records(way, cleaned, unchanged):
            if cleaned.batch.num_rows <= _ONE_BY_ONE:
                made.records = records.pairs()
            else:
                made.packed += packed(records, way.at // 1000)
        if made.entry.held:
            made.held = held_records(cleaned, self._station, way.resource, way.partition, way.at, unchanged)
        return made

    def _records(
        self, way: Way, cleaned: Cleaned, unchanged: list[tuple[str, ...]] | None
    ) -> Iterator[Records]:
        """What subscribers are told of a cleaned car. Raises TooLarge."""
        passes = ~cleaned.findings.held
        for start in range(0, cleaned.frame.height, _WRITTEN):
            some = slice(start, start + _WRITTEN)
            left_out = None if unchanged is None else unchanged[some]
            records = self._envelopes[way.resource].records(cleaned.frame[some], way.at // 1000, left_out)
            records = records.only(passes[some])
            if (longest := records.longest(LARGEST_RECORD)) > LARGEST_RECORD:
                raise TooLarge(_too_large(longest))
            yield records

    def without_rows(self, way: Way) -> Made:
        """A car that says no more than that there was one."""
        schema = raw_schema(self._items.get(way.resource, []))
        empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
        cleaner = self._cleaners.get(way.resource)
        return _ready(way, cleaner.clean(empty) if cleaner else carried(empty))


def _too_large(size: int) -> str:
    return f"{size}字节，超过一条消息的上限{LARGEST_RECORD}字节"


def _carried(way: Way, car: pa.RecordBatch) -> Made:
    return _ready(way, carried(car))


def _small_again(made: Made) -> Made:
    """What came small goes on small, so that one doubtful row costs the sinks no more than it must."""
    if made.topic and isinstance(made.car, pa.RecordBatch):
        made.car = of_batch(made.car) or made.car
    return made


def _ready(way: Way, cleaned: Cleaned) -> Made:
    batch = cleaned.batch
    written = batch.column("_op").to_numpy().tobytes()
    # A copy: the car's memory need not wait for Kafka.
    commits = batch.column("_commit").view(pa.int64()).to_numpy().copy()
    entry = CarEntry(
        way.resource,
        way.lane,
        batch.num_rows,
        # A truncate goes to every partition and counts once.
        {chr(op): written.count(op) for op in sorted(set(written)) if op != ord("t") or way.partition == 0},
        held=int(np.count_nonzero(cleaned.findings.held)),
        filtered=cleaned.filtered,
        first_commit=int(commits.min()) if len(commits) else 0,
        last_commit=int(commits.max()) if len(commits) else 0,
    )
    return Made(entry, batch, commits)
