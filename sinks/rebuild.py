"""Wiping a sink and filling it again, while its process is stopped: `datarail rebuild SINK`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from datarail.contract_file import sound_stations
from datarail.settings import Settings
from sinks.clickhouse import ClickHouse, create_database, quoted
from sinks.consumer import bounds, kafka_trouble, plain_consumer
from sinks.feeds import Feed
from sinks.planned import Landing, PlannedSink, Range, create_bookkeeping
from sinks.registry import Contracts, module
from sinks.reread import read

log = logging.getLogger(__name__)
Progress = Callable[[str], None]
Own = Callable[[Settings, Contracts, Progress], None]


def rebuild(settings: Settings, name: str, progress: Progress) -> None:
    """Wipe and refill the sink `name`; its process must not run meanwhile.

    `progress` is told, in sentences, what is being done. Raises Terminal for an unknown sink,
    Transient when a store is away; calling again then mends what was left half done.
    """
    own = cast(Own, getattr(import_module(module(name)), "rebuild"))  # noqa: B009 - modules are no types
    own(settings, sound_stations(settings.stations, lambda fault: progress(f"left out: {fault}")), progress)


def rebuild_planned(settings: Settings, landing: Landing, progress: Progress) -> None:
    """Rebuild of the sinks in ClickHouse: drop what Kafka still holds, read it again.

    Where Kafka's retention has passed the beginning, the older rows stay, and this is said.
    """
    consumer = plain_consumer(settings.kafka_access)
    store = ClickHouse(settings.clickhouse)
    sink = PlannedSink(settings, landing, store)
    try:
        kept = kept_by_kafka(consumer, landing.feed)
        create_database(store, landing.database)
        create_bookkeeping(store, landing.database)
        _wipe(store, landing, kept, progress)
        rows = 0
        for place, (begin, end) in sorted(kept.items()):
            mark = sink.resume(place.topic, place.partition)
            span = Range(place.topic, place.partition, begin, end)
            for arrival, _ in read(consumer, landing.feed, span, mark):
                sink.write([arrival])
                rows += arrival.train.manifest.rows or 1
                if sink.full:
                    sink.flush()
                    progress(f"{landing.name}: {rows:,} rows again, {place.topic}/{place.partition} "
                             f"at offset {arrival.offset + 1} of {end}")  # fmt: skip
            sink.flush()
        progress(f"{landing.name}: {rows:,} rows landed again from Kafka")
    finally:
        consumer.close()
        sink.close()


def kept_by_kafka(consumer: KafkaConsumer, feed: Feed) -> dict[TopicPartition, tuple[int, int]]:
    """First offset kept and end of every partition that the feed reads."""
    try:
        topics = [topic for topic in consumer.topics() if re.match(feed.pattern, topic)]
        places = [
            TopicPartition(topic, partition)
            for topic in sorted(topics)
            for partition in sorted(consumer.partitions_for_topic(topic))
        ]
    except KafkaError as error:
        raise kafka_trouble(error) from error
    return bounds(consumer, places) if places else {}


def _wipe(
    store: ClickHouse, landing: Landing, kept: Mapping[TopicPartition, tuple[int, int]], progress: Progress
) -> None:
    tables = store.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND name NOT IN ('plan', 'mark')",
        database=landing.database,
    )
    whole = all(begin == 0 for begin, _ in kept.values())
    for (table,) in tables:
        full = f"{quoted(landing.database)}.{quoted(table)}"
        ranges = [
            Range(place.topic, place.partition, begin, 1 << 62)
            for place, (begin, _) in kept.items()
            if landing.holds(table, place.topic)
        ]
        if not ranges:
            progress(f"{landing.name}: {table} stays as it is: Kafka has nothing of it any more")
        elif whole:
            store.command(f"TRUNCATE TABLE {full}")
        else:
            store.command(f"ALTER TABLE {full} DELETE WHERE {landing.within(ranges)}", {"mutations_sync": 2})
            older = store.rows(f"SELECT count() FROM {full}")[0][0]
            progress(f"{landing.name}: {table} keeps {older:,} rows that are older than what Kafka keeps")
    for table in ("plan", "mark"):
        store.command(f"TRUNCATE TABLE {quoted(landing.database)}.{table}")
