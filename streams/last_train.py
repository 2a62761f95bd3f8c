"""The last clean train of a partition read back: the mark, and whether its records came with it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from datarail import topics
from datarail.errors import BadRecord, Transient
from datarail.train import Train, open_cars, read_manifest
from streams.departure import Pairs
from streams.marks import Passed
from streams.publisher import LARGEST

log = logging.getLogger(__name__)

#: How far back a clean train is looked for behind records that are none.
_LOOK_BACK = 100


async def read_mark(servers: str, station: str, partition: int) -> tuple[Passed, Train | None]:
    """The mark of one partition, and the last clean train, which is what it was read from.

    Where the raw topic ends before that train's raw offsets it was made anew, and its offsets
    count from the beginning; seq still tells repeats. Raises Transient.
    """
    clean = TopicPartition(topics.train(station), partition)
    raw = TopicPartition(topics.raw(station), partition)
    async with _reader(servers, f"the mark of {station}/{partition}") as consumer:
        consumer.assign([clean])
        ends = await consumer.end_offsets([clean, raw])
        begin = (await consumer.beginning_offsets([clean]))[clean]
        train = await _last_train(consumer, clean, begin, ends[clean])
        passed = Passed.of(train.manifest if train else None)
    if passed.offset > ends[raw]:
        log.warning("%s/%d ends before its mark: the topic was made anew", raw.topic, partition)
        passed.offset = 0
    return passed, train


async def lacking(servers: str, records: Mapping[str, Pairs], partition: int) -> dict[str, Pairs]:
    """Of the records of the last train those of the topics that do not end with them: a topic's came
    together, in order, or not at all. Raises Transient."""
    if not records:
        return {}
    found: dict[str, Pairs] = {}
    async with _reader(servers, f"{', '.join(records)}/{partition}") as consumer:
        for topic, (keys, values) in records.items():
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            last = None
            if end > (await consumer.beginning_offsets([place]))[place]:
                consumer.seek(place, end - 1)
                last = await consumer.getone(place)
            if last is None or not _same(last, keys[-1], values[-1]):
                found[topic] = keys, values
    return found


def _same(record: Any, key: bytes | None, value: bytes) -> bool:
    # Polars and orjson do not spell every number alike.
    if record.key != key:
        return False
    try:
        return bool(record.value == value or orjson.loads(record.value) == orjson.loads(value))
    except ValueError:
        return False


@asynccontextmanager
async def _reader(servers: str, what: str) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        client_id="datarail-streams",
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST,
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError) as error:
        raise Transient(f"{what}: {error!r}", part="streams") from error
    finally:
        await consumer.stop()


async def _last_train(consumer: Any, clean: TopicPartition, begin: int, end: int) -> Train | None:
    for offset in range(end - 1, max(begin, end - _LOOK_BACK) - 1, -1):
        consumer.seek(clean, offset)
        record = await consumer.getone(clean)
        try:
            manifest = read_manifest(record.headers)
        except BadRecord as error:
            log.error("%s/%d at %d is no train: %s", clean.topic, clean.partition, record.offset, error)
            continue
        try:
            return open_cars(manifest, record.value, small=True)
        except BadRecord as error:
            # Its manifest still is the mark; every sink will stop at its cars.
            log.error("%s/%d at %d: %s", clean.topic, clean.partition, record.offset, error)
            return Train(manifest, [])
    return None
