"""What a sink reads: which topics, and how a Kafka record becomes an Arrival."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from datarail import topics
from datarail.position import Mark
from datarail.train import Manifest, Train, decode, read_manifest
from sinks.passing import repeats_in_part
from sinks.port import Arrival


class Record(Protocol):
    """A record of Kafka, as sinks.fetching and kafka-python give it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True)
class Feed:
    """pattern: topics by regular expression. open: raises BadRecord. trusted: every record was
    written by the line's own agent, so one that cannot be opened is a bug: stop, never skip.
    whole: how to open a train that repeats in part, when `open` reads no more than its manifest."""

    pattern: str
    open: Callable[[Record], Arrival]
    trusted: bool = True
    whole: Callable[[Record], Arrival] | None = None

    def arrival(self, record: Record, mark: Mark) -> Arrival:
        """The record opened, as far as is needed to tell what of it the mark has not passed."""
        arrival = self.open(record)
        if self.whole is not None and repeats_in_part(arrival.train.manifest, mark):
            return self.whole(record)
        return arrival


def open_train(record: Record) -> Arrival:
    """A train, opened whole; small cars stay small."""
    train = decode(record.value, record.headers, small=True)
    return Arrival(record.topic, record.partition, record.offset, train)


def open_manifest(record: Record) -> Arrival:
    """Only what the headers count."""
    manifest = read_manifest(record.headers)
    return Arrival(record.topic, record.partition, record.offset, Train(manifest, []))


def open_record(record: Record) -> Arrival:
    """A record that is no train. The manifest holds no more than when it was written."""
    manifest = Manifest(station="", epoch=0, captured=record.timestamp * 1000)
    return Arrival(record.topic, record.partition, record.offset, Train(manifest, []), record.value or b"")


TRAINS = Feed(topics.TRAIN_PATTERN, open_train)
MANIFESTS = Feed(r"^(raw|train)\..+", open_manifest, trusted=False, whole=open_train)
QUARANTINE_PATTERN = rf"^{topics.QUARANTINE}$"
