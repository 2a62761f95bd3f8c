"""Two processes of a sink against one, a core each: what is in the clean trains already, landed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing

from bench.backlog import Backlog
from bench.hops import Hops, Sample, covers
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
    core. They are warm and stand still while a backlog is made and everyone else is done with it;
    the clock runs from the moment they may go on."""
    part = f"sink-{sink}"
    with closing(Hops(rail.settings, STATION)) as hops:
        line.stop_part(rail.settings, part)
        running: list[subprocess.Popen[bytes]] = []
        try:
            running += [_start(rail, sink, number, workers) for number in range(workers)]
            _made(rail, backlog, changes // 4, hops, LANDING)
            for process in running:
                process.send_signal(signal.SIGSTOP)
            rows = _made(rail, backlog, changes, hops, [each for each in LANDING if each != sink])
            began = time.time()
            for process in running:
                process.send_signal(signal.SIGCONT)
            done = _wait(hops, hops.cleaned(Lane.STREAM), [sink]).at
        finally:
            for process in running:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            for process in running:
                process.wait(30)
            line.start_part(rail.settings, part)
    return rows / (done - began)


def tell(report: Report, name: str, rail: Rail, backlog: Backlog, changes: int) -> None:
    """Measure every landing sink with one process and with two."""
    for sink in LANDING:
        rates = {}
        for workers in (1, 2):
            rates[workers] = landing_rate(rail, backlog, sink, workers, changes)
            report.add(f"{name}.{sink}.{workers}", "rows/s", rates[workers])
        report.add(f"{name}.{sink}.ratio", "times", rates[2] / rates[1])
        say(f"  {sink}: one process {rates[1]:,.0f}, two {rates[2]:,.0f} rows/s")


def _made(rail: Rail, backlog: Backlog, changes: int, hops: Hops, sinks: Sequence[str]) -> int:
    """Commit changes and wait until these sinks have them; returns how many they were."""
    before = hops.cleaned(Lane.STREAM)
    with closing(rail.connect()) as connection:
        rows = backlog.mixed(connection, changes)
    _wait(hops, before + rows, sinks)
    return rows


def _wait(hops: Hops, changes: int, sinks: Sequence[str]) -> Sample:
    """Until so many are cleaned and these sinks have them."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if hops.cleaned(Lane.STREAM) >= changes:
            sample = hops.sample()
            if all(covers(sample.sinks[sink], sample.train) for sink in sinks):
                return sample
        time.sleep(_EVERY)
    raise Terminal(f"{', '.join(sinks)}: not done in {_PATIENCE:.0f} s", part="bench")


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
