"""`make bench-peers`: Debezium and ours capture the same table side by side; build/bench-peers.json."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from bench import capturing, draining
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
    asked = _arguments()
    stop_on_signals()
    size = debezium.Size(asked.rows, asked.seconds, asked.runs)
    if asked.quick:
        size = debezium.Size(min(asked.rows, 100_000), 8.0, runs=1, warm_up=10.0)
    report, folder, failed = Report(), BUILD / "bench-peers", 0
    try:
        if asked.only in (None, "ours"):
            _ours(size, report, folder)
        if asked.only in (None, "debezium"):
            with Rail(folder, 1, size.rows, _SHAPE, parts="none") as rail:
                debezium.measure(rail, Backlog(rail.tables, rail.rows), size, report)
        if asked.only in (None, "plain"):
            with Rail(folder, 1, size.rows, _SHAPE, parts="none") as rail:
                plain.measure(rail, Backlog(rail.tables, rail.rows), size.rows, report)
        ratios(report)
    except RailError as error:
        say(f"error: {error}")
        failed = 1
    except KeyboardInterrupt:
        say("stopped")
        failed = 130
    finally:
        if report.readings:
            report.write(BUILD / "bench-peers.json", into=asked.only is not None)
            print(report.summary())
            say(f"wrote {BUILD / 'bench-peers.json'}")
        shutil.rmtree(folder, ignore_errors=True)
    return failed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100,000 rows, one run: does it work?")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table, and of each backlog")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each latency run")
    parser.add_argument("--runs", type=int, default=3, help="backlogs of each")
    parser.add_argument("--only", choices=["debezium", "plain", "ours"])
    return parser.parse_args()


def _ours(size: debezium.Size, report: Report, folder: Path) -> None:
    """Capture alone, as Debezium; then the whole line, as the plain one."""
    say("ours: capture alone")
    with Rail(folder, 1, size.rows, _SHAPE, parts="connector") as rail:
        backlog = Backlog(rail.tables, rail.rows)
        _captured(report, "ours.snapshot", capturing.snapshot(rail))
        for _ in range(size.runs):
            _captured(report, "ours.stream", capturing.stream(rail, backlog, size.rows))
        ages = capturing.steady(rail, backlog, size.rate, size.seconds)
        capturing.tell_steady(report, f"ours.latency.{size.rate}", ages)
        say("ours: the whole line")
        rail.start_rest()
        rail.settle()
        for _ in range(size.runs):
            whole = draining.drain(rail, backlog, size.rows, kind="updates")
            report.add("ours.landed", "rows/s", whole.rows / whole.landed)
            say(f"  ours: {whole.rows / whole.landed:,.0f} rows/s landed of {whole.rows:,}")
        rail.balance(600)


def _captured(report: Report, name: str, run: draining.Drain) -> None:
    capturing.tell(report, name, run)
    # What stands against Debezium's process is the connector's; the servers' work is left out at both.
    connector = sum(used for part, used in run.cpu.items() if part.startswith("connector-"))
    report.add(f"{name}.cpu", "CPU s per million rows", connector / run.rows * 1e6)


def ratios(report: Report) -> None:
    """Ours as a multiple of each of theirs: rates, and how many times sooner; and of the best."""
    medians = {each["name"]: each["median"] for each in report.document()["figures"]}
    for word in ("snapshot", "stream"):
        mine = medians.get(f"ours.{word}.captured")
        theirs = {
            name.removesuffix(f".{word}.captured"): rate
            for name, rate in medians.items()
            if name.startswith("debezium.") and name.endswith(f".{word}.captured")
        }
        if not mine or not theirs:
            continue
        report.add(f"ratio.{word}", "times", mine / max(theirs.values()))
        for who, rate in theirs.items():
            report.add(f"ratio.{who}.{word}", "times", mine / rate)
    for name, age in medians.items():
        found = re.fullmatch(r"(debezium\..+)(\.latency\.\d+\.raw\.p50)", name)
        if found and (mine := medians.get(f"ours{found[2]}")):
            report.add(f"ratio.{found[1]}.p50", "times", age / mine)
    if "plain.landed" in medians and "ours.landed" in medians:
        report.add("ratio.plain.landed", "times", medians["ours.landed"] / medians["plain.landed"])


if __name__ == "__main__":
    sys.exit(main())
