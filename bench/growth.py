"""How cost grows: with resources, partitions, rows, a load that is one resource's, and processes."""

from __future__ import annotations

from bench import draining, workers
from bench.backlog import Backlog
from bench.rail import Rail
from bench.say import say
from bench.sizes import Bench

#: Of the measurements that vary something else.
_RESOURCES = 10
#: Partitions that two processes share.
_SHARED = 4


def resources(bench: Bench) -> None:
    """As many rows in 1, 10, 94 tables."""
    for number in bench.size.growth_resources:
        _point(bench, f"growth.resources.{number}", number, bench.size.growth_rows[0])


def partitions(bench: Bench) -> None:
    """The same in 1, 4, 16 partitions."""
    for number in bench.size.growth_partitions:
        name = f"growth.partitions.{number}"
        _point(bench, name, _RESOURCES, bench.size.growth_rows[0], partitions=number)


def rows(bench: Bench) -> None:
    """1 to 20 million rows in one table before the first change."""
    for number in bench.size.growth_rows:
        _point(bench, f"growth.rows.{number}", 1, number)


def skew(bench: Bench) -> None:
    """All resources alike, and one with nine tenths of the load."""
    for word, skewed in (("even", False), ("skewed", True)):
        _point(bench, f"growth.load.{word}", _RESOURCES, bench.size.growth_rows[0], skewed=skewed)


def processes(bench: Bench) -> None:
    """Each landing sink as one process and as two, a core each."""
    say("growth.workers: one process of a sink, and two")
    rows = bench.size.growth_rows[0] // _RESOURCES
    with Rail(bench.folder / "line", _RESOURCES, rows, partitions=_SHARED) as rail:
        backlog = Backlog(rail.tables, rail.rows)
        draining.first_load(rail)
        draining.drain(rail, backlog, bench.size.changes // 4)
        workers.tell(bench.report, "growth.workers", rail, backlog, bench.size.changes)
        rail.balance()


def _point(
    bench: Bench, name: str, tables: int, total: int, *, partitions: int = 1, skewed: bool = False
) -> None:
    say(f"{name}: {total:,} rows in {tables} tables")
    with Rail(bench.folder / "line", tables, total // tables, partitions=partitions) as rail:
        run = draining.first_load(rail)
        draining.tell(bench.report, f"{name}.snapshot", run)
        backlog = Backlog(rail.tables, rail.rows, skewed=skewed)
        draining.drain(rail, backlog, bench.size.changes // 4)
        for _ in range(bench.size.growth_runs):
            run = draining.drain(rail, backlog, bench.size.changes)
            draining.tell(bench.report, f"{name}.drain", run)
        rail.balance()
