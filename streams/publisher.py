"""Sending to Kafka from inside the app: an idempotent producer, whole batches at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from datarail.errors import Transient
from streams.batches import BATCH, batches

log = logging.getLogger(__name__)

#: The largest record of any topic, and of one request; the embedded broker takes as much.
LARGEST = 16 << 20


class Publisher:
    """One producer, acks from all replicas. After a failure it is made anew: what of the failed
    batches arrived is not known, and the marks in Kafka are read to find out."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises Transient while Kafka is away."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
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
            raise Transient(f"Kafka at {self._servers} does not answer: {error!r}", part="streams") from error
        self._producer = producer

    async def close(self) -> None:
        """Stop without waiting for what is not acknowledged."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), 5)
            except (TimeoutError, KafkaError, OSError) as error:
                log.warning("the producer did not close in time: %r", error)

    async def records(
        self, topic: str, partition: int, keys: Sequence[bytes | None], values: Sequence[bytes], at: int
    ) -> None:
        """Send records, in order, and wait until all are acknowledged. at: milliseconds since 1970.

        Raises Transient when that did not come to pass.
        """
        producer = await self._ready()
        sent: list[asyncio.Future[object]] = []
        try:
            sent += [
                await producer.send_batch(batch, topic, partition=partition)
                for batch in batches(keys, values, at)
            ]
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise Transient(f"{topic}/{partition}: {error!r}", part="streams") from error

    async def train(
        self, topic: str, partition: int, value: bytes, headers: Sequence[tuple[str, bytes]], at: int
    ) -> None:
        """Send one train and wait until it is acknowledged. Raises Transient."""
        producer = await self._ready()
        try:
            await producer.send_and_wait(
                topic, value, partition=partition, headers=list(headers), timestamp_ms=at
            )
        except KafkaError as error:
            raise Transient(f"{topic}/{partition}: {error!r}", part="streams") from error

    async def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            await self.start()
        assert self._producer is not None
        return self._producer
