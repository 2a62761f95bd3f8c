"""Latency under a steady load: commit → raw train, clean topic, indicator, golden record, history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bench.backlog import Backlog
from bench.hops import Hops
from bench.load import load
from bench.observers import Observers, Sight
from bench.probe import probe
from bench.rail import STATION, Rail
from bench.report import Report, quantile
from bench.say import say
from bench.subscriber import listen
from bench.usage import Usage
from datarail.position import Lane
from deploy import line
from examples.city.wide import WideTable

WARM_UP = 10.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

Look = Literal["raw", "clean", "probe"]
Milliseconds = npt.NDArray[np.float64]


@dataclass
class Latency:
    """One run. ages: by hop, milliseconds from commit; rows: changes of the whole load, warm-up
    included; cpu: seconds, of the line's processes; observers: of those beside it; sights: what the
    ages were made of, in the order of the commits; late: ms by which the load was behind its own
    schedule, the mean."""

    rate: float
    rows: int
    ages: dict[str, Milliseconds]
    cpu: dict[str, float]
    seconds: float
    bytes: dict[str, int]
    observers: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    late: float = 0.0


def latency(
    rail: Rail,
    backlog: Backlog,
    rate: float,
    seconds: float,
    each: int = 1,
    *,
    warm_up: float = WARM_UP,
    look: Sequence[Look] = ("raw", "clean", "probe"),
    without: str = "",
) -> Latency:
    """Update rows of all tables at random, `rate` rows a second in commits of `each`, for `seconds`
    after a warm-up.

    look: at which hops; capture alone is ("raw",), and for "probe" a table of events must be among
    the rail's. without: a part that is stopped during the load.
    """
    whole = "probe" in look or "clean" in look
    with closing(Hops(rail.settings, STATION)) as hops, Observers(_observers(rail, look)) as observers:
        if without:
            line.stop_part(rail.settings, without)
        before, used = hops.captured(Lane.STREAM), observers.cpu()
        sizes = {kind: hops.bytes(kind) for kind in ("raw", "train", "clean")}
        began = time.time()
        with Usage(rail.settings) as usage:
            loaded = load(rail, backlog, rate, seconds + warm_up, each)
        took = time.time() - began
        beside = {name: now - used[name] for name, now in observers.cpu().items()}
        beside["pgbench"] = loaded.cpu
        strangers = max(0.0, usage.beside["strangers"] - sum(beside.values()))
        beside |= {"bench": usage.beside["bench"], "strangers": strangers}
        if without:
            line.start_part(rail.settings, without)
        # Probes end first, or the line would never be still; the subscriber when all has arrived:
        # to leave the late ones out would flatter the line.
        seen = observers.stop("probe")
        hops.follow(Lane.STREAM, before + loaded.rows, seconds=240, only_raw=not whole)
        seen |= observers.stop("subscriber")
        written = {kind: hops.bytes(kind) - size for kind, size in sizes.items()}
    sights = {hop: _between(sight, began + warm_up, began + took) for hop, sight in seen.items()}
    ages = {hop: (at - commit) / 1000 for hop, (commit, at) in sights.items()}
    return Latency(
        rate, loaded.rows, ages, usage.cpu, took, written, beside, usage.peak_mb, sights, loaded.late
    )


def tell(report: Report, name: str, run: Latency) -> None:
    """Enter one run's figures under a name such as latency.1000."""
    report.add(f"{name}.rate", "rows/s", run.rows / run.seconds)
    for hop, ages in run.ages.items():
        if not len(ages):
            say(f"  {name}: too slow to see anything at {hop}")
            continue
        for word, share in SHARES.items():
            report.add(f"{name}.{hop}.{word}", "ms", quantile(ages.tolist(), share))
    busy = {part: 100 * used / run.seconds for part, used in run.cpu.items()}
    for part, percent in busy.items():
        report.add(f"{name}.cpu.{part}", "% of a core", percent)
    beside = {who: 100 * used / run.seconds for who, used in run.observers.items()}
    for who, percent in beside.items():
        report.add(f"{name}.beside.{who}", "% of a core", percent)
    for kind, size in run.bytes.items():
        report.add(f"{name}.bytes.{kind}", "bytes a row", size / max(run.rows, 1))
    told = (
        f"{hop} {np.median(ages):.1f}/{np.quantile(ages, 0.99):.1f} of {len(ages):,}"
        for hop, ages in run.ages.items()
        if len(ages)
    )
    say(f"  {name}: {run.rows / run.seconds:,.0f} rows/s; p50/p99 ms: {', '.join(told)}")
    say(f"  CPU % of a core: {', '.join(f'{part} {percent:.0f}' for part, percent in busy.items())}")
    say(f"  beside the line: {', '.join(f'{who} {percent:.0f}' for who, percent in beside.items())}")


def _observers(rail: Rail, look: Sequence[Look]) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    wanted: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    if "raw" in look:
        resources = [table.name for table in watched(rail.tables)] if "clean" in look else []
        wanted["subscriber"] = (listen, (rail.settings.kafka_access, STATION, resources))
    if "probe" in look:
        events = next(table for table in rail.tables if table.shape == "event")
        wanted["probe"] = (probe, (rail.settings, STATION, rail.source, events, f"of_{events.name}"))
    return wanted


def watched(tables: list[WideTable]) -> list[WideTable]:
    """The first table of each shape: a subscriber of all would take the line's cores from it."""
    return list({table.shape: table for table in reversed(tables)}.values())


def _between(sight: Sight, first: float, last: float) -> Sight:
    """What was committed between two moments (time.time()), in the order of the commits."""
    commit, seen = sight
    inside = (commit > first * 1e6) & (commit < last * 1e6)
    order = np.argsort(commit[inside], kind="stable")
    return commit[inside][order], seen[inside][order]
