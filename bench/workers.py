"""Two processes of a sink against one, a core each: what is in the clean trains already, landed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing

from bench.backlog import Backlog
from bench.hops import Ends, Hops, covers
from bench.rail import REPOSITORY, STATION, Rail
from bench.report import Report
from bench.say import say
from datarail.errors import Terminal
from datarail.position import Lane
from deploy import line
from deploy.embedded.ports import any_free
from deploy.parts import THRIFT
from sinks.registry import LANDING

_EVERY = 0.1
_PATIENCE = 300.0


def landing_rate(rail: Rail, backlog: Backlog, sink: str, workers: int, changes: int) -> float:
    """Rows a second of a sink with so many processes, each with its share of the partitions and its
    core: from the first row after their start until all of a backlog has landed."""
    part = f"sink-{sink}"
    with closing(Hops(rail.settings, STATION)) as hops:
        line.stop_part(rail.settings, part)
        running: list[subprocess.Popen[bytes]] = []
        try:
            before = hops.cleaned(Lane.STREAM)
            with closing(rail.connect()) as connection:
                rows = backlog.mixed(connection, changes)
            _wait(hops, sink, before + rows)
            began = hops.sample()
            running += [_start(rail, sink, number, workers) for number in range(workers)]
            at, done = _drained(hops, sink, began.sinks[sink], began.train)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)
            line.start_part(rail.settings, part)
    return rows / (done - at)


def tell(report: Report, name: str, rail: Rail, backlog: Backlog, changes: int) -> None:
    """Measure every landing sink with one process and with two."""
    for sink in LANDING:
        rates = {}
        for workers in (1, 2):
            rates[workers] = landing_rate(rail, backlog, sink, workers, changes)
            report.add(f"{name}.{sink}.{workers}", "rows/s", rates[workers])
        report.add(f"{name}.{sink}.ratio", "times", rates[2] / rates[1])
        say(f"  {sink}: one process {rates[1]:,.0f}, two {rates[2]:,.0f} rows/s")


def _wait(hops: Hops, sink: str, changes: int) -> None:
    """Until so many are cleaned and the other sinks have them: nobody else is at work then."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        sample = hops.sample()
        others = (offsets for name, offsets in sample.sinks.items() if name != sink)
        if hops.cleaned(Lane.STREAM) >= changes and all(covers(each, sample.train) for each in others):
            return
        if time.monotonic() > deadline:
            raise Terminal(f"the backlog was not cleaned in {_PATIENCE:.0f} s", part="bench")
        time.sleep(0.5)


def _drained(hops: Hops, sink: str, stood: Ends, ends: Ends) -> tuple[float, float]:
    """When the first of it was under way, and when all had landed."""
    deadline = time.monotonic() + _PATIENCE
    at = time.time()
    while time.monotonic() < deadline:
        time.sleep(_EVERY)
        sample = hops.sample()
        if sample.sinks[sink] == stood:
            at = sample.at
        elif covers(sample.sinks[sink], ends):
            return at, sample.at
    raise Terminal(f"the sink {sink} did not come to its end in {_PATIENCE:.0f} s", part="bench")


def _start(rail: Rail, sink: str, number: int, workers: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **THRIFT,
        "DATARAIL_FOLDER": str(rail.folder),
        "DATARAIL_SHARE": f"{number}/{workers}",
        "DATARAIL_METRICS_PORT": str(any_free()),
        "PYTHONPATH": str(REPOSITORY),
    }
    with (rail.settings.home / "logs" / f"worker-{sink}-{number}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sinks", sink], cwd=rail.folder, env=environment, stdout=log, stderr=log
        )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, {cores[number % len(cores)]})
    return process
