"""The Kafka side of a sink: one consumer whose partitions are paused until they are placed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError, RetriableError
from kafka.structs import OffsetAndMetadata

from datarail.errors import RailError, Terminal, Transient

log = logging.getLogger(__name__)

#: A train of the largest size must fit; rows, not bytes, bound what a sink is handed.
FETCH_BYTES = 16 << 20


class Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what the group gave and took. Called on the consumer's I/O thread: it must not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given: set[TopicPartition] = set()
        self._taken: set[TopicPartition] = set()
        self.consumer: KafkaConsumer | None = None

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # Paused, so that nothing arrives before the sink has said where to go on.
        assert self.consumer is not None
        self.consumer.pause(*assigned)
        with self._lock:
            self._given.update(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._given.difference_update(revoked)
            self._taken.update(revoked)

    def changes(self) -> tuple[set[TopicPartition], set[TopicPartition]]:
        """(given, taken) since the last call."""
        with self._lock:
            given, taken = self._given, self._taken
            self._given, self._taken = set(), set()
        return given, taken


def open_consumer(servers: str, group: str, pattern: str, assigned: Assigned) -> KafkaConsumer:
    """A consumer that commits by hand, sees new topics in about two seconds, and is given up by
    the group ten seconds after its process was killed. Raises Transient or Terminal."""
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            fetch_min_bytes=1,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
            max_poll_records=1000,
            metadata_max_age_ms=2000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1000,
            reconnect_backoff_max_ms=2000,
            allow_auto_create_topics=False,
        )
        assigned.consumer = consumer
        consumer.subscribe(pattern=pattern, listener=assigned)
    except KafkaError as error:
        raise kafka_trouble(error) from error
    return consumer


def plain_consumer(servers: str) -> KafkaConsumer:
    """A consumer of no group, for reading given offsets. Raises Transient or Terminal."""
    try:
        return KafkaConsumer(
            bootstrap_servers=servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
            allow_auto_create_topics=False,
        )
    except KafkaError as error:
        raise kafka_trouble(error) from error


def bounds(
    consumer: KafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """First offset kept and end of each partition."""
    wanted = list(partitions)
    try:
        begin = consumer.beginning_offsets(wanted, timeout_ms=10_000)
        end = consumer.end_offsets(wanted, timeout_ms=10_000)
    except KafkaError as error:
        raise kafka_trouble(error) from error
    return {partition: (begin[partition], end[partition]) for partition in wanted}


def commit(
    consumer: KafkaConsumer,
    offsets: Mapping[TopicPartition, int],
    failed: Callable[[Mapping[TopicPartition, int]], None] | None = None,
) -> None:
    """Show the group's offsets: for the eye and the ledger only, so a failure raises nothing.

    With `failed`, does not wait, and tells it what could not be shown (on the I/O thread).
    """
    if not offsets:
        return
    values = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}

    def answered(_offsets: Any, answer: Any) -> None:
        if isinstance(answer, Exception) and failed is not None:
            log.info("offsets not shown to the group yet: %r", answer)
            failed(offsets)

    try:
        if failed is None:
            consumer.commit(values, timeout_ms=5000)
        else:
            consumer.commit_async(values, callback=answered)
    except KafkaError as error:
        log.warning("offsets not shown to the group: %r", error)
        if failed is not None:
            failed(offsets)


def kafka_trouble(error: KafkaError) -> RailError:
    """Kafka's error as one of ours."""
    text = f"Kafka: {type(error).__name__}: {error}"
    if isinstance(error, RetriableError) or getattr(error, "retriable", False):
        return Transient(text, part="kafka")
    if type(error).__name__ in {
        "NoBrokersAvailable",
        "CommitFailedError",
        "UnknownMemberIdError",
        "IllegalGenerationError",
    }:
        return Transient(text, part="kafka")
    return Terminal(
        text, part="kafka", remedy="check the broker's address, its version and the rights of this client"
    )
