"""Waiting until what is in Kafka now has landed everywhere: for the audit, also under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from datarail.settings import Settings
from datarail.topics import RAW_PATTERN, TRAIN_PATTERN
from sinks.consumer import plain_consumer
from sinks.feeds import Feed, open_manifest
from sinks.ledger.query import committed_by_group
from sinks.rebuild import kept_by_kafka
from sinks.registry import SINKS, group

STREAMS = "streams"  # the agents' group
_READERS = tuple(name for name in SINKS if name != "quarantine")


def wait_until_landed(
    settings: Settings,
    timeout: float,
    sinks: Sequence[str] = _READERS,
    progress: Callable[[list[str]], None] = lambda _left: None,
) -> list[str]:
    """Wait until what raw topics hold at the call has passed the agents and then every sink.

    What comes later is not waited for, so a line under load can be audited too. Returns what has
    not landed within `timeout` seconds, in sentences; empty when all has. Raises Transient.
    """
    until = time.monotonic() + timeout
    for pattern, groups in (
        (RAW_PATTERN, [STREAMS]),
        (TRAIN_PATTERN, [group(name) for name in sinks]),
        (RAW_PATTERN, [group("ledger")] if "ledger" in sinks else []),
    ):
        ends = _ends(settings, pattern)
        while left := behind(ends, committed_by_group(settings, groups)):
            if time.monotonic() > until:
                return left
            progress(left)
            time.sleep(0.5)
    return []


def behind(
    ends: Mapping[tuple[str, int], int], committed: Mapping[str, Mapping[tuple[str, int], int]]
) -> list[str]:
    """Which groups have not reached these ends, in sentences."""
    return [
        f"{reader} is {end - passed.get(place, 0):,} trains behind in {place[0]}/{place[1]}"
        for reader, passed in committed.items()
        for place, end in ends.items()
        if passed.get(place, 0) < end
    ]


def _ends(settings: Settings, pattern: str) -> dict[tuple[str, int], int]:
    consumer = plain_consumer(settings.kafka_access)
    try:
        kept = kept_by_kafka(consumer, Feed(pattern, open_manifest))
    finally:
        consumer.close()
    return {(place.topic, place.partition): end for place, (_, end) in kept.items() if end}
