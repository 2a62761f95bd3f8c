"""Draining a backlog: how many rows a second come all the way, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.backlog import Backlog
from bench.disk import grown, on_disk
from bench.hops import Hops, Sample, reached
from bench.profiling import Profiles
from bench.rail import STATION, Rail
from bench.report import Report
from bench.say import say
from bench.usage import Usage
from datarail.position import Lane
from sinks.registry import LANDING

KINDS = ("raw", "train", "clean")
#: What a backlog is made of: methods of Backlog.
Kind = Literal["mixed", "inserts", "updates", "deletes"]


@dataclass
class Drain:
    """One run. seconds: by hop, from the moment the source sends; bytes: what the topics' logs grew
    by, disk: what the stores' folders grew by; beside: CPU seconds of others; samples: the way there."""

    rows: int
    seconds: dict[str, float]
    cpu: dict[str, float]
    peak_mb: dict[str, float]
    bytes: dict[str, int]
    disk: dict[str, int]
    beside: dict[str, float]
    began: float
    samples: list[Sample] = field(repr=False)

    @property
    def landed(self) -> float:
        """Seconds until every sink and the clean topics have all."""
        return max(self.seconds[hop] for hop in ("clean", *LANDING))


def first_load(rail: Rail, profile: Path | None = None) -> Drain:
    """Let the station begin and wait until the snapshot of all its tables has landed."""
    rows = len(rail.tables) * rail.rows
    disk = on_disk(rail.settings)
    with closing(Hops(rail.settings, STATION)) as hops, Usage(rail.settings) as usage:
        at = rail.begin()
        with Profiles(rail.settings, profile):
            samples = hops.follow(Lane.SNAPSHOT, rows, seconds=120 + rows / 2000)
    written = {kind: hops.bytes(kind) for kind in KINDS}
    return told(rows, at, samples, usage, written, grown(rail.settings, disk))


def drain(
    rail: Rail,
    backlog: Backlog,
    changes: int,
    each: int = 1000,
    *,
    kind: Kind = "mixed",
    profile: Path | None = None,
) -> Drain:
    """Pause, commit `changes` changes of a kind in transactions of `each`, resume, wait until all have
    landed."""
    with closing(Hops(rail.settings, STATION)) as hops:
        rail.pause()
        before = hops.captured(Lane.STREAM)
        sizes, disk = {kind: hops.bytes(kind) for kind in KINDS}, on_disk(rail.settings)
        with closing(rail.connect()) as connection:
            write: Callable[[Any, int, int], int] = getattr(backlog, kind)
            began = time.monotonic()
            rows = write(connection, changes, each)
            say(f"  {rows:,} changes committed in {time.monotonic() - began:.1f} s")
        time.sleep(1)
        with Usage(rail.settings) as usage:
            at = rail.resume()
            with Profiles(rail.settings, profile):
                samples = hops.follow(Lane.STREAM, before + rows, seconds=120 + rows / 2000)
        written = {kind: hops.bytes(kind) - size for kind, size in sizes.items()}
        return told(rows, at, samples, usage, written, grown(rail.settings, disk))


def told(
    rows: int,
    at: float,
    samples: list[Sample],
    usage: Usage,
    written: dict[str, int],
    disk: dict[str, int],
) -> Drain:
    """What a run was, from what was watched. at: time.time() of its beginning."""
    seconds = {hop: max(moment - at, 0.001) for hop, moment in reached(samples).items()}
    return Drain(rows, seconds, usage.cpu, usage.peak_mb, written, disk, usage.beside, at, samples)


def tell(report: Report, name: str, run: Drain) -> None:
    """Enter one run's figures under a name such as drain.32."""
    million = run.rows / 1e6
    report.add(f"{name}.landed", "rows/s", run.rows / run.landed)
    for hop, seconds in run.seconds.items():
        report.add(
            f"{name}.{'captured' if hop == 'raw' else 'cleaned' if hop == 'train' else hop}",
            "rows/s",
            run.rows / seconds,
        )
    for part, seconds in run.cpu.items():
        report.add(f"{name}.cpu.{part}", "CPU s per million rows", seconds / million)
    report.add(f"{name}.cpu", "CPU s per million rows", sum(run.cpu.values()) / million)
    for who, seconds in run.beside.items():
        report.add(f"{name}.beside.{who}", "CPU s per million rows", seconds / million)
    for part, megabytes in run.peak_mb.items():
        report.add(f"{name}.rss.{part}", "MB", megabytes)
    for kind, size in run.bytes.items():
        report.add(f"{name}.bytes.{kind}", "bytes a row", size / run.rows)
    for store, size in run.disk.items():
        report.add(f"{name}.disk.{store}", "bytes a row", size / run.rows)
    stages = ", ".join(f"{hop} {run.rows / seconds:,.0f}" for hop, seconds in run.seconds.items())
    say(f"  {name}: {run.rows / run.landed:,.0f} rows/s landed everywhere ({stages})")
    used = {**run.cpu, **run.beside}
    say(f"  CPU µs a row: {', '.join(f'{part} {seconds / million:.1f}' for part, seconds in used.items())}")
