"""One partition as a sink with contributions knows it: its marks, and what truncates made void."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import polars as pl

from datarail.position import Mark
from datarail.topics import station_of
from datarail.train import Car
from sinks.contributions import Contributions
from sinks.latest import Latest
from sinks.passing import moved_on
from sinks.port import Arrival
from sinks.version import VERSION_WIDTH


class Partition:
    """mark: trains up to it are in the contributions. remote: what Redis has acknowledged; begun: up to
    which offset Redis has been told that batches have begun."""

    def __init__(self, topic: str, number: int, contributions: Contributions) -> None:
        self.topic = topic
        self.number = number
        self.station = station_of(topic)
        self.contributions = contributions
        self.mark = Mark()
        self.remote: Mark | None = None
        self.begun: int | None = None

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    def truncated(self, resource: str) -> bytes | None:
        """Version of the resource's last truncate: what is older is void, wherever it is."""
        return self.contributions.note(truncate_note(resource))

    def known(self, keys: Sequence[bytes], truncated: bytes | None) -> list[bytes | None]:
        """The contributions that are there, but for void ones. keys: sorted."""
        return self.without_void(self.contributions.get(keys), truncated) if keys else []

    def known_after(
        self, keys: Sequence[bytes], truncated: bytes | None, own: Sequence[bytes], values: Sequence[bytes]
    ) -> list[bytes | None]:
        """`known` once these contributions of a batch are written. own: their keys, sorted."""
        known = self.known(keys, truncated)
        for number, key in enumerate(keys):
            at = bisect_left(own, key)
            if at < len(own) and own[at] == key:
                known[number] = values[at]
        return known

    def without_void(self, values: list[bytes | None], truncated: bytes | None) -> list[bytes | None]:
        """Contributions, with those None that a truncate has made void."""
        if truncated is None:
            return values
        return [None if value is None or value[:VERSION_WIDTH] < truncated else value for value in values]


def truncate_note(resource: str) -> str:
    """The name under which contributions note a resource's last truncate."""
    return f"truncated {resource}"


def not_void(reduced: Latest, truncated: bytes | None) -> Latest:
    """Reduced changes without those that a truncate has made void before they came."""
    if truncated is None:
        return reduced
    text = truncated.decode()
    reduced.good = reduced.good.filter(pl.col("_version") >= text)
    reduced.held = [each for each in reduced.held if each.version > text]
    return reduced


def gathered(arrivals: Sequence[Arrival], wanted: Mapping[str, object]) -> dict[str, list[Car]]:
    """The cars of the resources wanted, in order of arrival."""
    cars: dict[str, list[Car]] = {}
    for arrival in arrivals:
        train = arrival.train
        for entry, car in zip(train.manifest.cars, train.cars, strict=True):
            if entry.resource in wanted and car.num_rows:
                cars.setdefault(entry.resource, []).append(car)
    return cars


def mark_after(arrivals: Sequence[Arrival], mark: Mark) -> Mark:
    """The mark after these trains."""
    for arrival in arrivals:
        mark = moved_on(mark, arrival.offset, arrival.train)
    return mark
