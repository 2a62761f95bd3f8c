"""librdkafka as the loop uses it: partitions read from given offsets, and offsets shown to the group.

Against kafka-python, at 40 trains a second each by itself: 0.14 ms of CPU a train instead of 0.95.
Fetches and decompression are C's, on its own threads; Python is woken once a train.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import confluent_kafka as librdkafka
from confluent_kafka import KafkaError, KafkaException, admin
from kafka import TopicPartition

from datarail.errors import RailError, Terminal, Transient
from datarail.kafka_access import KafkaAccess

log = logging.getLogger(__name__)

#: What is fetched ahead, at most, in KB: bounds memory while a store is slow.
_AHEAD_KB = 8 << 10
#: When that much is there, how soon it is looked again; its default of a second would stall a drain.
_FULL_MS = 20
_MOST = 1000
#: Seconds that the last offsets are waited for when the consumer closes, and an answer of the broker.
_LAST_WORDS = 5.0
_ANSWER = 10.0
_OFFSETS: Any = admin.OffsetSpec  # type: ignore[attr-defined]
_FIRST, _END = _OFFSETS.earliest(), _OFFSETS.latest()
#: What librdkafka gets over by itself: it goes on asking, or begins where Kafka still has something.
_PASSES = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._NOENT,  # no leader to ask
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._AUTO_OFFSET_RESET,
    }
)
#: A broker that refuses us, or one that went down while we shook hands.
_UNSURE = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})


class Fetched(NamedTuple):
    """sinks.feeds.Record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Fetching:
    """One consumer. All calls are for one thread. Raises Transient or Terminal."""

    def __init__(
        self, access: KafkaAccess, group: str, *, fetch_bytes: int, least_bytes: int, wait_ms: int
    ) -> None:
        self._access = access
        self._unshown: Callable[[], None] = lambda: None
        self._under_way = 0  # commits
        self._fault: Terminal | None = None
        self._reading: set[TopicPartition] = set()
        always: dict[str, str | int | float | bool] = {
            **access.librdkafka(),
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 60_000,
            "log_level": 3,
        }
        self._log = logging.getLogger("kafka.librdkafka")
        # What is asked goes by a connection of its own: on the consumer's it would wait, each question
        # by itself, for the fetch that waits there for a train.
        self._asking: Any = admin.AdminClient(always, logger=self._log)
        self._consumer: Any = librdkafka.Consumer(
            always
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "check.crcs": True,  # off by default: a batch that the disk has spoiled would pass
                "fetch.min.bytes": least_bytes,
                "fetch.wait.max.ms": wait_ms,
                "fetch.max.bytes": fetch_bytes,
                "max.partition.fetch.bytes": fetch_bytes // 4,
                "queued.max.messages.kbytes": _AHEAD_KB,
                "fetch.queue.backoff.ms": _FULL_MS,
                "on_commit": self._committed,
                "error_cb": self._disturbed,
                # No session is kept; a commit waits so long for a broker that is away.
                "session.timeout.ms": 6000,
            },
            logger=self._log,
        )

    def poll(self, seconds: float) -> dict[TopicPartition, list[Fetched]]:
        """What is there, in order per partition; waits so long for the first. Raises Terminal alone:
        what passes is waited for here, or records taken before it would be lost."""
        if self._fault is not None:
            raise self._fault
        first = self._consumer.poll(seconds)
        if first is None:
            return {}
        found: dict[TopicPartition, list[Fetched]] = {}
        # `consume` alone would wait for company.
        for message in (first, *self._consumer.consume(_MOST - 1, 0)):
            error = message.error()
            if error is not None:
                fault = trouble(error, f"{message.topic()}/{message.partition()}")
                if isinstance(fault, Terminal):
                    self._fault = fault  # after what came before it
                    break
                log.info("%s", fault)
                continue
            topic, partition = message.topic(), message.partition()
            found.setdefault(TopicPartition(topic, partition), []).append(
                Fetched(
                    topic, partition, message.offset(), message.timestamp()[1],
                    message.value(), message.headers() or [],
                )
            )  # fmt: skip
        if self._fault is not None and not found:
            raise self._fault
        return found

    def read(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition too, from this offset on."""
        self.stop(partition)
        with _told():
            self._consumer.incremental_assign([_at(partition, offset)])
        self._reading.add(partition)

    def stop(self, partition: TopicPartition) -> None:
        """Read this partition no more; what of it was fetched ahead is dropped."""
        if partition in self._reading:
            self._reading.discard(partition)
            with _told():
                self._consumer.incremental_unassign([_at(partition)])

    def partitions(self, seconds: float = 5.0) -> dict[str, list[int]]:
        """Every topic and its partitions."""
        with _told():
            topics = self._asking.list_topics(timeout=seconds).topics
        return {name: sorted(about.partitions) for name, about in topics.items() if about.error is None}

    def bounds(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset kept and end of each partition, asked of the broker."""
        begins = self._offsets(partitions, _FIRST)
        ends = self.ends(partitions)
        return {each: (begins[each], ends[each]) for each in partitions}

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """End of each partition, asked of the broker."""
        return self._offsets(partitions, _END)

    def highwater(self, partition: TopicPartition) -> int | None:
        """The partition's end as the last fetch told it."""
        if partition not in self._reading:
            return None
        with _told():
            known = self._consumer.get_watermark_offsets(_at(partition), cached=True)
        return known[1] if known and known[1] >= 0 else None

    def show(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit, for the eye, without waiting; `on_unshown` tells what was not."""
        if offsets:
            with _told():
                values = [_at(each, offset) for each, offset in offsets.items()]
                self._consumer.commit(offsets=values, asynchronous=True)
            self._under_way += 1

    def on_unshown(self, call: Callable[[], None]) -> None:
        """What to call, from `poll`, when offsets could not be shown."""
        self._unshown = call

    def close(self) -> None:
        """Show what is on its way, for some seconds at most, and close."""
        until = time.monotonic() + _LAST_WORDS
        try:
            self._consumer.unassign()
            while self._under_way and time.monotonic() < until:
                self._consumer.poll(0.1)
        except KafkaException as error:
            log.warning("offsets not shown to the group: %s", error)
        finally:
            self._consumer.close()

    def _offsets(self, partitions: Collection[TopicPartition], spec: object) -> dict[TopicPartition, int]:
        with _told():
            asked = {each: _at(each) for each in partitions}
            answers = self._asking.list_offsets(dict.fromkeys(asked.values(), spec), request_timeout=_ANSWER)
            return {each: answers[at].result().offset for each, at in asked.items()}

    def _disturbed(self, error: KafkaError) -> None:
        # Called from `poll`, of what is no partition's. librdkafka itself would go on asking.
        fault = self._access.away(error, "kafka") if error.code() in _UNSURE else None
        if isinstance(fault, Terminal):
            self._fault = fault
        else:
            self._log.error("%s", error)

    def _committed(self, error: KafkaError | None, _partitions: object) -> None:
        self._under_way -= 1
        if error is not None:
            log.info("offsets not shown to the group yet: %s", error)
            self._unshown()


def _at(partition: TopicPartition, offset: int = librdkafka.OFFSET_INVALID) -> Any:
    return librdkafka.TopicPartition(partition.topic, partition.partition, offset)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise trouble(error.args[0]) from error


def trouble(error: KafkaError, where: str = "") -> RailError:
    """librdkafka's error as one of ours. where: the partition, if it is of one."""
    text = f"Kafka: {where + ': ' if where else ''}{error.name()}: {error.str()}"
    if error.code() in _PASSES or error.retriable():
        return Transient(text, part="kafka")
    remedy = "check the broker's address, its version and the rights of this client"
    if error.code() in (KafkaError._BAD_MSG, KafkaError.INVALID_MSG):
        remedy = "a batch is spoiled on the broker's disk: restore it from a replica, or rebuild the station"
    return Terminal(text, part="kafka", remedy=remedy)
