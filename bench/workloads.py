"""What is measured, and in what order: each workload is a line of its own, from nothing to audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import draining, latency
from bench.backlog import Backlog
from bench.details import Details
from bench.rail import Rail
from bench.report import Report
from bench.say import say


@dataclass(frozen=True)
class Size:
    """How large a benchmark is. rows: of all tables together before the first change; changes: of
    one backlog; runs: repeats; seconds: of one latency run; rates: commits a second in those."""

    rows: int = 640_000
    changes: int = 400_000
    runs: int = 3
    seconds: float = 20.0
    rates: tuple[int, ...] = (1000,)
    transactions: tuple[int, ...] = ()


QUICK = Size(rows=64_000, changes=100_000, runs=1, seconds=8.0)
FULL = Size(
    rows=1_280_000, changes=1_000_000, seconds=40.0, rates=(100, 1000, 10_000), transactions=(1, 1_000_000)
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


def wide(bench: Bench) -> None:
    """A city's resources in one station: snapshot, mixed backlogs, latency."""
    resources = bench.resources
    name = f"wide{resources}"
    with Rail(bench.folder / "line", resources, bench.size.rows // resources) as rail:
        backlog = _first_load(bench, rail, name)
        _drains(bench, rail, backlog, name, bench.size.runs)
        for rate in bench.size.rates:
            for _ in range(bench.size.runs):
                say(f"{name}: {rate:,} rows/s, one a commit")
                run = latency.latency(rail, backlog, rate, bench.size.seconds)
                latency.tell(bench.report, f"{name}.latency.{rate}", run)
                bench.details.latency(f"{name}.latency.{rate}", run)
        _audit(rail)


def one(bench: Bench) -> None:
    """One population table of 13 columns: snapshot, mixed backlogs, transactions of other sizes."""
    with Rail(bench.folder / "line", 1, bench.size.rows) as rail:
        backlog = _first_load(bench, rail, "one")
        _drains(bench, rail, backlog, "one", bench.size.runs)
        for each in bench.size.transactions:
            for _ in range(bench.size.runs):
                say(f"one: draining {bench.size.changes:,} updates, {each:,} a transaction")
                run = draining.drain(rail, backlog, bench.size.changes, each, updates_only=True)
                draining.tell(bench.report, f"one.transactions.{each}", run)
        _audit(rail)


WORKLOADS: dict[str, Callable[[Bench], None]] = {"wide": wide, "one": one}


def _first_load(bench: Bench, rail: Rail, name: str) -> Backlog:
    say(f"{name}: the first load of {len(rail.tables) * rail.rows:,} rows")
    run = draining.first_load(rail, bench.profiles(f"{name}.snapshot"))
    draining.tell(bench.report, f"{name}.snapshot", run)
    bench.details.drain(f"{name}.snapshot", run)
    return Backlog(rail.tables, rail.rows)


def _drains(bench: Bench, rail: Rail, backlog: Backlog, name: str, runs: int) -> None:
    say(f"{name}: warming up")
    draining.drain(rail, backlog, bench.size.changes // 4)
    for turn in range(runs):
        say(f"{name}: draining a backlog of {bench.size.changes:,} changes, {turn + 1} of {runs}")
        run = draining.drain(rail, backlog, bench.size.changes)
        draining.tell(bench.report, f"{name}.drain", run)
        bench.details.drain(f"{name}.drain", run)
    if bench.profile:
        say(f"{name}: once more under py-spy; slower, so not counted")
        draining.drain(rail, backlog, bench.size.changes, profile=bench.profiles(f"{name}.drain"))


def _audit(rail: Rail) -> None:
    document = rail.audit()
    captured = sum(each["captured"] for each in document["resources"])
    say(f"the audit balances: {captured:,} changes captured, nothing missing, nothing twice")
