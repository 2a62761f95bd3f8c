"""The Kafka side of a sink: one consumer whose partitions are paused until they are placed."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, RetriableError
from kafka.structs import OffsetAndMetadata

from datarail.errors import RailError, Terminal, Transient

log = logging.getLogger(__name__)

#: A train of the largest size must fit; rows, not bytes, bound what a sink is handed.
FETCH_BYTES = 16 << 20
#: Seconds until a station just attached is noticed.
LOOK_EVERY = 2.0
#: What a reader who need not be quick waits for: each fetch of a single train costs broker and
#: client what one of many costs.
PATIENT_BYTES, PATIENT_MS = 256 << 10, 200


class Partitions:
    """The partitions that are this process's: of the topics that match, its share.

    Shares are fixed (`DATARAIL_SHARE=0/1`: number 0 of 1 process), as a StatefulSet's ordinals
    are, and not given out by a group: a sink resumes from its own marks anyway, nothing is ever
    rebalanced, and two processes never write the same partition.
    """

    def __init__(self, consumer: KafkaConsumer, pattern: str, share: str = "0/1") -> None:
        self._consumer = consumer
        self._pattern = re.compile(pattern)
        self._number, self._of = (int(part) for part in share.split("/"))
        self._mine: set[TopicPartition] = set()
        self._due = 0.0

    def changes(self) -> set[TopicPartition]:
        """Partitions that came since the last call, paused until they are placed. Looks every
        two seconds."""
        if time.monotonic() < self._due:
            return set()
        self._due = time.monotonic() + LOOK_EVERY
        try:
            found = {
                TopicPartition(topic, number)
                for topic in self._consumer.topics()
                if self._pattern.match(topic)
                for number in self._consumer.partitions_for_topic(topic) or ()
                if number % self._of == self._number
            }
        except KafkaError as error:
            log.warning("topics cannot be listed: %s", kafka_trouble(error))
            return set()
        # While a broker starts it may not know all its topics yet; one that is gone for good
        # does no harm by staying.
        given = found - self._mine
        if given:
            self._mine |= given
            self._consumer.assign(sorted(self._mine))
            self._consumer.pause(*given)
        return given


def open_consumer(
    servers: str, group: str, pattern: str, *, patient: bool = False
) -> tuple[KafkaConsumer, Partitions]:
    """A consumer that commits by hand, and its partitions. patient: trains may wait a fifth of a
    second for company. Raises Transient or Terminal."""
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=servers,
            bootstrap_timeout_ms=5000,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_min_bytes=PATIENT_BYTES if patient else 1,
            fetch_max_wait_ms=PATIENT_MS if patient else 500,
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
            max_poll_records=1000,
            metadata_max_age_ms=60_000,
            reconnect_backoff_max_ms=1000,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )
    except KafkaError as error:
        raise kafka_trouble(error) from error
    return consumer, Partitions(consumer, pattern, os.environ.get("DATARAIL_SHARE", "0/1"))


def plain_consumer(servers: str) -> KafkaConsumer:
    """A consumer of no group, for reading given offsets. Raises Transient or Terminal."""
    try:
        return KafkaConsumer(
            bootstrap_servers=servers,
            bootstrap_timeout_ms=5000,
            reconnect_backoff_max_ms=1000,
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
