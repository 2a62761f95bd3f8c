"""What this hop shows: counters for each departure, and quantiles of the last minute."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from datarail import metrics
from datarail.freshness import Freshness
from datarail.metrics import of
from datarail.position import Lane
from streams.departure import Commits, Departure
from streams.opening import Opened

HOP = "cleaned"


def _ages(commits: Commits, now: float) -> npt.NDArray[np.float64] | list[float]:
    if isinstance(commits, list):
        return [max(now - commit / 1e6, 0.0) for commit in commits]
    return np.maximum(now - commits / 1e6, 0)


class Gauges:
    """Numbers of the streams process."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str], Freshness] = defaultdict(Freshness)

    def opened(self, station: str, opened: Opened) -> None:
        """Count what opening a raw record found."""
        if opened.repeats:
            metrics.REPEATS.labels(HOP, station).inc(opened.repeats)
        for gap in opened.gaps:
            metrics.GAPS.labels(HOP, station).inc(gap.last - gap.first + 1)
        if opened.error:
            metrics.ERRORS.labels(HOP, "unreadable").inc()

    def departed(self, station: str, departure: Departure) -> None:
        """Count a clean train, once it is acknowledged. Ages are of the stream lane alone: a row
        of a snapshot is as old as its table."""
        now = time.time()
        of(metrics.BYTES, HOP, station).inc(len(departure.value))
        of(metrics.TRAIN_ROWS, HOP, station).observe(departure.manifest.rows)
        for made in departure.made:
            entry = made.entry
            for op, count in entry.ops.items():
                of(metrics.ROWS, HOP, station, entry.resource, op).inc(count)
            for rule, count in (made.held_by_rule or {}).items():
                metrics.HELD.labels(station, entry.resource, rule).inc(count)
            if made.missing:
                metrics.ERRORS.labels(HOP, "schema_drift").inc()
            if entry.rows and entry.lane == Lane.STREAM:
                ages = _ages(made.commits, now)
                metrics.observe(of(metrics.FRESHNESS, HOP, station, entry.resource), ages)
                self._recent[station, entry.resource].add(ages)
        of(metrics.PROGRESS, HOP).set(now)

    def refresh(self) -> None:
        """Set the gauges of the last minute; called every few seconds."""
        for (station, resource), recent in self._recent.items():
            read = recent.read()
            for quantile in ("p50", "p99"):
                value = read[quantile]
                shown = float("nan") if value is None else value
                metrics.RECENT.labels(HOP, station, resource, quantile).set(shown)
            metrics.RATE.labels(HOP, station, resource).set(read["rate"] or 0)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Raw records of a partition that are not cleaned yet."""
        of(metrics.LAG, HOP, topic, str(partition)).set(records)
