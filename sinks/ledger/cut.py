"""The ledger's sums at one cut through the line, so that they must balance while changes go on.

A cut is, for every partition of every station, the end of a clean train and the raw offset that
this train reaches. What was captured below the raw offset is exactly what the clean trains below
the cut account for. The ledger sums up batches; those a cut goes through are counted again from
the manifests, which Kafka still has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer

from datarail import topics
from datarail.position import Mark
from datarail.settings import Settings
from datarail.train import CarEntry
from sinks.clickhouse import literal
from sinks.consumer import plain_consumer
from sinks.feeds import MANIFESTS, Feed, open_manifest
from sinks.ledger.query import Totals, read_ledger
from sinks.planned import Range
from sinks.rebuild import kept_by_kafka
from sinks.reread import read

#: (hop, station, partition)
Place = tuple[str, str, int]


@dataclass(slots=True)
class Sums:
    counted: int = 0
    held: int = 0
    filtered: int = 0
    unreadable: int = 0

    def add(self, counted: int, held: int, filtered: int, unreadable: int) -> None:
        self.counted += counted
        self.held += held
        self.filtered += filtered
        self.unreadable += unreadable


def take_cut(settings: Settings) -> dict[Place, int]:
    """The cut at the line's present end: offsets by place. Raises Transient when Kafka is away."""
    found: dict[Place, int] = {}
    with closing(plain_consumer(settings.kafka_access)) as consumer:
        feed = Feed(topics.TRAIN_PATTERN, open_manifest)
        for place, (begin, end) in kept_by_kafka(consumer, feed).items():
            if begin == end:
                continue
            span = Range(place.topic, place.partition, end - 1, end)
            for arrival, _ in read(consumer, feed, span, Mark(end - 1)):
                reached = arrival.train.manifest.raw
                if reached is not None:
                    station = topics.station_of(place.topic)
                    found["clean", station, place.partition] = end
                    found["raw", station, place.partition] = reached[1]
    return found


def totals_at(settings: Settings, cut: Mapping[Place, int]) -> list[Totals]:
    """Every resource's balance at the cut. Every sink must have passed it (sinks.drain)."""
    sums: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
    entered = dict.fromkeys(cut, 0)
    last_commit: dict[tuple[str, str], str] = {}
    for hop, station, partition, resource, end, last, *numbers in _entries(settings, cut):
        sums[hop, station, resource].add(*numbers)
        entered[hop, station, partition] = max(entered[hop, station, partition], end)
        last_commit[station, resource] = max(last, last_commit.get((station, resource), ""))
    with closing(plain_consumer(settings.kafka_access)) as consumer:
        for place, end in cut.items():
            for car in _cars(consumer, place, entered[place], end):
                numbers = [car.counted, car.held, car.filtered, car.unreadable]
                sums[place[0], place[1], car.resource].add(*numbers)
    resources = sorted({(station, resource) for _, station, resource in sums})
    return [
        _totals(sums, station, resource, last_commit.get((station, resource), ""))
        for station, resource in resources
    ]


def _totals(sums: dict[tuple[str, str, str], Sums], station: str, resource: str, last: str) -> Totals:
    raw, clean = sums["raw", station, resource], sums["clean", station, resource]
    return Totals(
        station,
        resource,
        captured=raw.counted,
        landed=clean.counted - clean.held,
        quarantined=clean.held + clean.unreadable,
        filtered=clean.filtered,
        cleaned=clean.counted,
        last_commit=last,
    )


def _entries(settings: Settings, cut: Mapping[Place, int]) -> list[list[Any]]:
    if not cut:
        return []
    ends = ", ".join(f"{literal('/'.join(map(str, place)))}, {end}" for place, end in cut.items())
    return read_ledger(
        None,
        settings,
        "SELECT hop, station, partition, resource, max(end), toString(max(last_commit)), "
        "sum(counted), sum(held), sum(filtered), sum(unreadable) FROM ledger.trains "
        f"WHERE end <= map({ends})[concat(hop, '/', station, '/', toString(partition))] "
        "GROUP BY hop, station, partition, resource",
    )


def _cars(consumer: KafkaConsumer, place: Place, first: int, end: int) -> Iterator[CarEntry]:
    hop, station, partition = place
    topic = topics.raw(station) if hop == "raw" else topics.train(station)
    if first < end:
        for arrival, _ in read(consumer, MANIFESTS, Range(topic, partition, first, end), Mark(first)):
            yield from arrival.train.manifest.cars
