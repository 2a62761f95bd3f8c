"""Sends trains to raw.<station> and tells when they are safe. The edge to Kafka.

Order within a partition holds over retries (idempotent producer). While Kafka is away the
producer retries; `full` holds the reader back, so memory stays bounded.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from connectors.log_topics import away, end
from connectors.train_builder import Packed
from datarail import metrics, topics
from datarail.errors import Terminal, Transient
from datarail.metrics import of
from datarail.settings import Settings
from datarail.train import Manifest, encode

#: What may be under way at once, encoded.
MOST_BYTES = 32 << 20
#: The largest record the line's topics take.
LARGEST = 16 << 20
#: How long Kafka may be away before the connector starts over from what Kafka has.
PATIENCE_SECONDS = 600
#: What one acknowledgement weighs in the mean of late.
_OF_LATE = 0.1


class TooLarge(Terminal):
    """A train that Kafka never takes."""


@dataclass(slots=True)
class _Sent:
    number: int
    partition: int
    size: int
    manifest: Manifest
    at: float
    took: float = 0.0
    done: bool = False
    error: BaseException | None = None


class Shipper:
    """One station's producer. All methods are for one thread; acknowledgements come in on the
    producer's own thread and end `wait`.

    sent: trains handed over; safe: every train up to this number is in Kafka; in_flight: bytes;
    took: seconds from handing over a train to its acknowledgement, of late.
    """

    def __init__(self, settings: Settings, station: str, partitions: int) -> None:
        self.settings = settings
        self.station = station
        self.sent = self.safe = self.in_flight = 0
        self.took = 0.0
        self.busy = [0] * partitions
        self._wake, self._poke = socket.socketpair()
        self._wake.setblocking(False)
        self._poke.setblocking(False)
        self._under_way: deque[_Sent] = deque()
        self._arrived: deque[_Sent] = deque()
        self._waited_for = False
        self._topic = topics.raw(station)
        try:
            self._producer = KafkaProducer(
                **self.settings.kafka_access.kafka_python(),
                client_id=f"datarail {self.station}",
                acks="all",
                enable_idempotence=True,
                max_in_flight_requests_per_connection=5,
                linger_ms=0,
                batch_size=0,
                max_request_size=LARGEST,
                max_block_ms=20000,
                delivery_timeout_ms=PATIENCE_SECONDS * 1000,
                request_timeout_ms=15000,
                reconnect_backoff_max_ms=1000,
                metrics_enabled=False,
            )
        except KafkaError as error:
            raise away(self.settings, error) from error

    @property
    def full(self) -> bool:
        """Too much is under way: read no more for now."""
        return self.in_flight >= MOST_BYTES

    def idle(self, partition: int) -> bool:
        """Nothing is under way to this partition: a train may leave at once."""
        return self.busy[partition] == 0

    def wait(self, others: Sequence[Any], seconds: float) -> None:
        """Until a train is acknowledged or one of the others can be read; at once where an
        acknowledgement is here and not collected yet."""
        # In this order: one that comes in between is seen, or wakes us, or both.
        self._waited_for = True
        if not self._arrived and self._wake in select.select([self._wake, *others], [], [], seconds)[0]:
            self._wake.recv(4096)

    def send(self, train: Packed) -> int:
        """Hand over one train; returns its bytes. Raises TooLarge when it can never be taken."""
        value, headers = encode(train.manifest, train.cars)
        if len(value) > LARGEST - 65536:
            cars = train.manifest.cars
            raise TooLarge(
                f"a train of {sum(car.rows for car in cars)} rows has {len(value)} bytes, "
                f"more than Kafka takes ({', '.join(car.resource for car in cars)})",
                part=self.station,
                remedy="raise message.max.bytes of the brokers, or leave the item out of the publication",
            )
        self.sent += 1
        sent = _Sent(self.sent, train.partition, len(value), train.manifest, time.monotonic())
        try:
            future = self._producer.send(self._topic, value=value, partition=train.partition, headers=headers)
        except MessageSizeTooLargeError as error:
            raise TooLarge(f"Kafka takes no record of {len(value)} bytes", part=self.station) from error
        except KafkaError as error:
            raise away(self.settings, error) from error
        self._under_way.append(sent)
        self.busy[train.partition] += 1
        self.in_flight += sent.size
        future.add_callback(self._arrive, sent)
        future.add_errback(self._fail, sent)
        return sent.size

    def collect(self) -> bool:
        """Take in acknowledgements; true when there were any. Raises Transient when a train
        could not be delivered: start over from what Kafka has."""
        self._waited_for = False
        any_arrived = False
        while self._arrived:
            sent = self._arrived.popleft()
            if sent.error is not None:
                raise Transient(f"a train was not taken by Kafka: {sent.error!r}", part=self.station)
            sent.done = True
            self.took += (sent.took - self.took) * _OF_LATE
            self.busy[sent.partition] -= 1
            self.in_flight -= sent.size
            self._count(sent)
            any_arrived = True
        while self._under_way and self._under_way[0].done:
            self.safe = self._under_way.popleft().number
        return any_arrived

    def drain(self, while_waiting: Callable[[], None] = lambda: None, seconds: float = float("inf")) -> None:
        """Wait until everything sent is safe. Raises Transient when it takes longer."""
        until = time.monotonic() + seconds
        while self.safe < self.sent:
            if time.monotonic() > until:
                raise Transient(f"Kafka takes nothing for {seconds:.0f} s", part=self.station)
            if not self.collect():
                while_waiting()
                time.sleep(0.002)

    def close(self, seconds: float = 1) -> None:
        """Give what is under way so long, then end: nothing of ours is sent after this."""
        end(self._producer, seconds)
        self._wake.close()
        self._poke.close()

    def _arrive(self, sent: _Sent, _metadata: object = None) -> None:
        sent.took = time.monotonic() - sent.at
        self._arrived.append(sent)
        if self._waited_for:
            self._waited_for = False
            with suppress(OSError):
                self._poke.send(b"!")

    def _fail(self, sent: _Sent, error: BaseException) -> None:
        sent.error = error
        self._arrive(sent)

    def _count(self, sent: _Sent) -> None:
        now = time.time()
        station = self.station
        of(metrics.BYTES, "captured", station).inc(sent.size)
        of(metrics.TRAIN_ROWS, "captured", station).observe(sent.manifest.rows)
        of(metrics.PROGRESS, "captured").set(now)
        for car in sent.manifest.cars:
            for op, rows in car.ops.items():
                of(metrics.ROWS, "captured", station, car.resource, op).inc(rows)
            of(metrics.FRESHNESS, "captured", station, car.resource).observe(
                max(0.0, now - car.first_commit / 1e6)
            )
