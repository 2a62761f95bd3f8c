"""A reader of its own: notes when raw trains and clean records come out of Kafka.

Runs in a process beside the line and is no part of it, so it looks at a sample: the first partition
of the raw topic and of the clean topics it is told. What it saw is joined with the commits only
afterwards, when the line is still. The commit time of each change is the source's own, in
microseconds, as the raw train carries it; both are told by the same clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from kafka import TopicPartition

from datarail import topics
from datarail.kafka_access import KafkaAccess
from datarail.train import as_batch, decode
from sinks.consumer import FETCH_BYTES
from sinks.fetching import Fetched, Fetching

I64 = npt.NDArray[np.int64]


def listen(access: KafkaAccess, station: str, resources: Sequence[str], pipe: Connection) -> None:
    """Read the raw topic and the clean topics of some resources, from their ends on, until the pipe
    says something; sends "ready" first, and at the end {"raw" | "clean": (commit, seen)}, microseconds
    since 1970, one entry a change."""
    consumer = Fetching(access, "bench", fetch_bytes=FETCH_BYTES, least_bytes=1, wait_ms=500)
    with closing(consumer):
        raw = TopicPartition(topics.raw(station), 0)
        there = consumer.partitions().get(raw.topic, [0])
        begin = consumer.ends([TopicPartition(raw.topic, each) for each in there])
        places = [raw, *(TopicPartition(topics.clean(station, resource), 0) for resource in resources)]
        for place, end in consumer.ends(places).items():
            consumer.read(place, end)
        trains: dict[int, int] = {}
        records: list[tuple[int, int]] = []
        pipe.send("ready")
        while not pipe.poll():
            polled = consumer.poll(0.2)
            seen = time.time_ns() // 1000
            for place, found in polled.items():
                if place == raw:
                    trains |= {record.offset: seen for record in found}
                else:
                    records += [(position(record.value or b""), seen) for record in found]
        for place in places:
            consumer.stop(place)
        commits: dict[int, int] = {}
        sight = []
        for record in between(consumer, begin):
            for pos, commit in _commits(record.value or b"", record.headers):
                commits[pos] = commit
                if record.partition == raw.partition and record.offset in trains:
                    sight.append((commit, trains[record.offset]))
    told = {"raw": columns(sight)}
    if resources:
        told["clean"] = columns((commits[pos], at) for pos, at in records if pos in commits)
    pipe.send(told)


def between(consumer: Fetching, begin: dict[TopicPartition, int]) -> Iterator[Fetched]:
    """Every record from these offsets up to the partitions' present ends."""
    left = {place: end for place, end in consumer.ends(begin).items() if end > begin[place]}
    for place in left:
        consumer.read(place, begin[place])
    while left:
        for place, found in consumer.poll(0.2).items():
            yield from found
            if place in left and found[-1].offset + 1 >= left[place]:
                del left[place]


def position(value: bytes) -> int:
    """The commit's position in an envelope; far cheaper than to parse it."""
    # The source's part comes last: the same words in an item's value stand before it.
    start = value.rindex(b',"pos":') + 7
    return int(value[start : value.index(b",", start)])


def _commits(value: bytes, headers: list[tuple[str, bytes]]) -> Iterator[tuple[int, int]]:
    """Position and commit time (µs) of every change of a raw train."""
    for car in map(as_batch, decode(value, headers).cars):
        when = car.column("_commit").cast(pa.int64()).to_pylist()
        yield from zip(car.column("_pos").to_pylist(), when, strict=True)


def columns(pairs: Iterable[tuple[int, int]]) -> tuple[I64, I64]:
    """Pairs as two columns."""
    array = np.array(list(pairs), np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
