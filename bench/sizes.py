"""How large a benchmark is, and where its results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.details import Details
from bench.report import Report


@dataclass(frozen=True)
class Size:
    """rows: of all tables together before the first change; changes: of one backlog; runs: repeats.

    warming_seconds: of a light load on a line before anything is measured there.
    seconds: of one latency run, after so many to warm_up; rates: of those, rows a second and rows a commit.
    transactions: rows in one, each a backlog of its own.
    steady_…: of the search for the highest rate: seconds of a load, the first and the most tried in
    rows/s, how often what is in between is halved, how often a load is tried before it is too much.
    outage_seconds, outage_rate: how long a part is stopped, under how many rows/s; outages: which.
    pressure_seconds: of a load twice as fast as the sinks.
    growth_…: what is varied; growth_runs: repeats of each.
    """

    rows: int = 640_000
    one_rows: int = 1_000_000
    changes: int = 400_000
    runs: int = 3
    warming_seconds: float = 90.0
    seconds: float = 10.0
    warm_up: float = 10.0
    rates: tuple[tuple[int, int], ...] = ((100, 1), (1000, 1), (10_000, 10))
    transactions: tuple[int, ...] = (1, 1_000_000)
    steady_seconds: float = 12.0
    steady_halvings: int = 3
    steady_first: float = 2000.0
    steady_most: float = 128_000.0
    steady_tries: int = 2
    outage_seconds: float = 30.0
    outage_rate: float = 1000.0
    outages: tuple[str, ...] = ("sink-history", "streams")
    pressure_seconds: float = 15.0
    growth_resources: tuple[int, ...] = (1, 10, 94)
    growth_partitions: tuple[int, ...] = (1, 4, 16)
    growth_rows: tuple[int, ...] = (1_000_000, 3_000_000)
    growth_runs: int = 1


QUICK = Size(
    rows=64_000,
    one_rows=64_000,
    changes=60_000,
    runs=1,
    warming_seconds=4.0,
    seconds=6.0,
    warm_up=4.0,
    rates=((1000, 1),),
    transactions=(),
    steady_seconds=4.0,
    steady_halvings=0,
    steady_tries=1,
    steady_first=4000.0,
    steady_most=4000.0,
    outage_seconds=5.0,
    outages=("sink-history",),
    pressure_seconds=5.0,
    growth_resources=(1, 10),
    growth_partitions=(1, 4),
    growth_rows=(50_000, 100_000),
)
FULL = Size(
    rows=1_280_000,
    changes=1_000_000,
    runs=5,
    seconds=60.0,
    transactions=(1, 1000, 1_000_000),
    steady_seconds=30.0,
    steady_halvings=4,
    outage_seconds=600.0,
    outages=("sink-history", "sink-themes", "sink-indicators", "streams"),
    pressure_seconds=60.0,
    growth_rows=(1_000_000, 5_000_000, 20_000_000),
    growth_runs=3,
)


@dataclass
class Bench:
    """Where results go, and how much is asked for."""

    folder: Path
    size: Size
    report: Report
    details: Details
    resources: int = 32
    profile: bool = False

    def profiles(self, name: str) -> Path | None:
        return self.folder / "profile" / name if self.profile else None
