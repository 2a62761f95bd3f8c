"""A reader of its own: notes when raw trains and clean records come out of Kafka.

Runs in a process beside the line and is no part of it. The commit time of each change is the
source's own, in microseconds, as the raw train carries it; both are told by the same clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition

from datarail import topics
from datarail.train import as_batch, decode

I64 = npt.NDArray[np.int64]


def listen(servers: str, station: str, resources: Sequence[str], pipe: Connection) -> None:
    """Read the raw topic and the clean topics of some resources, from their ends on, until the pipe
    says something; sends "ready" first, and at the end {"raw" | "clean": (commit, seen)}, microseconds
    since 1970, one entry a change."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers, enable_auto_commit=False, fetch_min_bytes=1, fetch_max_wait_ms=500
    )
    raw = topics.raw(station)
    wanted = [raw, *(topics.clean(station, resource) for resource in resources)]
    places = [TopicPartition(name, n) for name in wanted for n in consumer.partitions_for_topic(name) or ()]
    consumer.assign(places)
    consumer.seek_to_end(*places)
    for place in places:
        consumer.position(place)
    trains: list[tuple[int, bytes, list[tuple[str, bytes]]]] = []
    records: list[tuple[int, int]] = []
    pipe.send("ready")
    while not pipe.poll():
        polled = consumer.poll(timeout_ms=200)
        seen = time.time_ns() // 1000
        for place, found in polled.items():
            if place.topic == raw:
                trains += [(seen, record.value, record.headers) for record in found]
            else:
                records += [(seen, position(record.value)) for record in found]
    consumer.close()
    seen_at = _joined(trains, records)
    pipe.send(seen_at if resources else {"raw": seen_at["raw"]})


def position(value: bytes) -> int:
    """The commit's position in an envelope; far cheaper than to parse it."""
    # The source's part comes last: the same words in an item's value stand before it.
    start = value.rindex(b',"pos":') + 7
    return int(value[start : value.index(b",", start)])


def _joined(
    trains: list[tuple[int, bytes, list[tuple[str, bytes]]]], records: list[tuple[int, int]]
) -> dict[str, tuple[I64, I64]]:
    commits: dict[int, int] = {}
    commit, seen = [], []
    for at, value, headers in trains:
        for car in map(as_batch, decode(value, headers).cars):
            when = car.column("_commit").cast(pa.int64()).to_pylist()
            commits.update(zip(car.column("_pos").to_pylist(), when, strict=True))
            commit += when
            seen += [at] * car.num_rows
    known = [(commits[pos], at) for at, pos in records if pos in commits]
    return {"raw": columns(zip(commit, seen, strict=True)), "clean": columns(known)}


def columns(pairs: Iterable[tuple[int, int]]) -> tuple[I64, I64]:
    """Pairs as two columns."""
    array = np.array(list(pairs), np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
