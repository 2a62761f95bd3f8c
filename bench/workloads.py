"""What is measured, and in what order: each workload is a line of its own, from nothing to audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

from bench import backpressure, capturing, draining, growth, latency, outage, steady
from bench.backlog import Backlog
from bench.load import load
from bench.rail import Rail
from bench.say import say
from bench.sizes import Bench
from examples.city.wide import SHAPES
from examples.city.wide_rows import Shape

#: Commits a second. A line in service has had them for long; by its many small requests Java learns what of
#: the broker it should compile.
WARMING_RATE = 100.0
Step = Callable[[Bench, Rail, Backlog, str], None]


def drains(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """Mixed backlogs."""
    for turn in range(bench.size.runs):
        say(f"{name}: draining a backlog of {bench.size.changes:,} changes, {turn + 1} of {bench.size.runs}")
        run = draining.drain(rail, backlog, bench.size.changes)
        draining.tell(bench.report, f"{name}.drain", run)
        bench.details.drain(f"{name}.drain", run)
    if bench.profile:
        say(f"{name}: once more under py-spy; slower, so not counted")
        draining.drain(rail, backlog, bench.size.changes, profile=bench.profiles(f"{name}.drain"))


def kinds(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """Inserts, updates and deletes by themselves; transactions of other sizes."""
    kinds: tuple[draining.Kind, ...] = ("inserts", "updates", "deletes")
    for kind in kinds:
        say(f"{name}: draining {bench.size.changes // 2:,} {kind}")
        run = draining.drain(rail, backlog, bench.size.changes // 2, kind=kind)
        draining.tell(bench.report, f"{name}.{kind}", run)
    for each in bench.size.transactions:
        # A commit a row takes the source longer to write than all others to land.
        changes = max(bench.size.changes // (4 if each == 1 else 1), each)
        say(f"{name}: draining {changes:,} updates, {each:,} a transaction")
        run = draining.drain(rail, backlog, changes, each, kind="updates")
        draining.tell(bench.report, f"{name}.transactions.{each}", run)


def latencies(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """Commit → raw train, clean topic, indicator, golden record, history at steady rates."""
    for rate, each in bench.size.rates:
        for _ in range(bench.size.runs):
            say(f"{name}: {rate:,} rows/s, {each} a commit")
            size = bench.size
            run = latency.latency(rail, backlog, rate, size.seconds, each, warm_up=size.warm_up)
            latency.tell(bench.report, f"{name}.latency.{rate}", run)
            bench.details.latency(f"{name}.latency.{rate}", run)


def rates(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """The highest rate at which freshness stays flat."""
    say(f"{name}: looking for the highest rate at which freshness stays flat")
    trials = steady.highest(rail, backlog, bench.size)
    steady.tell(bench.report, f"{name}.steady", trials)


def outages(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """A sink, and the agent, stopped for a while under a steady load."""
    size = bench.size
    for part in size.outages:
        say(f"{name}: {part} stopped for {size.outage_seconds:.0f} s under {size.outage_rate:,.0f} rows/s")
        run = outage.outage(rail, backlog, part, size.outage_rate, size.outage_seconds)
        outage.tell(bench.report, f"{name}.outage", run)
        bench.details.course(f"{name}.outage.{part}", run.course)


def pressure(bench: Bench, rail: Rail, backlog: Backlog, name: str) -> None:
    """A source twice as fast as the sinks; a sink that stands still."""
    known = bench.report.readings.get((f"{name}.drain.landed", "rows/s"))
    if known is None:
        drains(bench, rail, backlog, name)
        known = bench.report.readings[f"{name}.drain.landed", "rows/s"]
    say(f"{name}: a source twice as fast as the sinks")
    run = backpressure.pressed(rail, backlog, 2 * median(known), bench.size.pressure_seconds)
    backpressure.tell(bench.report, f"{name}.backpressure", run)
    bench.details.course(f"{name}.backpressure", run.course)
    for _ in range(bench.size.runs):
        say(f"{name}: indicators with every sink at work, and with history's stopped")
        runs = backpressure.without_history(rail, backlog, bench.size)
        backpressure.tell_dead(bench.report, f"{name}.dead", runs)


def wide(bench: Bench, *steps: Step) -> None:
    """A city's resources in one station: its first load, then the steps."""
    resources = bench.resources
    _line(bench, f"wide{resources}", resources, bench.size.rows // resources, steps)


def one(bench: Bench, *steps: Step) -> None:
    """One population table of 13 columns: its first load, then the steps."""
    _line(bench, "one", 1, bench.size.one_rows, steps, ("resident",))


def few(bench: Bench) -> None:
    """A table of each shape: latency where a departure has few cars."""
    size = replace(bench.size, rates=tuple(rate for rate in bench.size.rates if rate[1] == 1))
    wide(replace(bench, resources=len(SHAPES), size=size), latencies)


def capture(bench: Bench) -> None:
    """One table to the raw topic, streams and sinks stopped; they are started for the audit."""
    say("capture: source → raw trains alone")
    with Rail(bench.folder / "line", 1, bench.size.changes, ("resident",), parts="connector") as rail:
        backlog = Backlog(rail.tables, rail.rows)
        capturing.tell(bench.report, "capture.snapshot", capturing.snapshot(rail))
        for _ in range(bench.size.runs):
            capturing.tell(
                bench.report, "capture.stream", capturing.stream(rail, backlog, bench.size.changes)
            )
        rail.start_rest()
        rail.balance(600)


ALL: dict[str, Callable[[Bench], None]] = {
    "wide": lambda bench: wide(bench, drains, latencies, rates, outages, pressure),
    "few": few,
    "one": lambda bench: one(bench, drains, kinds),
    "capture": capture,
}
#: One step alone, on a line of its own.
STEPS: dict[str, Callable[[Bench], None]] = {
    name: partial(lambda step, bench: wide(bench, step), step)
    for name, step in (
        ("drains", drains),
        ("latency", latencies),
        ("rates", rates),
        ("outage", outages),
        ("backpressure", pressure),
    )
}
GROWTH: dict[str, Callable[[Bench], None]] = {
    "growth-resources": growth.resources,
    "growth-partitions": growth.partitions,
    "growth-rows": growth.rows,
    "growth-skew": growth.skew,
    "growth-workers": growth.processes,
}


def chosen(only: str | None, *, full: bool) -> list[Callable[[Bench], None]]:
    """The workloads of a name; without one, what `make bench` measures, with growth if `full`."""
    if only is None:
        return [*ALL.values(), *(GROWTH.values() if full else ())]
    return list(GROWTH.values()) if only == "growth" else [{**ALL, **STEPS, **GROWTH}[only]]


NAMES = sorted({*ALL, *STEPS, *GROWTH, "growth"})


def _line(
    bench: Bench,
    name: str,
    resources: int,
    rows: int,
    steps: Sequence[Step],
    shapes: Sequence[Shape] | None = None,
) -> None:
    with Rail(bench.folder / "line", resources, rows, *([shapes] if shapes else [])) as rail:
        say(f"{name}: the first load of {len(rail.tables) * rail.rows:,} rows")
        run = draining.first_load(rail, bench.profiles(f"{name}.snapshot"))
        draining.tell(bench.report, f"{name}.snapshot", run)
        bench.details.drain(f"{name}.snapshot", run)
        backlog = Backlog(rail.tables, rail.rows)
        say(f"{name}: warming up")
        load(rail, backlog, WARMING_RATE, bench.size.warming_seconds)
        draining.drain(rail, backlog, bench.size.changes // 4)
        for step in steps:
            step(bench, rail, backlog, name)
        rail.balance()
