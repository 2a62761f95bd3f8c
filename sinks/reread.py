"""Reading given ranges of offsets again: to complete a batch that a crash cut short, to rebuild."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from datarail.errors import BadRecord, Terminal, Transient
from datarail.position import Mark
from datarail.settings import Settings
from sinks.consumer import bounds, kafka_trouble, plain_consumer
from sinks.feeds import Feed
from sinks.passing import moved_on, new_in
from sinks.port import Arrival

log = logging.getLogger(__name__)

#: Seconds without a record before Kafka counts as away.
_PATIENCE = 30.0


class Span(Protocol):
    """Offsets [first, end) of one partition."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...


def reread(
    settings: Settings, feed: Feed, ranges: Sequence[Span], before: Mapping[tuple[str, int], Mark]
) -> tuple[list[Arrival], dict[tuple[str, int], Mark]]:
    """The arrivals of these ranges just as the loop handed them over, and the marks after them.

    What Kafka keeps no more is passed over and said. Raises Transient when Kafka is away.
    """
    marks = dict(before)
    arrivals: list[Arrival] = []
    consumer = plain_consumer(settings.kafka_access)
    try:
        for span in ranges:
            place = (span.topic, span.partition)
            for arrival, mark in read(consumer, feed, span, marks[place]):
                marks[place] = mark
                arrivals.append(arrival)
            marks[place] = Mark(max(marks[place].offset, span.end), marks[place].seq)
    finally:
        consumer.close()
    return arrivals, marks


def read(consumer: KafkaConsumer, feed: Feed, span: Span, mark: Mark) -> Iterator[tuple[Arrival, Mark]]:
    """Arrivals of one range in order, each with the mark after it."""
    place = TopicPartition(span.topic, span.partition)
    begin, end = bounds(consumer, [place])[place]
    if begin > span.first or end < span.end:
        log.error(
            "%s/%d: offsets %d to %d are wanted, Kafka keeps %d to %d",
            *(span.topic, span.partition, span.first, span.end - 1, begin, end - 1),
        )
    position, stop = max(begin, span.first), min(end, span.end)
    try:
        consumer.assign([place])
        consumer.seek(place, position)
        until = time.monotonic() + _PATIENCE
        while position < stop:
            if time.monotonic() > until:
                raise Transient(
                    f"{span.topic}/{span.partition}: offset {position} does not come", part="kafka"
                )
            for record in consumer.poll(timeout_ms=500).get(place, []):
                if record.offset >= stop:
                    return
                until = time.monotonic() + _PATIENCE
                position = record.offset + 1
                try:
                    arrival = feed.arrival(record, mark)
                except BadRecord as error:
                    if feed.trusted:
                        where = f"{span.topic}/{span.partition} offset {record.offset}"
                        raise Terminal(f"{where} cannot be opened: {error}", part="kafka") from error
                    mark = Mark(position, mark.seq)
                    continue
                passed = new_in(arrival.train, mark, record.partition)
                mark = moved_on(mark, record.offset, passed.train)
                yield Arrival(span.topic, span.partition, record.offset, passed.train, arrival.record), mark
    except KafkaError as error:
        raise kafka_trouble(error) from error
