"""The line's own processes, as programs: a connector per station, the streams, the sinks. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from datarail.settings import SECRETS, Settings
from deploy.program import Program

SINKS = ("history", "themes", "indicators", "quarantine", "ledger")

#: One core's worth of threads each: the parts share the machine with the servers. And memory that is
#: free goes back to the system at once, Polars' (jemalloc), Arrow's and Python's: a backlog else
#: leaves each part a quarter larger, at the same speed.
THRIFT = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:300,muzzy_decay_ms:0,narenas:1",
}

#: `${NAME}` in an address, `env: NAME` of a password.
_VARIABLE = re.compile(r"\$\{(\w+)\}|\benv:\s*[\"']?(\w+)")


@dataclass(frozen=True)
class Station:
    """What the supervisor must know of a contract; another digest makes it another program."""

    digest: str
    variables: frozenset[str]  # of the environment, that the contract names


def station(text: str) -> Station:
    """Read a contract only as far as it concerns its process, valid or not."""
    return Station(
        _digest(text), frozenset(name for pair in _VARIABLE.findall(text) for name in pair if name)
    )


def stations(folder: Path) -> dict[str, Station]:
    """Each station found, by name."""
    return {file.stem: station(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.yaml"))}


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


def programs(
    settings: Settings,
    found: Mapping[str, Station],
    metrics: Mapping[str, int],
    environment: Mapping[str, str],
) -> list[Program]:
    """The programs for the stations found; a connector gets the variables that its contract names.

    They cannot be left to inheritance: the supervisor has the environment of the first `up`, and a
    password may come with a later one. The secrets of Settings each part reads itself, from the same
    file; only a digest of them is in the configuration: another password is another program.
    """
    secrets = [getattr(getattr(settings, block), name).get_secret_value() for block, name in SECRETS.values()]
    secured = {"DATARAIL_SECRETS": _digest(json.dumps(secrets))} if any(secrets) else {}

    def program(name: str, module: str, *words: str, more: Mapping[str, str] | None = None) -> Program:
        env = {
            "DATARAIL_FOLDER": str(settings.folder),
            "DATARAIL_METRICS_PORT": str(metrics[name]),
            "PYTHONUNBUFFERED": "1",
            **THRIFT,
            **secured,
            **(more or {}),
        }
        command = (sys.executable, "-m", module, *words)
        return Program(name=name, command=command, folder=settings.folder, env=env, settled_after=3)

    def connector(name: str, station: Station) -> Program:
        values = {word: environment[word] for word in sorted(station.variables) if word in environment}
        plain = program(
            f"connector-{name}",
            "connectors",
            name,
            more={"DATARAIL_CONTRACT": _digest(station.digest + json.dumps(values))},
        )
        if not values:
            return plain
        entrance = (sys.executable, "-m", "deploy.enter", str(settings.environment_file), ",".join(values))
        return replace(plain, command=(*entrance, *plain.command))

    # A Faust worker's topics are fixed when it starts, so other stations make it another program.
    together = "".join(f"{name} {found[name].digest} " for name in sorted(found))
    return [
        *(program(f"sink-{sink}", "sinks", sink) for sink in SINKS),
        program("streams", "streams", more={"DATARAIL_CONTRACTS": _digest(together)}),
        *(connector(name, found[name]) for name in found),
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
