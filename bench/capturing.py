"""Capture alone: source → raw trains, with neither streams nor sinks at work."""

from __future__ import annotations

from contextlib import closing

from bench import latency
from bench.backlog import Backlog
from bench.draining import Drain, told
from bench.hops import Hops
from bench.rail import STATION, Rail
from bench.report import Report, quantile
from bench.say import say
from bench.usage import Usage
from datarail.position import Lane


def snapshot(rail: Rail) -> Drain:
    """The first load of the rail's tables, to the raw topic."""
    rows = len(rail.tables) * rail.rows
    with closing(Hops(rail.settings, STATION)) as hops, Usage(rail.settings) as usage:
        began = rail.begin()
        samples = hops.follow(Lane.SNAPSHOT, rows, seconds=120 + rows / 2000, only_raw=True)
    with closing(Hops(rail.settings, STATION)) as hops:
        return told(rows, began, samples, usage, {"raw": hops.bytes("raw")}, {})


def stream(rail: Rail, backlog: Backlog, changes: int) -> Drain:
    """A backlog of updates, 1,000 a transaction, to the raw topic."""
    with closing(Hops(rail.settings, STATION)) as hops:
        rail.pause()
        before, size = hops.captured(Lane.STREAM), hops.bytes("raw")
        with closing(rail.connect()) as connection:
            rows = backlog.updates(connection, changes, 1000)
        with Usage(rail.settings) as usage:
            began = rail.resume()
            samples = hops.follow(Lane.STREAM, before + rows, seconds=120 + rows / 2000, only_raw=True)
        return told(rows, began, samples, usage, {"raw": hops.bytes("raw") - size}, {})


def steady(rail: Rail, backlog: Backlog, rate: int, seconds: float) -> list[float]:
    """Milliseconds from commit to the raw topic's reader, one row a commit."""
    run = latency.latency(rail, backlog, rate, seconds, look=("raw",))
    return [float(age) for age in run.ages["raw"]]


def tell(report: Report, name: str, run: Drain) -> None:
    """Enter a run of capture under a name such as capture.stream."""
    report.add(f"{name}.captured", "rows/s", run.rows / run.seconds["raw"])
    for part, used in run.cpu.items():
        report.add(f"{name}.cpu.{part}", "CPU s per million rows", used / run.rows * 1e6)
    for part, megabytes in run.peak_mb.items():
        report.add(f"{name}.rss.{part}", "MB", megabytes)
    report.add(f"{name}.bytes.raw", "bytes a row", run.bytes["raw"] / run.rows)
    say(f"  {name}: {run.rows / run.seconds['raw']:,.0f} rows/s")


def tell_steady(report: Report, name: str, ages: list[float]) -> None:
    for word, share in latency.SHARES.items():
        report.add(f"{name}.raw.{word}", "ms", quantile(ages, share))
    say(f"  {name}: p50 {quantile(ages, 0.5):.1f}, p99 {quantile(ages, 0.99):.1f} ms")
