"""The last clean train of a partition read back: the mark, and whether its records came with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from kafka import KafkaConsumer
from kafka import TopicPartition as PlainPartition
from kafka.errors import KafkaError as PlainKafkaError
from kafka.errors import KafkaTimeoutError

from datarail import topics
from datarail.errors import BadRecord, Transient
from datarail.kafka_access import KafkaAccess
from datarail.train import Train, open_cars, read_manifest
from streams.batches import Pairs
from streams.marks import Passed
from streams.publisher import LARGEST

log = logging.getLogger(__name__)

#: How far back a clean train is looked for behind records that are none.
_LOOK_BACK = 100
#: Seconds that the topics' last records are waited for.
_PATIENCE = 20.0


async def read_mark(access: KafkaAccess, station: str, partition: int) -> tuple[Passed, Train | None]:
    """The mark of one partition, and the last clean train, which is what it was read from.

    Where the raw topic ends before that train's raw offsets it was made anew, and its offsets
    count from the beginning; seq still tells repeats. Raises Transient.
    """
    clean = TopicPartition(topics.train(station), partition)
    raw = TopicPartition(topics.raw(station), partition)
    async with _reader(access, f"the mark of {station}/{partition}") as consumer:
        consumer.assign([clean])
        ends = await consumer.end_offsets([clean, raw])
        begin = (await consumer.beginning_offsets([clean]))[clean]
        train = await _last_train(consumer, clean, begin, ends[clean])
        passed = Passed.of(train.manifest if train else None)
    if passed.offset > ends[raw]:
        log.warning("%s/%d ends before its mark: the topic was made anew", raw.topic, partition)
        passed.offset = 0
    return passed, train


async def lacking(access: KafkaAccess, records: Mapping[str, Pairs], partition: int) -> dict[str, Pairs]:
    """Of the records of the last train those of the topics that do not end with them: a topic's came
    together, in order, or not at all. Raises Transient."""
    if not records:
        return {}
    try:
        last = await asyncio.to_thread(_last_records, access, list(records), partition)
    except (PlainKafkaError, OSError) as error:
        raise Transient(f"{', '.join(records)}/{partition}: {error!r}", part="streams") from error
    return {
        topic: pairs
        for topic, pairs in records.items()
        if topic not in last or not _same(last[topic], pairs.keys[-1], pairs.values[-1])
    }


def _last_records(access: KafkaAccess, names: Sequence[str], partition: int) -> dict[str, Any]:
    """The last record of each topic that has any. By kafka-python: aiokafka cannot open our LZ4
    (streams.batches)."""
    consumer = KafkaConsumer(
        **access.kafka_python(),
        client_id="datarail-streams",
        group_id=None,
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST,
        fetch_max_wait_ms=100,
    )
    try:
        places = [PlainPartition(name, partition) for name in names]
        begins, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        wanted = {place for place in places if ends[place] > begins[place]}
        consumer.assign(sorted(wanted))
        for place in wanted:
            consumer.seek(place, ends[place] - 1)
        found: dict[str, Any] = {}
        until = time.monotonic() + _PATIENCE
        while len(found) < len(wanted):
            if time.monotonic() > until:
                raise KafkaTimeoutError(f"{len(wanted) - len(found)} topics gave no last record")
            for place, records in consumer.poll(500).items():
                found[place.topic] = records[-1]
        return found
    finally:
        consumer.close()


def _same(record: Any, key: bytes | None, value: bytes) -> bool:
    # Polars and orjson do not spell every number alike.
    if record.key != key:
        return False
    try:
        return bool(record.value == value or orjson.loads(record.value) == orjson.loads(value))
    except ValueError:
        return False


@asynccontextmanager
async def _reader(access: KafkaAccess, what: str) -> AsyncIterator[Any]:
    consumer = AIOKafkaConsumer(
        **access.aiokafka(),
        client_id="datarail-streams",
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST,
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
    except (KafkaError, OSError) as error:
        await consumer.stop()
        raise await asyncio.to_thread(access.away, error, "streams") from error
    try:
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
