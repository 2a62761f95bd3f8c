"""The numbers every part serves to Prometheus, under the same names for every hop."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter, Gauge, Histogram, start_http_server

#: Up to so many values plain Python is cheaper than a call to NumPy.
FEW = 12

_BY = ["hop", "station", "resource"]

ROWS = Counter("datarail_rows", "Changes passed by a hop", [*_BY, "op"])
BYTES = Counter("datarail_bytes", "Bytes of trains passed by a hop", ["hop", "station"])
TRAIN_ROWS = Histogram(
    "datarail_train_rows",
    "Changes in a train",
    ["hop", "station"],
    buckets=(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536),
)
FRESHNESS = Histogram(
    "datarail_freshness_seconds",
    "From the source's commit to this hop",
    _BY,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60, 300, 3600),
)
RECENT = Gauge("datarail_freshness_recent_milliseconds", "Quantiles over the last minute", [*_BY, "quantile"])
RATE = Gauge("datarail_rate_rows_per_second", "Over the last minute", _BY)
LAG = Gauge("datarail_lag_records", "Kafka records not yet passed by a hop", ["hop", "topic", "partition"])
HELD = Counter("datarail_held", "Changes held in quarantine, by rule", ["station", "resource", "rule"])
ERRORS = Counter("datarail_errors", "Errors met, by kind", ["hop", "kind"])
PROGRESS = Gauge("datarail_last_progress_timestamp_seconds", "When a hop last moved on", ["hop"])
REPEATS = Counter("datarail_repeats_dropped", "Changes a hop had already passed", ["hop", "station"])
GAPS = Counter("datarail_gaps", "Sequence gaps a hop has seen: each is a lost change", ["hop", "station"])


@functools.cache
def of(metric: Any, *labels: str) -> Any:
    """`metric.labels(...)`, kept: finding the child anew takes as long as cleaning a row."""
    return metric.labels(*labels)


def observe(histogram: Histogram, values: npt.NDArray[np.float64] | Sequence[float]) -> None:
    """Observe many values of one labelled histogram at once.

    prometheus_client has no such call, and one `observe` per row would cost more than cleaning it:
    hence the private names. A few are still cheaper one by one.
    """
    if len(values) <= FEW:
        for value in values:
            histogram.observe(value)
        return
    values = np.asarray(values)
    # An upper bound holds its own value (le): the first bound not below the value is its bucket.
    counts = np.bincount(
        np.searchsorted(histogram._upper_bounds, values), minlength=len(histogram._upper_bounds)
    )
    for bucket, count in zip(histogram._buckets, counts.tolist(), strict=False):
        if count:
            bucket.inc(count)
    histogram._sum.inc(float(values.sum()))


def serve() -> int | None:
    """Serve this process's metrics on DATARAIL_METRICS_PORT, loopback unless
    DATARAIL_METRICS_HOST says otherwise; None when no port is given."""
    port = os.environ.get("DATARAIL_METRICS_PORT")
    if not port:
        return None
    start_http_server(int(port), addr=os.environ.get("DATARAIL_METRICS_HOST", "127.0.0.1"))
    return int(port)
