"""`make bench-peers`: Debezium and ours capture the same table side by side; build/bench-peers.json."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bench import capturing
from bench.__main__ import BUILD, stop_on_signals
from bench.backlog import Backlog
from bench.peers import debezium, plain
from bench.rail import Rail
from bench.report import Report
from bench.say import say
from datarail.errors import RailError
from examples.city.wide_rows import Shape

_SHAPE: tuple[Shape, ...] = ("resident",)


def main() -> int:
    """Run what was asked for; what was measured before an error is written all the same."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table, and of each backlog")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each latency run")
    parser.add_argument("--only", choices=["debezium", "plain", "ours"])
    asked = parser.parse_args()
    stop_on_signals()
    size = debezium.Size(asked.rows, asked.seconds)
    report, folder, failed = Report(), BUILD / "bench-peers", 0
    try:
        if asked.only in (None, "ours"):
            _ours(size, report, folder)
        if asked.only in (None, "debezium"):
            with Rail(folder, 1, size.rows, _SHAPE, parts="none") as rail:
                debezium.measure(rail, Backlog(rail.tables, rail.rows), size, report)
        if asked.only in (None, "plain"):
            with Rail(folder, 1, size.rows // 10, _SHAPE, parts="none") as rail:
                plain.measure(rail, Backlog(rail.tables, rail.rows), size.rows // 10, report)
        _ratios(report)
    except RailError as error:
        say(f"error: {error}")
        failed = 1
    except KeyboardInterrupt:
        say("stopped")
        failed = 130
    finally:
        if report.readings:
            report.write(BUILD / "bench-peers.json")
            print(report.summary())
            say(f"wrote {BUILD / 'bench-peers.json'}")
        shutil.rmtree(folder, ignore_errors=True)
    return failed


def _ours(size: debezium.Size, report: Report, folder: Path) -> None:
    say("ours: capture alone")
    with Rail(folder, 1, size.rows, _SHAPE, parts="connector") as rail:
        backlog = Backlog(rail.tables, rail.rows)
        capturing.tell(report, "ours.snapshot", capturing.snapshot(rail))
        capturing.tell(report, "ours.stream", capturing.stream(rail, backlog, size.rows))
        ages = capturing.steady(rail, backlog, size.rate, size.seconds)
        capturing.tell_steady(report, f"ours.latency.{size.rate}", ages)


def _ratios(report: Report) -> None:
    """Ours against the best of Debezium's settings, discipline by discipline."""
    medians = {each["name"]: each["median"] for each in report.document()["figures"]}
    for word in ("snapshot", "stream"):
        best = [
            v for n, v in medians.items() if n.startswith("debezium.") and n.endswith(f".{word}.captured")
        ]
        if best and f"ours.{word}.captured" in medians:
            report.add(f"ratio.{word}", "times", medians[f"ours.{word}.captured"] / max(best))


if __name__ == "__main__":
    sys.exit(main())
