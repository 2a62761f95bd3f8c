"""The Kafka topics connectors write: made when missing, read back to find the place to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError

from connectors.train_builder import Reached
from datarail import topics
from datarail.errors import BadRecord, RailError, Terminal, Transient
from datarail.position import Lane
from datarail.settings import Settings
from datarail.train import Manifest, read_manifest


def ensure(settings: Settings, station: str) -> int:
    """Make raw.<station> and the state topic where missing; returns the raw topic's partitions.

    A topic that exists keeps its number of partitions: keys would move with another.
    Raises Transient when Kafka is away.
    """
    raw = topics.raw(station)
    try:
        _make(settings, [NewTopic(raw, settings.partitions, settings.replication), _state_topic(settings)])
        consumer = reader(settings)
        try:
            return len(partitions_of(consumer, raw))
        finally:
            consumer.close()
    except KafkaError as error:
        raise away(settings, error) from error


def ensure_state(settings: Settings) -> None:
    """Make the state topic where missing; raises Transient when Kafka is away."""
    try:
        _make(settings, [_state_topic(settings)])
    except KafkaError as error:
        raise away(settings, error) from error


def _state_topic(settings: Settings) -> NewTopic:
    return NewTopic(topics.STATE, 1, settings.replication, topic_configs={"cleanup.policy": "compact"})


def _make(settings: Settings, wanted: list[NewTopic]) -> None:
    admin = KafkaAdminClient(**settings.kafka_access.kafka_python(), client_id="datarail connector")
    try:
        known = set(admin.list_topics())
        for topic in wanted:
            if topic.name not in known:
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics([topic])
    finally:
        admin.close()


def reader(settings: Settings) -> KafkaConsumer:
    """A consumer without a group: it reads what it is told to."""
    return KafkaConsumer(
        **settings.kafka_access.kafka_python(),
        client_id="datarail connector",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=32 << 20,
    )


def partitions_of(consumer: KafkaConsumer, topic: str) -> list[int]:
    """A topic's partitions in order; raises Transient while Kafka does not know it (yet)."""
    for _ in range(50):
        found = consumer.partitions_for_topic(topic)
        if found:
            return sorted(found)
        consumer.poll(100)
    raise Transient(f"Kafka knows no topic {topic} yet", part="connector")


def end(producer: KafkaProducer, seconds: float) -> None:
    """Close a producer, whatever is still under way after so many seconds.

    kafka-python's own close() raises then and leaves its sender running (3.0.12): that could
    deliver trains after a successor has read where to go on. Raises Terminal when the sender
    does not end: only a new process is sure to be alone.
    """
    try:
        producer.close(timeout=seconds)
    except KafkaTimeoutError:
        sender = producer._sender
        sender.force_close()
        sender.join(10)
        if sender.is_alive():
            raise Terminal("the Kafka producer does not end", part="connector") from None
        with suppress(KafkaError):
            producer.close(timeout=0)


def away(settings: Settings, error: KafkaError) -> RailError:
    """Transient, or Terminal where Kafka refuses us."""
    return settings.kafka_access.away(error, "connector")


def read_reached(settings: Settings, station: str, noted: list[Reached]) -> list[Reached]:
    """How far each partition of raw.<station> is, from its last trains over what state has noted.

    The last train of a connector suffices: state notes the other lane whenever the lanes
    change over (see connectors.state). Trains of other makers (replay lane) are passed by.
    """
    topic = topics.raw(station)
    try:
        consumer = reader(settings)
        try:
            reached = [Reached(dict(place.seq), place.last) for place in noted]
            for partition in partitions_of(consumer, topic):
                for manifest in backwards(consumer, TopicPartition(topic, partition)):
                    for lane, (_, last) in manifest.seq.items():
                        seq = reached[partition].seq
                        seq[lane] = max(seq.get(lane, 0), last)
                    if manifest.last is not None:
                        known = reached[partition].last
                        reached[partition].last = max(known, manifest.last) if known else manifest.last
                    if Lane.STREAM in manifest.seq or Lane.SNAPSHOT in manifest.seq:
                        break
            return reached
        finally:
            consumer.close()
    except KafkaError as error:
        raise away(settings, error) from error


def backwards(consumer: KafkaConsumer, partition: TopicPartition) -> Iterator[Manifest]:
    """Manifests from the last train on back."""
    consumer.assign([partition])
    first = consumer.beginning_offsets([partition])[partition]
    offset = consumer.end_offsets([partition])[partition] - 1
    while offset >= first:
        consumer.seek(partition, offset)
        for _ in range(100):
            records = consumer.poll(200, max_records=1).get(partition)
            if records:
                break
        else:
            raise Transient(f"offset {offset} of {partition.topic} cannot be read", part="connector")
        try:
            yield read_manifest(records[0].headers)
        except BadRecord as error:
            raise Terminal(
                f"offset {offset} of {partition.topic}[{partition.partition}] is no train: {error}",
                part="connector",
                remedy="find out who writes to the topic; a connector cannot tell where it stood",
            ) from error
        offset -= 1
