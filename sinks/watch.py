"""What a sink tells Prometheus while it lands trains: rows, bytes, freshness, lag."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from prometheus_client import Histogram

from datarail import metrics
from datarail.freshness import Freshness
from datarail.position import Lane
from datarail.train import Train, as_batch

#: Ages looked at per car; a car of more rows is sampled evenly, each sample standing for many.
_SAMPLES = 256
_EDGES = np.array(metrics.FRESHNESS._upper_bounds[:-1])


@dataclass(slots=True, frozen=True)
class Cargo:
    """What of one car has to be counted when it has landed. commits: sampled, microseconds."""

    station: str
    resource: str
    ops: dict[str, int]
    commits: npt.NDArray[np.int64]
    weight: float


def cargo(train: Train) -> list[Cargo]:
    """The countable part of a train, without keeping its cars in memory."""
    found = []
    for index, entry in enumerate(train.manifest.cars):
        commits = np.zeros(0, dtype=np.int64)
        step = 1
        # Only the stream lane is fresh or late; a snapshot row was committed long before.
        if entry.lane is Lane.STREAM and entry.rows:
            if train.cars:
                step = entry.rows // _SAMPLES + 1
                column = as_batch(train.cars[index]).column("_commit")
                commits = (
                    np.asarray(column.to_numpy(zero_copy_only=False))[::step]
                    .astype("M8[us]")
                    .astype(np.int64)
                )
            else:
                commits = np.array([entry.first_commit, entry.last_commit], dtype=np.int64)
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
        metrics.BYTES.labels(self.hop, train.manifest.station).inc(size)
        for entry in train.manifest.cars:
            for op, count in entry.ops.items():
                metrics.ROWS.labels(self.hop, train.manifest.station, entry.resource, op).inc(count)
        metrics.TRAIN_ROWS.labels(self.hop, train.manifest.station).observe(train.manifest.rows)

    def landed(self, cargoes: list[Cargo]) -> None:
        """These rows can be queried now."""
        now = time.time()
        for load in cargoes:
            if len(load.commits):
                ages = np.maximum(now - load.commits / 1e6, 0.0)
                ages = np.repeat(ages, int(load.weight)) if load.weight > 1 else ages
                self._fresh[load.station, load.resource].add(ages)
                _observe(metrics.FRESHNESS.labels(self.hop, load.station, load.resource), ages)
        metrics.PROGRESS.labels(self.hop).set(now)

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


def _observe(histogram: Histogram, ages: npt.NDArray[np.float64]) -> None:
    # prometheus-client has no way to observe many at once; one call a row would cost more
    # than landing the row does.
    counts = np.bincount(np.searchsorted(_EDGES, ages), minlength=len(_EDGES) + 1)
    for bucket, count in zip(histogram._buckets, counts, strict=True):
        if count:
            bucket.inc(int(count))
    histogram._sum.inc(float(ages.sum()))
