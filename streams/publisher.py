"""Sending to Kafka from inside the app: an idempotent producer, whole batches at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from datarail.errors import Transient
from datarail.kafka_access import KafkaAccess
from streams.batches import BATCH, Batch, Pairs, batches
from streams.departure import Departure

log = logging.getLogger(__name__)

#: The largest record of any topic, and of one request; the embedded broker takes as much.
LARGEST = 16 << 20


class Publisher:
    """One producer, acks from all replicas. After a failure it is made anew: what of the failed
    batches arrived is not known, and the marks in Kafka are read to find out. generation: counts
    the producers there were."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._producer: AIOKafkaProducer | None = None
        self._changing = asyncio.Lock()
        self.generation = 0

    async def start(self) -> None:
        """Connect. Raises Transient while Kafka is away, Terminal where it refuses us."""
        producer = AIOKafkaProducer(
            **self._access.aiokafka(),
            client_id="datarail-streams",
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH,
            max_request_size=LARGEST,
            request_timeout_ms=30_000,
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            raise await asyncio.to_thread(self._access.away, error, "streams") from error
        self._producer = producer

    async def close(self) -> None:
        """Stop without waiting for what is not acknowledged."""
        producer, self._producer = self._producer, None
        self.generation += 1
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), 5)
            except (TimeoutError, KafkaError, OSError) as error:
                log.warning("the producer did not close in time: %r", error)

    async def renew(self, generation: int) -> None:
        """Close the producer of this generation, if nobody has yet: the next has an end to wait for,
        so nothing of the old one comes after what is sent next."""
        async with self._changing:
            if self.generation == generation:
                await self.close()

    async def records(self, by_topic: Mapping[str, Pairs], partition: int, at: int) -> None:
        """Send keys and values to the same partition of several topics, in order in each, and wait
        until all are acknowledged. at: milliseconds since 1970.

        Raises Transient when that did not come to pass.
        """
        producer = await self._ready()
        with _sending(f"{', '.join(by_topic)}/{partition}"):
            found = {topic: batches(pairs, at) for topic, pairs in by_topic.items()}
            await asyncio.gather(*await _batches(producer, found, partition))

    async def departure(self, topic: str, partition: int, departure: Departure) -> None:
        """Send a train to its topic, and its records; wait until all is acknowledged, for the records
        before the train is sent where it must be so. Raises Transient."""
        producer = await self._ready()
        at = departure.manifest.captured // 1000
        with _sending(f"{topic}/{partition}"):
            sent = await _batches(producer, departure.batches, partition)
            if not departure.at_once:
                await asyncio.gather(*sent)
                sent.clear()
            value, headers = departure.value, departure.headers
            sent.append(
                await producer.send(topic, value, partition=partition, headers=headers, timestamp_ms=at)
            )
            await asyncio.gather(*sent)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._changing:
            if self._producer is None:
                await self.start()
        assert self._producer is not None
        return self._producer


async def _batches(
    producer: AIOKafkaProducer, by_topic: Mapping[str, Iterable[Batch]], partition: int
) -> list[asyncio.Future[object]]:
    return [
        await producer.send_batch(batch, topic, partition=partition)
        for topic, found in by_topic.items()
        for batch in found
    ]


@contextmanager
def _sending(what: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise Transient(f"{what}: {error!r}", part="streams") from error
