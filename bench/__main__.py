"""`make bench`: the whole line measured on real servers; writes build/bench.json."""

from __future__ import annotations

import argparse
import shutil
import signal
import statistics
import sys
from dataclasses import replace
from types import FrameType

from bench.details import Details
from bench.rail import REPOSITORY
from bench.report import Report, syncs
from bench.say import say
from bench.sizes import FULL, QUICK, Bench, Size
from bench.workloads import NAMES, chosen
from datarail.errors import RailError

BUILD = REPOSITORY / "build"


def main() -> int:
    """Run what was asked for; what was measured before an error is written all the same."""
    asked = _arguments()
    stop_on_signals()
    size = QUICK if asked.quick else FULL if asked.full else Size()
    if asked.runs:
        size = replace(size, runs=asked.runs)
    if asked.changes:
        size = replace(size, changes=asked.changes)
    if asked.outage:
        size = replace(size, outage_seconds=asked.outage)
    bench = Bench(BUILD / "bench", size, Report(), Details(), asked.resources, asked.profile)
    failed = 0
    bench.report.add("machine.sync", "ms", statistics.median(syncs(BUILD)))
    try:
        for workload in chosen(asked.only, full=asked.full):
            workload(bench)
    except RailError as error:
        say(f"error: {error}")
        failed = 1
    except KeyboardInterrupt:
        say("stopped")
        failed = 130
    finally:
        if len(bench.report.readings) > 1:
            into = asked.only is not None
            bench.report.write(BUILD / "bench.json", into=into)
            bench.details.write(BUILD / "bench-details.json", into=into)
            print(bench.report.summary())
            say(f"wrote {BUILD / 'bench.json'}")
        if not asked.profile:
            shutil.rmtree(bench.folder, ignore_errors=True)
    return failed


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true", help="some five minutes, one run: does it work?")
    group.add_argument("--full", action="store_true", help="larger, longer, growth too; hours")
    parser.add_argument(
        "--only",
        choices=NAMES,
        help="one workload; its figures are added to those of the file",
    )
    parser.add_argument(
        "--resources", type=int, default=32, help="of the workload wide, 3 to 94 (default 32)"
    )
    parser.add_argument("--runs", type=int, help="how often each measurement is repeated")
    parser.add_argument("--changes", type=int, help="changes in a backlog")
    parser.add_argument("--outage", type=float, help="seconds a part is stopped for")
    parser.add_argument("--profile", action="store_true", help="py-spy too: build/bench/profile")
    return parser.parse_args()


def stop_on_signals() -> None:
    """A benchmark that is told to end takes its line down first."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


if __name__ == "__main__":
    sys.exit(main())
