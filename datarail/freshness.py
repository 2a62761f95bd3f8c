"""Freshness of the last minute: quantiles of commit → hop per resource, in constant memory."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from datarail.metrics import FEW

#: Buckets grow by 5 %: 0.1 ms to some 4 hours.
_EDGES: npt.NDArray[np.float64] = 1e-4 * np.power(1.05, np.arange(386, dtype=np.float64))
_EDGE_LIST: list[float] = _EDGES.tolist()
_SLICE, _SLICES = 5.0, 12


class Freshness:
    """A sliding histogram. `add` takes seconds; `read` gives milliseconds over the last minute."""

    def __init__(self) -> None:
        self._slices: deque[tuple[float, npt.NDArray[np.int64]]] = deque(maxlen=_SLICES)

    def add(self, seconds: npt.NDArray[np.float64] | Sequence[float], now: float | None = None) -> None:
        """Count ages. Negative ones (clocks that disagree) count as the smallest."""
        now = time.monotonic() if now is None else now
        if not self._slices or now - self._slices[-1][0] >= _SLICE:
            self._slices.append((now, np.zeros(len(_EDGES) + 1, dtype=np.int64)))
        counts = self._slices[-1][1]
        if len(seconds) <= FEW:
            for each in seconds:
                counts[bisect_left(_EDGE_LIST, each)] += 1
            return
        counts[:] += np.bincount(np.searchsorted(_EDGES, seconds), minlength=len(_EDGES) + 1)

    def read(self, now: float | None = None) -> dict[str, float | None]:
        """{"p50", "p99"} in milliseconds, {"rate"} in rows a second; None when all is quiet."""
        now = time.monotonic() if now is None else now
        recent = [counts for at, counts in self._slices if now - at < _SLICE * _SLICES]
        total = np.sum(recent, axis=0) if recent else np.zeros(1, dtype=np.int64)
        rows = int(total.sum())
        if rows == 0:
            return {"p50": None, "p99": None, "rate": 0.0}
        cumulated = np.cumsum(total)

        def quantile(share: float) -> float:
            bucket = int(np.searchsorted(cumulated, share * rows))
            return round(float(_EDGES[min(bucket, len(_EDGES) - 1)]) * 1000, 2)

        oldest = max(at for at, _ in [self._slices[0]])
        span = max(now - oldest, 1.0) if len(recent) == len(self._slices) else _SLICE * _SLICES
        return {"p50": quantile(0.5), "p99": quantile(0.99), "rate": round(rows / span, 1)}
