"""One supervised process, as data, and the supervisor's configuration made of them. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datarail.errors import Terminal

LOG_BYTES = 10_000_000
LOG_BACKUPS = 2


@dataclass(frozen=True)
class Program:
    """What the supervisor is to run. `patience` is the seconds it may take to end by itself."""

    name: str
    command: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: str = "TERM"
    patience: int = 20
    settled_after: int = 1


def supervisor_conf(programs: Iterable[Program], *, home: Path, socket: Path, root: bool, files: int) -> str:
    """The text of supervisord.conf. `files` is how many open files a process may have."""
    for sign in (" ;", " #", "%"):
        if sign in str(home):
            raise Terminal(f"supervisord cannot work in a folder with '{sign}' in its name", part=str(home))
    logs, run = home / "logs", home / "run"
    sections = [
        _section("unix_http_server", {"file": _escaped(socket), "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "logfile": _escaped(logs / "supervisord.log"),
                "logfile_maxbytes": LOG_BYTES,
                "logfile_backups": LOG_BACKUPS,
                "pidfile": _escaped(run / "supervisord.pid"),
                "childlogdir": _escaped(logs),
                "minfds": files,
                "nocleanup": "true",
                # Said expressly, or supervisord warns at every start that it is root.
                **({"user": "root"} if root else {}),
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    sections += [_program(program, logs) for program in programs]
    return "\n".join(sections)


def _program(program: Program, logs: Path) -> str:
    options: dict[str, object] = {
        "command": _escaped(shlex.join(program.command)),
        "directory": _escaped(program.folder),
        "environment": ",".join(f"{name}={_in_quotes(value)}" for name, value in program.env.items()),
        # Starting has an order, which datarail keeps; the supervisor restarts what dies.
        "autostart": "false",
        "autorestart": "true",
        "startsecs": program.settled_after,
        "startretries": 1_000_000,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.patience,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _escaped(logs / f"{program.name}.log"),
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": LOG_BACKUPS,
    }
    if program.stop_signal == "TERM":
        options["stopasgroup"] = "true"
    if program.user:
        options["user"] = program.user
    return _section(f"program:{program.name}", options)


def _section(title: str, options: Mapping[str, object]) -> str:
    lines = [f"{name} = {value}" for name, value in options.items() if value != ""]
    return "\n".join([f"[{title}]", *lines, ""])


def _escaped(word: object) -> str:
    """Supervisor expands %(…)s in every value."""
    return str(word).replace("%", "%%")


def _in_quotes(value: str) -> str:
    """Supervisor knows quotes around a value, and no way to write one within it."""
    return f"'{_escaped(value)}'" if '"' in value else f'"{_escaped(value)}"'
