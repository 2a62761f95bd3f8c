"""The whole line on this machine: up, down, its parts, and what changes while it runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

from datarail import kafka_refusal
from datarail.errors import Terminal, Transient
from datarail.settings import SECRETS, Settings, embedded_ports
from deploy import orphans, process_tree, sample_city, supervision
from deploy import parts as line_parts
from deploy.embedded import ports, postgres_setup, servers
from deploy.embedded.install import Progress, install
from deploy.program import Program
from sinks.clickhouse import ClickHouse


@dataclass(frozen=True)
class Part:
    """One process of the line. `state` is RUNNING, STARTING, BACKOFF, STOPPED, EXITED or FATAL."""

    name: str
    state: str
    pid: int
    rss_mb: float


def up(settings: Settings, only_servers: bool = False, progress: Progress = lambda line: None) -> Settings:
    """Install what is missing, start servers and parts, return when the servers answer.

    May be called again at any time: what runs is left alone, new stations are started. Returns the
    settings with the ports that were settled. Raises Terminal, before anything is touched, where servers
    of others refuse us.
    """
    for folder in ("logs", "run"):
        (settings.home / folder).mkdir(parents=True, exist_ok=True)
    with _alone(settings):
        if not supervision.is_running(settings):
            supervision.let_end(settings)
            left = orphans.end(settings.home, _postmaster(settings))
            if left:
                progress(f"ended {len(left)} processes that a killed supervisor had left")
        if not settings.embedded:
            _ask(settings)
        programs = _server_programs(settings, progress) if settings.embedded else []
        settings = Settings.load(settings.folder)
        server_names = [program.name for program in programs]
        if not only_servers:
            programs += _part_programs(settings)
        elif supervision.is_running(settings):
            # Parts that run go on running: only_servers starts none, it does not stop any.
            running = supervision.processes(settings)
            programs += [part for part in _part_programs(settings) if part.name in running]
        _apply(settings, programs)
        supervision.start(settings, server_names)
        if server_names:
            servers.wait_healthy(settings, progress, failed=lambda name: _given_up(settings, name))
        if not only_servers:
            wanted = [part.name for part in programs if part.name not in server_names]
            supervision.start(settings, wanted)
            progress(f"{len(wanted)} parts started")
    return settings


def down(settings: Settings, progress: Progress = lambda line: None) -> None:
    """Stop parts, then servers, then the supervisor; leaves no process of this line."""
    if not settings.home.is_dir():
        return
    with _alone(settings):
        known = supervision.processes(settings)
        if known:
            progress(f"stopping {sum(info['pid'] > 0 for info in known.values())} processes …")
            supervision.stop(settings, [name for name in known if name not in servers.SERVERS])
            supervision.stop(settings, [name for name in known if name in servers.SERVERS])
        supervision.end(settings)
        orphans.end(settings.home, _postmaster(settings))
        (settings.home / "run" / "supervisord.pid").unlink(missing_ok=True)


def reload(settings: Settings, progress: Progress = lambda line: None) -> None:
    """Take up the stations as they are now: start new ones, stop gone ones, leave the rest alone."""
    with _alone(settings):
        if not supervision.is_running(settings):
            raise Terminal("the line is not up", remedy="run datarail up")
        known = supervision.processes(settings)
        programs = _server_programs(settings, progress) if settings.embedded else []
        programs += _part_programs(settings)
        added, changed, removed = _apply(settings, programs)
        was_up = {name for name in changed if known[name]["statename"] in supervision.UP}
        supervision.start(settings, [p.name for p in programs if p.name in was_up or p.name in added])
        for word, names in (("started", added), ("restarted", changed), ("stopped", removed)):
            if names:
                progress(f"{word} {', '.join(names)}")


def parts(settings: Settings) -> list[Part]:
    """Every process of the line, servers first; empty when it is down."""
    known = supervision.processes(settings)
    order = {name: place for place, name in enumerate([*servers.SERVERS, *line_parts.names([])])}
    rss = process_tree.resident([info["pid"] for info in known.values() if info["pid"]])
    listed = [
        Part(name, info["statename"], info["pid"], round(rss.get(info["pid"], 0) / 1e6, 1))
        for name, info in known.items()
    ]
    return sorted(listed, key=lambda part: (order.get(part.name, len(order)), part.name))


def start_part(settings: Settings, name: str) -> None:
    """Start one part."""
    _known(settings, name)
    supervision.start(settings, [name])


def stop_part(settings: Settings, name: str) -> None:
    """Stop one part and wait for its end; start_part or the next `up` starts it again."""
    _known(settings, name)
    supervision.stop(settings, [name])


def restart(settings: Settings, name: str) -> None:
    """Stop one part and start it again."""
    _known(settings, name)
    supervision.stop(settings, [name])
    supervision.start(settings, [name])


def clean(settings: Settings, progress: Progress = lambda line: None) -> None:
    """Stop everything and remove all that the line wrote on this machine."""
    down(settings, progress)
    if elsewhere := postgres_setup.elsewhere(settings):
        shutil.rmtree(elsewhere, ignore_errors=True)
    socket = supervision.socket_path(settings) if (settings.home / "run").is_dir() else None
    if socket and settings.home not in socket.parents:
        shutil.rmtree(socket.parent, ignore_errors=True)
    shutil.rmtree(settings.home, ignore_errors=True)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two `up`s at once would format the same folders: the second waits for the first."""
    with (settings.home / "lock").open("w") as stream:
        flock(stream, LOCK_EX)
        yield


def _ask(settings: Settings) -> None:
    """Raises Terminal where Kafka or ClickHouse refuse us: parts that run on an older password should
    not be stopped for one that is wrong. Servers that are away may come."""
    if (refused := kafka_refusal.refusal(settings.kafka_access, "kafka")) is not None:
        raise refused
    with suppress(Transient), closing(ClickHouse(settings.clickhouse, timeout=10)) as store:
        store.rows("SELECT 1")


def _server_programs(settings: Settings, progress: Progress) -> list[Program]:
    software = install(settings, progress)
    running = supervision.is_running(settings)
    settled = embedded_ports(settings.folder) if running else ports.choose(settings)
    return servers.prepare(settings, settled, software, progress)


def _part_programs(settings: Settings) -> list[Program]:
    found = line_parts.stations(settings.stations)
    noted_file = settings.home / "metrics_ports.json"
    noted = json.loads(noted_file.read_text()) if noted_file.exists() else {}
    if not supervision.is_running(settings):  # another program may have taken one meanwhile
        noted = {name: port for name, port in noted.items() if ports.is_free(port)}
    names = line_parts.names(found)
    metrics = line_parts.assign_metrics(noted, names, settings.metrics_port, ports.is_free)
    noted_file.write_text(json.dumps(metrics, indent=2) + "\n")
    named = {name for each in found.values() for name in each.variables}
    environment = _environment(settings, named | _secrets(settings))
    return [
        *line_parts.programs(settings, found, metrics, environment),
        *sample_city.programs(settings),
    ]


def _environment(settings: Settings, names: set[str]) -> dict[str, str]:
    """These variables, as set now or at the last `up` that had them set."""
    file = settings.environment_file
    noted = json.loads(file.read_text()) if file.exists() else {}
    values = {name: os.environ.get(name, noted.get(name)) for name in sorted(names)}
    known = {name: value for name, value in values.items() if value is not None}
    if known != noted:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        supervision.write_private(file, json.dumps(known, indent=2) + "\n")
    return known


def _secrets(settings: Settings) -> set[str]:
    """The variables of those secrets that no file gives."""
    return {
        variable
        for variable, (block, field) in SECRETS.items()
        if variable in os.environ or getattr(getattr(settings, block), f"{field}_file") is None
    }


def _apply(settings: Settings, programs: list[Program]) -> tuple[list[str], list[str], list[str]]:
    conf = supervision.write_conf(settings, programs)
    if supervision.is_running(settings):
        return supervision.adopt(settings)
    supervision.launch(settings, conf)
    return [program.name for program in programs], [], []


def _given_up(settings: Settings, name: str) -> str | None:
    info = supervision.processes(settings).get(name)
    if info is None:
        return "its supervisor is gone"
    return str(info["description"]) if info["statename"] == "FATAL" else None


def _known(settings: Settings, name: str) -> None:
    known = supervision.processes(settings)
    if not known:
        raise Terminal("the line is not up", remedy="run datarail up")
    if name not in known:
        raise Terminal(f"there is no part {name}", remedy=f"one of {', '.join(sorted(known))}")


def _postmaster(settings: Settings) -> Path:
    return postgres_setup.data_folder(settings) / "postmaster.pid"
