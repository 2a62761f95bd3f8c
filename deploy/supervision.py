"""Talking to the line's supervisor: starting it, asking it, ending it and all it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from datarail.errors import Terminal
from datarail.settings import Settings
from deploy.program import Program, supervisor_conf

#: Every process of a line carries its folder in this variable: so an orphan is known by its line.
MARK = "DATARAIL_LINE"

#: A socket's path has at most 107 bytes; supervisord adds its pid while making it.
LONGEST_SOCKET = 90

UP = ("STARTING", "RUNNING", "BACKOFF")


def socket_path(settings: Settings) -> Path:
    """Where the supervisor listens: in the working folder, or where its path is too long, in /tmp."""
    wanted = settings.home / "run" / "supervisor.sock"
    if len(os.fsencode(wanted)) <= LONGEST_SOCKET:
        return wanted
    noted = settings.home / "run" / "socket"
    if not noted.exists() or not Path(noted.read_text()).parent.is_dir():
        noted.write_text(f"{tempfile.mkdtemp(prefix='datarail-', dir='/tmp')}/supervisor.sock")
    return Path(noted.read_text())


def write_conf(settings: Settings, programs: Iterable[Program]) -> Path:
    """Write supervisord.conf for these programs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    text = supervisor_conf(
        programs, home=settings.home, socket=socket_path(settings), root=os.geteuid() == 0, files=files
    )
    conf = settings.home / "supervisord.conf"
    write_private(conf, text)  # a connector's environment may hold its password
    return conf


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, at no moment otherwise."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    fresh.rename(file)


def rpc(settings: Settings) -> Any:
    """The supervisor's XML-RPC, over its socket; every call raises OSError while it is not there."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path(settings)}")
    # The address is never dialled: the transport goes to the socket.
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def is_running(settings: Settings) -> bool:
    """Whether this line's supervisor answers."""
    if not (settings.home / "run").is_dir():
        return False
    try:
        return bool(rpc(settings).getState()["statename"] == "RUNNING")
    except (OSError, http.client.HTTPException):
        return False


def launch(settings: Settings, conf: Path) -> None:
    """Start supervisord in the background and wait until it answers."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)]
    run = subprocess.run(
        command,
        cwd=settings.folder,
        env=os.environ | {MARK: str(settings.home)},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise Terminal(f"did not start: {(run.stderr or run.stdout).strip()[-500:]}", part="supervisord")
    for _ in range(100):
        if is_running(settings):
            return
        time.sleep(0.05)
    raise Terminal("does not answer", part="supervisord", remedy=f"see {settings.home}/logs/supervisord.log")


def processes(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the supervisor says of each program, by name; empty when it is not running."""
    try:
        return {info["name"]: info for info in rpc(settings).getAllProcessInfo()}
    except (OSError, http.client.HTTPException):
        return {}


def start(settings: Settings, names: Iterable[str]) -> None:
    """Start what is not up yet, without waiting."""
    for name in names:
        try:
            rpc(settings).startProcess(name, False)
        except Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise Terminal(str(fault.faultString), part=name) from None


def stop(settings: Settings, names: Iterable[str], timeout: float = 60) -> None:
    """Stop programs side by side and wait until each has ended."""
    names = list(names)
    for name in names:
        try:
            rpc(settings).stopProcess(name, False)
        except Fault as fault:
            if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                raise Terminal(str(fault.faultString), part=name) from None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        known = processes(settings)
        if not any(known.get(name, {}).get("statename") in (*UP, "STOPPING") for name in names):
            return
        time.sleep(0.05)


def adopt(settings: Settings) -> tuple[list[str], list[str], list[str]]:
    """Make the running supervisor take the conf as written; returns names added, changed, removed.

    What is changed is stopped and set up anew, what is gone is stopped; the rest is not touched.
    Nothing is started.
    """
    there = rpc(settings)
    (added, changed, removed) = there.reloadConfig()[0]
    stop(settings, [*changed, *removed])
    for name in (*changed, *removed):
        there.removeProcessGroup(name)
    for name in (*added, *changed):
        there.addProcessGroup(name)
    return added, changed, removed


def end(settings: Settings) -> None:
    """End the supervisor itself; its programs should be stopped before."""
    pid_file = settings.home / "run" / "supervisord.pid"
    try:
        rpc(settings).shutdown()
    except (OSError, http.client.HTTPException, Fault):
        return
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (is_running(settings) or pid_file.exists()):
        time.sleep(0.05)


def orphans(home: Path, postmaster: Path, proc: Path = Path("/proc")) -> list[int]:
    """Processes of this line that live though its supervisor is gone.

    They are known by the mark in their environment. PostgreSQL writes over its environment, so its
    first process is known by the pid in `postmaster` and by a command line with its data folder.
    """
    mark = f"{MARK}={home}".encode()
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # another user's, or gone meanwhile
            continue
    try:
        pid = int(postmaster.read_text().splitlines()[0])
        if str(postmaster.parent).encode() in (proc / str(pid) / "cmdline").read_bytes().split(b"\0"):
            found.append(pid)
    except (OSError, ValueError, IndexError):
        pass
    return sorted(set(found))


def end_orphans(home: Path, postmaster: Path, patience: float = 20) -> list[int]:
    """End what a killed supervisor left behind; returns the pids. INT is PostgreSQL's fast shutdown."""
    left = orphans(home, postmaster)
    ended = list(left)
    deadline = time.monotonic() + patience
    for pid in left:
        _signal(pid, signal.SIGINT if _is_postgres(pid) else signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = orphans(home, postmaster)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    while left and time.monotonic() < deadline + 5:
        time.sleep(0.05)
        left = orphans(home, postmaster)
    return ended


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
