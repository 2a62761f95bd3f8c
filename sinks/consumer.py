"""The Kafka side of a sink: its share of the partitions, and one consumer of them."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, RetriableError

from datarail.errors import RailError, Terminal, Transient
from datarail.kafka_access import KafkaAccess
from sinks.fetching import Fetching

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

    def __init__(self, consumer: Fetching, pattern: str, share: str = "0/1") -> None:
        self._consumer = consumer
        self._pattern = re.compile(pattern)
        self._number, self._of = (int(part) for part in share.split("/"))
        self._mine: set[TopicPartition] = set()
        self._due = 0.0

    def changes(self) -> set[TopicPartition]:
        """Partitions that came since the last call; nobody reads them yet. Looks every two
        seconds."""
        if time.monotonic() < self._due:
            return set()
        self._due = time.monotonic() + LOOK_EVERY
        try:
            found = {
                TopicPartition(topic, number)
                for topic, numbers in self._consumer.partitions().items()
                if self._pattern.match(topic)
                for number in numbers
                if number % self._of == self._number
            }
        except Transient as error:
            log.warning("topics cannot be listed: %s", error)
            return set()
        # While a broker starts it may not know all its topics yet; one that is gone for good
        # does no harm by staying.
        given = found - self._mine
        self._mine |= given
        return given


def open_consumer(
    access: KafkaAccess, group: str, pattern: str, *, patient: bool = False
) -> tuple[Fetching, Partitions]:
    """A consumer that commits by hand, and its partitions. patient: trains may wait a fifth of a
    second for company. Raises Transient or Terminal."""
    consumer = Fetching(
        access,
        group,
        fetch_bytes=FETCH_BYTES,
        least_bytes=PATIENT_BYTES if patient else 1,
        wait_ms=PATIENT_MS if patient else 500,
    )
    try:
        consumer.partitions()
    except RailError as error:
        consumer.close()
        if isinstance(error, Transient):
            raise access.away(error, "kafka") from error
        raise
    return consumer, Partitions(consumer, pattern, os.environ.get("DATARAIL_SHARE", "0/1"))


def plain_consumer(access: KafkaAccess) -> KafkaConsumer:
    """A consumer of no group, for reading given offsets. Raises Transient or Terminal."""
    try:
        return KafkaConsumer(
            **access.kafka_python(),
            reconnect_backoff_max_ms=1000,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=FETCH_BYTES // 4,
            allow_auto_create_topics=False,
        )
    except KafkaError as error:
        raise access.away(error, "kafka") from error


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


def commit(consumer: Fetching, offsets: Mapping[TopicPartition, int]) -> None:
    """Show the group's offsets: for the eye and the ledger only, so a failure raises nothing."""
    try:
        consumer.show(offsets)
    except RailError as error:
        log.warning("offsets not shown to the group: %s", error)


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
