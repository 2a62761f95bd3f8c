"""Subscribing to clean topics: each change once, in order per key.

After a crash the line may repeat the end of what it sent (DESIGN rule 11). Within a partition
and lane identities rise, so a repeat is one that does not, and is dropped here. Other clients see
it with the same identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from datarail.errors import Terminal
from datarail.position import Identity
from datarail.settings import Settings


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change: its source key, its Debezium envelope, and where it stands in the topic."""

    key: str
    value: dict[str, Any]
    partition: int
    offset: int


class Subscription:
    """Iterate over a clean topic's changes.

    group: a name under which progress is kept (committed when the next change is asked for);
    None: nothing is kept. beginning: where a group without progress, or no group, starts.
    idle_seconds: stop after so long without a change; None: never.
    Raises Terminal for an unknown topic or where Kafka refuses us, Transient while Kafka is away.
    """

    def __init__(
        self,
        settings: Settings,
        topic: str,
        *,
        group: str | None = None,
        beginning: bool = True,
        idle_seconds: float | None = None,
    ) -> None:
        try:
            self._consumer = KafkaConsumer(
                **settings.kafka_access.kafka_python(),
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest" if beginning else "latest",
                fetch_min_bytes=1,
                consumer_timeout_ms=int(idle_seconds * 1000) if idle_seconds is not None else float("inf"),
            )
            known = self._consumer.topics()
        except KafkaError as error:
            raise settings.kafka_access.away(error, "subscriber") from error
        if topic not in known:
            clean = ", ".join(sorted(name for name in known if name.startswith("clean."))) or "none yet"
            self._consumer.close()
            raise Terminal(f"there is no topic {topic}", remedy=f"clean topics: {clean}")
        if group is None:
            self._consumer.assign(
                [TopicPartition(topic, each) for each in known_partitions(self._consumer, topic)]
            )
        else:
            self._consumer.subscribe([topic])
        self._group = group
        self._last: dict[tuple[int, str, str], Identity] = {}

    def __iter__(self) -> Iterator[Delivery]:
        for record in self._consumer:
            value = orjson.loads(record.value)
            if not self._repeat(record.partition, value["source"]):
                yield Delivery((record.key or b"").decode(), value, record.partition, record.offset)
            if self._group is not None:
                self._consumer.commit_async()

    def close(self) -> None:
        self._consumer.close()

    def _repeat(self, partition: int, source: dict[str, Any]) -> bool:
        place = (partition, source["name"], source["lane"])
        identity = Identity(source["epoch"], source["pos"], source["idx"], source["part"])
        last = self._last.get(place)
        if last is not None and identity <= last:
            return True
        self._last[place] = identity
        return False


def known_partitions(consumer: KafkaConsumer, topic: str) -> list[int]:
    return sorted(consumer.partitions_for_topic(topic) or ())
