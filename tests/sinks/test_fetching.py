"""librdkafka as the loop uses it, against a real broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError
from kafka import KafkaProducer, TopicPartition
from trains import create_topic

from datarail.errors import Terminal, Transient
from datarail.kafka_access import KafkaAccess, KafkaSecurity
from datarail.settings import Settings
from sinks.consumer import FETCH_BYTES
from sinks.fetching import Fetched, Fetching, trouble
from sinks.ledger.query import committed_by_group


@pytest.fixture
def topic(servers: Settings) -> str:
    """Two partitions: "0" to "9" in the first, "a" and "b" in the second."""
    name = f"fetching.{uuid.uuid4().hex[:10]}"
    create_topic(servers, name)
    producer = KafkaProducer(bootstrap_servers=servers.kafka, acks="all")
    for partition, values in ((0, "0123456789"), (1, "ab")):
        for value in values:
            producer.send(name, value.encode(), partition=partition, headers=[("h", b"1")]).get(30)
    producer.close()
    return name


@pytest.fixture
def consumer(servers: Settings) -> Iterator[Fetching]:
    made = open_one(servers.kafka_access)
    yield made
    made.close()


def open_one(access: KafkaAccess, group: str = "fetching", wait_ms: int = 500) -> Fetching:
    return Fetching(access, group, fetch_bytes=FETCH_BYTES, least_bytes=1, wait_ms=wait_ms)


def some(consumer: Fetching, count: int) -> list[Fetched]:
    """So many records, or what came in ten seconds."""
    found: list[Fetched] = []
    until = time.monotonic() + 10
    while len(found) < count and time.monotonic() < until:
        for records in consumer.poll(0.2).values():
            found += records
    return found


def test_partitions_are_read_from_where_they_are_placed(consumer: Fetching, topic: str) -> None:
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert consumer.partitions()[topic] == [0, 1]
    assert consumer.bounds([first, second]) == {first: (0, 10), second: (0, 2)}
    consumer.read(first, 7)
    found = some(consumer, 3)
    assert [(each.offset, each.value) for each in found] == [(7, b"7"), (8, b"8"), (9, b"9")]
    assert found[0].headers == [("h", b"1")] and found[0].timestamp > 0
    assert consumer.highwater(first) == 10
    # Another partition leaves the first one's place alone.
    consumer.read(second, 1)
    assert [each.value for each in some(consumer, 1)] == [b"b"]
    consumer.stop(first)
    assert consumer.highwater(first) is None
    consumer.read(first, 0)
    assert [each.offset for each in some(consumer, 10)] == list(range(10))


def test_a_question_does_not_wait_for_a_fetch_that_waits_for_a_train(servers: Settings, topic: str) -> None:
    consumer = open_one(servers.kafka_access, wait_ms=60_000)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer.read(first, 10)
    assert consumer.poll(1.0) == {}  # there is nothing, and the broker is asked for a minute
    began = time.monotonic()
    assert consumer.ends([first, second]) == {first: 10, second: 2}
    assert consumer.bounds([]) == {}
    assert topic in consumer.partitions()
    assert time.monotonic() - began < 20
    with pytest.raises(Transient, match="Kafka"):
        consumer.ends([TopicPartition("nobody", 0)])
    consumer.close()


def test_what_was_fetched_ahead_is_dropped_when_a_partition_stands_still(
    consumer: Fetching, topic: str
) -> None:
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer.read(first, 0)
    time.sleep(1.0)  # fetched, and not polled
    consumer.stop(first)
    consumer.read(second, 0)
    assert [each.topic + str(each.partition) for each in some(consumer, 2)] == [topic + "1"] * 2
    assert not consumer.poll(0.3)


def test_an_offset_that_is_gone_begins_where_kafka_still_has_something(
    consumer: Fetching, topic: str
) -> None:
    consumer.read(TopicPartition(topic, 1), 1000)
    assert [each.offset for each in some(consumer, 2)] == [0, 1]


def test_offsets_are_shown_to_the_group_also_at_the_last_moment(servers: Settings, topic: str) -> None:
    group = f"g{topic}"
    consumer = open_one(servers.kafka_access, group)
    consumer.show({TopicPartition(topic, 0): 4})
    consumer.close()
    assert committed_by_group(servers, [group])[group][topic, 0] == 4


def test_a_broker_that_is_away_is_told_and_holds_nobody_up() -> None:
    consumer = open_one(KafkaAccess("127.0.0.1:1", KafkaSecurity(protocol="PLAINTEXT")))
    unshown: list[bool] = []
    consumer.on_unshown(lambda: unshown.append(True))
    with pytest.raises(Transient, match="Kafka"):
        consumer.partitions(0.5)
    assert consumer.poll(0.1) == {}
    consumer.show({TopicPartition("nobody", 0): 1})
    began = time.monotonic()
    consumer.close()
    assert unshown
    assert time.monotonic() - began < 15  # librdkafka would wait for three quarters of a minute


def test_only_what_does_not_pass_by_itself_is_terminal() -> None:
    for code in (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.FENCED_LEADER_EPOCH, KafkaError._TRANSPORT):
        assert isinstance(trouble(KafkaError(code)), Transient)
    for code in (KafkaError._BAD_MSG, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION):
        assert isinstance(trouble(KafkaError(code)), Terminal)
    assert "d.s/3" in str(trouble(KafkaError(KafkaError._BAD_MSG), "d.s/3"))
