"""What a sink tells Prometheus while it lands trains: rows, bytes, freshness, lag."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datarail import metrics
from datarail.freshness import Freshness
from datarail.metrics import of
from datarail.position import Lane
from datarail.small_car import COMMIT, SmallCar
from datarail.train import Train

#: Ages looked at per car; a car of more rows is sampled evenly, each sample standing for many.
_SAMPLES = 256


@dataclass(slots=True, frozen=True)
class Cargo:
    """What of one car has to be counted when it has landed. commits: sampled, microseconds."""

    station: str
    resource: str
    ops: dict[str, int]
    commits: npt.NDArray[np.int64] | list[int]
    weight: int


def cargo(train: Train) -> list[Cargo]:
    """The countable part of a train, without keeping its cars in memory."""
    found = []
    for index, entry in enumerate(train.manifest.cars):
        commits: npt.NDArray[np.int64] | list[int] = []
        step = 1
        # Only the stream lane is fresh or late; a snapshot row was committed long before.
        if entry.lane is Lane.STREAM and entry.rows:
            car = train.cars[index] if train.cars else None
            if car is None:
                commits = [entry.first_commit, entry.last_commit]
            elif isinstance(car, SmallCar):
                commits = [row[COMMIT] for row in car.rows]
            else:
                step = entry.rows // _SAMPLES + 1
                column = car.column("_commit").to_numpy(zero_copy_only=False)
                commits = np.asarray(column)[::step].astype("M8[us]").astype(np.int64)
        found.append(Cargo(train.manifest.station, entry.resource, entry.ops, commits, step))
    return found


class Watch:
    """The numbers of one sink."""

    def __init__(self, hop: str) -> None:
        self.hop = hop
        self._fresh: dict[tuple[str, str], Freshness] = defaultdict(Freshness)
        self._shown = 0.0

    def passed(self, train: Train, size: int) -> None:
        """A train was written; `size` in bytes as it was in Kafka."""
        of(metrics.BYTES, self.hop, train.manifest.station).inc(size)
        for entry in train.manifest.cars:
            for op, count in entry.ops.items():
                of(metrics.ROWS, self.hop, train.manifest.station, entry.resource, op).inc(count)
        of(metrics.TRAIN_ROWS, self.hop, train.manifest.station).observe(train.manifest.rows)

    def landed(self, cargoes: list[Cargo]) -> None:
        """These rows can be queried now."""
        now = time.time()
        for load in cargoes:
            if len(load.commits) == 0:
                continue
            ages = _ages(load, now)
            self._fresh[load.station, load.resource].add(ages)
            metrics.observe(of(metrics.FRESHNESS, self.hop, load.station, load.resource), ages)
        of(metrics.PROGRESS, self.hop).set(now)

    def show(self) -> None:
        """Bring the quantiles of the last minute up to date, at most every second."""
        now = time.monotonic()
        if now - self._shown < 1.0:
            return
        self._shown = now
        for (station, resource), fresh in self._fresh.items():
            read = fresh.read(now)
            for quantile in ("p50", "p99"):
                value = read[quantile]
                labels = (self.hop, station, resource, quantile)
                metrics.RECENT.labels(*labels).set(float("nan") if value is None else value)
            metrics.RATE.labels(self.hop, station, resource).set(read["rate"] or 0.0)


def _ages(load: Cargo, now: float) -> npt.NDArray[np.float64] | list[float]:
    if isinstance(load.commits, list):
        return [max(now - commit / 1e6, 0.0) for commit in load.commits]
    ages = np.maximum(now - load.commits / 1e6, 0.0)
    return np.repeat(ages, load.weight) if load.weight > 1 else ages
