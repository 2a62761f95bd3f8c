"""More than the sinks can take, and a sink that takes nothing: memory, honesty, order, and who waits."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from bench.backlog import Backlog
from bench.hops import Hops
from bench.latency import Latency, latency
from bench.load import Load
from bench.observers import Observers, Sight
from bench.probe import probe
from bench.rail import STATION, Rail
from bench.report import Report, quantile
from bench.say import say
from bench.sizes import Size
from bench.usage import Usage
from datarail.cli.standing import standing
from datarail.errors import Terminal
from datarail.position import Lane

EACH = 500
_PATIENCE = 600.0


@dataclass
class Pressure:
    """A load above what can land. rows: of the load; seconds: of it, and until all had landed after
    it; behind: rows committed and not landed when it ended, told: what `datarail status` said then;
    course: (seconds, lag_rows as status tells them); sights: the probes'."""

    asked: float
    rows: int
    seconds: float
    catching_up: float
    behind: int
    told: int
    peak_mb: dict[str, float]
    course: list[tuple[float, int]] = field(repr=False)
    sights: dict[str, Sight] = field(repr=False)


def pressed(rail: Rail, backlog: Backlog, rate: float, seconds: float) -> Pressure:
    """Commit `rate` rows a second for `seconds`, then wait until all have landed."""
    events = next(table for table in rail.tables if table.shape == "event")
    words = (rail.settings, STATION, rail.source, events, f"of_{events.name}")
    course: list[tuple[float, int]] = []

    def look() -> int:
        lag: int = sum(each["lag_rows"] for each in standing(rail.settings).resources)
        course.append((round(time.monotonic() - began, 1), lag))
        return lag

    with closing(Hops(rail.settings, STATION)) as hops, Observers({"probe": (probe, words)}) as observers:
        before = sum(hops.landed(Lane.STREAM).values())
        with Usage(rail.settings) as usage:
            began = time.monotonic()
            with Load(rail, backlog, rate, seconds, EACH) as running:
                while running.under_way:
                    look()
                    time.sleep(1)
                rows = running.wait().rows
            took = time.monotonic() - began
            landed = sum(hops.landed(Lane.STREAM).values()) - before
            told = look()
            sights = observers.stop("probe", _PATIENCE)
            while look():
                if time.monotonic() > began + took + _PATIENCE:
                    raise Terminal(f"status still tells of {course[-1][1]:,} rows on their way", part="bench")
                time.sleep(1)
            catching_up = time.monotonic() - began - took
        hops.settle()  # status can say nothing of what the ledger has not read yet
    return Pressure(rate, rows, took, catching_up, max(0, rows - landed), told, usage.peak_mb, course, sights)


def overtaken(sight: Sight) -> list[float]:
    """For each change but the last: by how many milliseconds a younger one was seen before it; 0 for
    one that was seen before all younger ones."""
    commit, seen = sight
    if len(seen) < 2:
        return []
    at = seen[np.argsort(commit, kind="stable")]
    soonest = np.minimum.accumulate(at[::-1])[::-1]  # of this one and all younger ones
    ages: list[float] = (np.maximum(at[:-1] - soonest[1:], 0) / 1000).tolist()
    return ages


def tell(report: Report, name: str, run: Pressure) -> None:
    """Enter a run under a name such as wide32.backpressure."""
    report.add(f"{name}.load", "rows/s", run.rows / run.seconds)
    report.add(f"{name}.behind", "rows", run.behind)
    report.add(f"{name}.lag_rows", "rows", run.told)
    report.add(f"{name}.lag_rows.peak", "rows", max(lag for _, lag in run.course))
    report.add(f"{name}.caught_up", "s", run.catching_up)
    for part, megabytes in run.peak_mb.items():
        report.add(f"{name}.rss.{part}", "MB", megabytes)
    for hop, sight in run.sights.items():
        late = overtaken(sight)
        if late:
            report.add(f"{name}.overtaken.{hop}.p50", "ms", quantile(late, 0.5))
            report.add(f"{name}.overtaken.{hop}.max", "ms", max(late))
    say(
        f"  {name}: {run.rows / run.seconds:,.0f} rows/s came of {run.asked:,.0f}; {run.behind:,} rows "
        f"behind at its end, status says {run.told:,}; all landed {run.catching_up:.0f} s later"
    )


def without_history(rail: Rail, backlog: Backlog, size: Size) -> dict[str, Latency]:
    """Latency at 1,000 rows/s, a commit each, with every sink at work and with history's stopped."""
    return {
        word: latency(rail, backlog, 1000, size.seconds, warm_up=size.warm_up, look=("probe",), without=part)
        for word, part in (("all", ""), ("without_history", "sink-history"))
    }


def tell_dead(report: Report, name: str, runs: dict[str, Latency]) -> None:
    """Enter how late indicators and golden records were, with and without the history."""
    for word, run in runs.items():
        for hop in ("indicator", "golden"):
            ages = run.ages[hop].tolist()
            if not ages:
                say(f"  {word}: too slow to see any {hop}")
                continue
            for share in (0.5, 0.99):
                report.add(f"{name}.{word}.{hop}.p{share * 100:.0f}", "ms", quantile(ages, share))
            say(f"  {word}: {hop} p50 {quantile(ages, 0.5):.1f}, p99 {quantile(ages, 0.99):.1f} ms")
