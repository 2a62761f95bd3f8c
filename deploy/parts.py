"""The line's own processes, as programs: a connector per station, the streams, the sinks. Pure."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from datarail.settings import Settings
from deploy.program import Program

SINKS = ("history", "themes", "indicators", "quarantine", "ledger")

#: One core's worth of threads each: the parts share the machine with the servers.
THRIFT = {"MALLOC_ARENA_MAX": "2", "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}


def stations(folder: Path) -> dict[str, str]:
    """Each station found, with a digest of its contract: a changed contract is a changed program."""
    files = sorted(folder.glob("*.yaml"))
    return {file.stem: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}


def names(stations: Iterable[str]) -> list[str]:
    """The programs' names, in the order of starting: what receives before what sends."""
    return [*(f"sink-{sink}" for sink in SINKS), "streams", *(f"connector-{name}" for name in stations)]


def assign_metrics(
    noted: Mapping[str, int], names: Iterable[str], base: int, free: Callable[[int], bool]
) -> dict[str, int]:
    """Each part keeps the metrics port it had; a new one gets the next that is free."""
    assigned = dict(noted)
    port = base
    for name in names:
        if name in assigned:
            continue
        while port in assigned.values() or not free(port):
            port += 1
        assigned[name] = port
    return assigned


def programs(settings: Settings, found: Mapping[str, str], metrics: Mapping[str, int]) -> list[Program]:
    """The programs for the stations found (name → digest)."""

    def program(name: str, module: str, *words: str, contracts: str = "") -> Program:
        env = {
            "DATARAIL_FOLDER": str(settings.folder),
            "DATARAIL_METRICS_PORT": str(metrics[name]),
            "PYTHONUNBUFFERED": "1",
            **THRIFT,
        }
        if contracts:
            env["DATARAIL_CONTRACTS"] = contracts
        command = (sys.executable, "-m", module, *words)
        return Program(name=name, command=command, folder=settings.folder, env=env, settled_after=3)

    # A Faust worker's topics are fixed when it starts, so other stations make it another program.
    whole = hashlib.sha256(json.dumps(dict(found), sort_keys=True).encode()).hexdigest()[:16]
    return [
        *(program(f"sink-{sink}", "sinks", sink) for sink in SINKS),
        program("streams", "streams", contracts=whole),
        *(program(f"connector-{name}", "connectors", name, contracts=found[name]) for name in found),
    ]
