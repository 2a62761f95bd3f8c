"""How late trains are, and how long a sink waits with them because of it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sinks.port import Arrival

#: Seconds from the first unflushed row to the flush: as long as it was late when it came, between
#: these two. Larger blocks are several times cheaper for the server, and nobody sees a second of
#: difference in what is late by some.
FRESH, CATCHING_UP = 1.0, 5.0


def lateness(arrival: Arrival) -> float:
    """Seconds since the first commit that a train brings."""
    manifest = arrival.train.manifest
    commits = [entry.first_commit for entry in manifest.cars if entry.first_commit]
    return time.time() - min(commits, default=manifest.captured) / 1e6


def flush_after(late: float, fresh: float = FRESH) -> float:
    """Seconds to wait with what came so late. fresh: for what was not late at all."""
    return max(fresh, min(late, CATCHING_UP))


def caught_up(arrivals: Iterable[Arrival]) -> bool:
    """Whether none of these is late: a sink that is handed them has all that came before."""
    return all(lateness(arrival) < FRESH for arrival in arrivals)
