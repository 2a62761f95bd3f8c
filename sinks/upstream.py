"""Whether more is on its way to a sink: raw trains that no clean train it was given covers yet."""

from __future__ import annotations

import time

from kafka import TopicPartition

from datarail import topics
from datarail.errors import RailError
from sinks.fetching import Fetching
from sinks.port import Arrival

#: Seconds an answer of the broker is good for.
_ASK_EVERY = 0.1


class Upstream:
    """Asks the consumer's broker. Where it does not answer, or knows the topic no more, nothing is on
    its way: the sink flushes sooner, that is all."""

    def __init__(self, consumer: Fetching) -> None:
        self._consumer = consumer
        self._passed: dict[TopicPartition, int] = {}  # raw offsets that clean trains cover
        self._asked = 0.0
        self._more = False

    def arrived(self, arrival: Arrival) -> None:
        raw = arrival.train.manifest.raw
        if raw is not None:
            place = TopicPartition(topics.raw(arrival.train.manifest.station), arrival.partition)
            self._passed[place] = raw[1]

    def more(self) -> bool:
        now = time.monotonic()
        if now - self._asked >= _ASK_EVERY:
            self._asked = now
            try:
                ends = self._consumer.ends(self._passed)
                self._more = any(end > self._passed[place] for place, end in ends.items())
            except RailError:
                self._more = False
        return self._more
